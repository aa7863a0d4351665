#!/usr/bin/env bash
# Runs each fuzz target (or those named) for some seconds: scripts/fuzz.sh SECONDS [TARGET...]
# The coverage that libFuzzer goes by comes from LLVM's pass, which needs no nightly toolchain; a C++ compiler is needed
# for libFuzzer itself. Where it is missing this says so and exits 0. What is found is kept in target/fuzz/artifacts.
set -euo pipefail

seconds=${1:?seconds for each target}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(config matcher edge)

cd "$(dirname "$0")/.."
if ! command -v "${CXX:-c++}" >/dev/null; then
    echo "skipped: there is no C++ compiler; nothing is fuzzed" >&2
    exit 0
fi

out=$PWD/${CARGO_TARGET_DIR:-target}/fuzz
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions --cfg fuzzing"
# A triple, so that build scripts and macros are built without those flags.
triple=$(rustc -vV | sed -n 's/^host: //p')
cargo build --profile fuzz --locked -p amime-fuzz --target "$triple" --target-dir "$out"

# What the tests read is where the fuzzer starts.
declare -A seeds=(
    [config]="examples crates/model/tests/golden crates/model/tests/golden_resources"
    [matcher]="fuzz/corpus/matcher"
    [edge]="fuzz/corpus/edge"
)
for target in "${targets[@]}"; do
    mkdir -p "$out/corpus/$target" "$out/artifacts"
    echo "fuzzing $target for $seconds s"
    # shellcheck disable=SC2086 # The seeds are several folders.
    "$out/$triple/fuzz/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=16384 \
        -print_final_stats=1 -verbosity=1 -artifact_prefix="$out/artifacts/$target-" "$out/corpus/$target" ${seeds[$target]} \
        >"$out/$target.log" 2>&1 || { tail -n 40 "$out/$target.log" >&2; exit 1; }
    grep -E 'number_of_executed_units|new_units_added' "$out/$target.log"
done
