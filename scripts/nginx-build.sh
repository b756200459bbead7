#!/usr/bin/env bash
# Lets NGINX's own build compile the module, by `config`: into the binary (--add-module) and as a file to load
# (--add-dynamic-module), and runs the tests against both.
#
# usage: scripts/nginx-build.sh [SOURCE [ARGUMENT...]]
#   SOURCE    a source tree of NGINX; without it, or if it is "debian", that of Debian's package
#   ARGUMENT  for cargo test, as "--test phases"
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

results=()
readonly work=$PWD/target/nginx-build module=$PWD
source=${1-debian}
shift $(($# > 0))
scripts/setup.sh --tests
[ "$source" != debian ] || source=$(scripts/parts/nginx-source.sh "$work/source" | tail -n 1)
source=$(cd "$source" && pwd)

# A tree for each: configure writes into the one it runs in. What cargo has built for it stays.
build() { # OPTION
    echo "building $(basename "$source") with $1" >&2
    mkdir -p "$tree/objs"
    find "$tree" "$tree/objs" -mindepth 1 -maxdepth 1 ! -name objs ! -name ngx_http_phantom_token_module -exec rm -rf {} +
    tar --create --exclude=.git --exclude=./objs --directory "$source" . | tar --extract --no-same-owner --directory "$tree"
    (
        cd "$tree"
        configure=./configure
        [ -f configure ] || configure=auto/configure
        $configure --pid-path=nginx.pid --with-compat --with-debug --with-threads --with-file-aio \
            --with-http_{ssl,v2,stub_status,auth_request,realip,addition,slice,sub,gunzip}_module "$1=$module"
        make -j"$(nproc)"
    ) >"$tree.log" 2>&1 || { tail -n 40 "$tree.log" >&2; exit 1; }
}

failed=0
for how in static dynamic; do
    tree=$work/$(basename "$source")-$how
    if [ $how = static ]; then
        build --add-module
        export PHANTOM_TOKEN_MODULE=static
    else
        # The module is for the NGINX built here, not for the one installed.
        PHANTOM_TOKEN_NGINX_VERSION_CHECK=off build --add-dynamic-module
        export PHANTOM_TOKEN_MODULE=$tree/objs/ngx_http_phantom_token_module.so
    fi
    NGINX_BINARY=$tree/objs/nginx scripts/test.sh "$@" | tee "$tree.tests" || failed=1
    results+=("$how, $("$tree/objs/nginx" -v 2>&1): $(tail -n 1 "$tree.tests")")
done
printf '%s\n' "${results[@]}"
exit $failed
