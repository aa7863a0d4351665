#!/usr/bin/env bash
# Puts the pinned Python packages that the malformed requests are sent with into the build directory, and prints where
# they are. Quick where they are there. Where they cannot be had (no pip, no network) it says so on standard error and
# exits 0: the test that needs them is skipped then, with a line that says so. A package whose hash is not the pinned
# one is an error.
set -euo pipefail

cd "$(dirname "$0")/.."
folder=${CARGO_TARGET_DIR:-target}/hostile
pins="hpack==4.2.0 --hash=sha256:858ac0b02280fa582b5080d68db0899c62a80375e0e5413a74970c5e518b6986
hyperframe==6.1.0 --hash=sha256:b03380493a519fce58ea5af42e4a42317bf9bd425596f7a0835ffce80f1a42e5"

skip() {
    echo "skipped: no hpack and hyperframe: $1; the malformed requests are not sent" >&2
    exit 0
}

if [ "$(cat "$folder/packages/pins" 2>/dev/null)" = "$pins" ]; then
    echo "$PWD/$folder/packages"
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

echo "$pins" >"$room/requirements.txt"
if ! "$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --target "$room/packages" --requirement "$room/requirements.txt" >"$room/log" 2>&1; then
    if grep -qi 'do not match the hashes' "$room/log"; then
        cat "$room/log" >&2
        exit 1
    fi
    skip "$(grep -m1 -i error "$room/log" || tail -n1 "$room/log")"
fi

# Renamed into place, so that nobody imports half of it.
echo "$pins" >"$room/packages/pins"
rm -rf "$folder/packages"
mv "$room/packages" "$folder/packages"
echo "$PWD/$folder/packages"
