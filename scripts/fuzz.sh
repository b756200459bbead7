#!/usr/bin/env bash
# Fuzzes what reads foreign bytes, and the state machine of exchanges, each for so many seconds; ends with a failure at the first
# input that breaks a promise, which is kept in fuzz/artifacts.
#
# usage: scripts/fuzz.sh SECONDS [TARGET ...]
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin"

seconds=${1:?usage: $0 SECONDS [TARGET ...]}
shift
[ $# -gt 0 ] || set -- credential introspection freshness source exchange
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
# The sanitizer of a stable toolchain is behind this switch.
export RUSTC_BOOTSTRAP=1
for target in "$@"; do
    # new inputs go to a folder of their own; fuzz/corpus is small and committed
    found=$(mktemp -d)
    echo "== $target, ${seconds}s"
    mkdir -p "fuzz/corpus/$target"
    cargo fuzz run --fuzz-dir fuzz "$target" "$found" "fuzz/corpus/$target" -- -max_total_time="$seconds" -print_final_stats=1 2>&1 |
        tee "$found/.log" | grep -E '^(==|stat::|SUMMARY|panicked|Failing)|ERROR|Test unit' || true
    if grep -qE 'ERROR: libFuzzer|SUMMARY:' "$found/.log"; then
        tail -n 60 "$found/.log" >&2
        exit 1
    fi
    grep -q '^Done ' "$found/.log" || { tail -n 20 "$found/.log" >&2; exit 1; }
    rm -rf "$found"
done
