# Python packages by pinned hashes into the build directory; sourced by scripts/envoy.sh and scripts/hostile.sh.
# shellcheck shell=bash

# install_packages FOLDER PINS: puts the packages of PINS (lines of a requirements file, with hashes) into
# FOLDER/packages. Quick where they are there. Where they cannot be had (no pip, no network, no build for this machine)
# it calls `skip` with the reason, which the caller defines. A package whose hash is not the pinned one ends the script.
install_packages() {
    local folder=$1 pins=$2 room python
    [ "$(cat "$folder/packages/pins" 2>/dev/null)" != "$pins" ] || return 0

    mkdir -p "$folder"
    room=$(mktemp -d "$folder/install.XXXXXX")
    # shellcheck disable=SC2064 # The folder of this call.
    trap "rm -rf '$room'" EXIT

    command -v python3 >/dev/null || skip "there is no python3"
    python=python3
    if ! python3 -m pip --version >/dev/null 2>&1; then
        python3 -m venv "$room/venv" >/dev/null 2>&1 || skip "python3 has neither pip nor venv"
        python=$room/venv/bin/python3
    fi

    echo "$pins" >"$room/requirements.txt"
    if ! "$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --target "$room/packages" --requirement "$room/requirements.txt" >"$room/log" 2>&1; then
        if grep -qi 'do not match the hashes' "$room/log"; then
            cat "$room/log" >&2
            exit 1
        fi
        skip "$(grep -m1 -i error "$room/log" || tail -n1 "$room/log")"
    fi

    # Renamed into place, so that nobody uses half of it.
    echo "$pins" >"$room/packages/pins"
    rm -rf "$folder/packages"
    mv "$room/packages" "$folder/packages"
}
