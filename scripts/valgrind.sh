#!/usr/bin/env bash
# Runs NGINX and the module under valgrind (memcheck), where every allocation from a pool is one of its own (NGX_DEBUG_PALLOC), through
# the ways that a request can end: a read of memory that is gone or was never written is an error, and so is memory that is lost.
#
# usage: scripts/valgrind.sh [SOURCE]
#   SOURCE   a source tree of NGINX; without it that of Debian's package
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

readonly work=$PWD/target/valgrind
scripts/setup.sh --tests valgrind
tree=$(scripts/parts/nginx-instrumented.sh "$work" "${1-}" '' '' | tail -n 1)

# with the names of functions: tests/valgrind.supp has some
PHANTOM_TOKEN_NGINX_VERSION_CHECK=off NGINX_BUILD_DIR=$tree/objs \
    cargo rustc --release --locked --lib --crate-type cdylib --target-dir "$work/module" -- -C strip=none

rm -f "$work"/report.*
cat >"$work/nginx" <<EOF
#!/bin/sh
exec valgrind --quiet --num-callers=40 --track-origins=yes --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \\
    --suppressions='$PWD/tests/valgrind.supp' --log-file='$work/report.%p' '$tree/objs/nginx' "\$@"
EOF
chmod +x "$work/nginx"
NGINX_BINARY=$work/nginx PHANTOM_TOKEN_MODULE=$work/module/release/libngx_http_phantom_token_module.so \
    cargo test --locked --no-default-features --test valgrind -- --ignored --nocapture
# with --quiet a report is empty if there is nothing to say
reports=$(find "$work" -name 'report.*' -size +0)
[ -z "$reports" ] || { head -n 60 $reports >&2; exit 1; }
echo "$(find "$work" -name 'report.*' | wc -l) processes, nothing reported"
