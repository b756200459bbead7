#!/usr/bin/env bash
# Lets each of the module's calls for memory from a pool fail once, in a test build of the module, and looks at what becomes of the
# request and of the worker. Usage: scripts/allocations.sh
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

scripts/setup.sh --tests
scripts/build.sh >/dev/null
NGINX_BUILD_DIR=${NGINX_BUILD_DIR-$(find "$PWD/target" -maxdepth 2 -path '*/nginx-[0-9]*/objs' | head -n 1)}
export NGINX_BUILD_DIR

readonly work=$PWD/target/allocations
mkdir -p "$work"
gcc -O1 -fPIC -c tests/allocations/failing.c -o "$work/failing.o"
flags=(-C "link-arg=$work/failing.o")
for name in ngx_{palloc,pnalloc,pcalloc,pool_cleanup_add,list_push,http_subrequest,http_complex_value}; do
    flags+=(-C "link-arg=-Wl,--wrap=$name")
done
cargo rustc --release --locked --lib --crate-type cdylib --target-dir "$work" -- "${flags[@]}" 2>&1 | tail -n 2 >&2
export PHANTOM_TOKEN_MODULE=$work/release/libngx_http_phantom_token_module.so
cargo test --locked --no-default-features --test allocations -- --ignored --nocapture
