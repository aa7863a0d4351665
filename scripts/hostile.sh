#!/usr/bin/env bash
# Puts the pinned Python packages that the malformed requests are sent with into the build directory, and prints where
# they are. Where they cannot be had it says so on standard error and exits 0: the test that needs them is skipped
# then, with a line that says so.
set -euo pipefail

cd "$(dirname "$0")/.."
# shellcheck source=scripts/python-packages.sh
. scripts/python-packages.sh

skip() {
    echo "skipped: no hpack and hyperframe: $1; the malformed requests are not sent" >&2
    exit 0
}

folder=${CARGO_TARGET_DIR:-target}/hostile
install_packages "$folder" \
    "hpack==4.2.0 --hash=sha256:858ac0b02280fa582b5080d68db0899c62a80375e0e5413a74970c5e518b6986
hyperframe==6.1.0 --hash=sha256:b03380493a519fce58ea5af42e4a42317bf9bd425596f7a0835ffce80f1a42e5"
realpath "$folder/packages"
