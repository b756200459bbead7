#!/usr/bin/env bash
# Runs the tests in NGINX with AddressSanitizer, in NGINX and in the module, where every allocation from a pool is one of its own
# (NGX_DEBUG_PALLOC): who uses memory of a request that is gone, or frees it twice, ends the worker with a report, and the test fails.
#
# usage: scripts/sanitize.sh [SOURCE] [-- ARGUMENT ...]
#   SOURCE     a source tree of NGINX; without it that of Debian's package
#   ARGUMENT   for cargo test, as "--test lifecycle"; without any, all tests that start NGINX
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

readonly work=$PWD/target/sanitize target=x86_64-unknown-linux-gnu
source=
[ $# -eq 0 ] || [ "$1" = -- ] || { source=$1; shift; }
[ "${1-}" != -- ] || shift

scripts/setup.sh --tests
tree=$(scripts/parts/nginx-instrumented.sh "$work" "$source" '-fsanitize=address -fno-omit-frame-pointer' -fsanitize=address | tail -n 1)

# The sanitizer of Rust is there in every toolchain, behind this switch.
RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address PHANTOM_TOKEN_NGINX_VERSION_CHECK=off NGINX_BUILD_DIR=$tree/objs \
    CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_LTO=off \
    cargo build --release --locked --lib --target $target --target-dir "$work/module"

export NGINX_BINARY=$tree/objs/nginx
export PHANTOM_TOKEN_MODULE=$work/module/$target/release/libngx_http_phantom_token_module.so
# Workers run as another user, whom the leak checker may not trace.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:exitcode=99
if [ $# -eq 0 ]; then
    for name in tests/*/main.rs; do
        case $name in
            tests/support/* | tests/client/* | tests/configuration/*) ;;
            *) set -- "$@" --test "$(basename "$(dirname "$name")")" ;;
        esac
    done
    for name in cache cache_sharing hostile logs recipes stale tls variables; do set -- "$@" --test "$name"; done
    # These measure memory, of which the sanitizer keeps what is freed.
    set -- "$@" -- --skip memory_is_bounded --skip clients_that_leave_leave_nothing_behind
fi
exec cargo test --locked --no-default-features --no-fail-fast "$@"
