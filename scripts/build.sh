#!/usr/bin/env bash
# Builds the module for the NGINX that is installed here and prints the path of the .so as its last line. The headers of
# Debian's nginx-dev are configured once, as Debian configured its binary, into target/nginx-VERSION; NGINX_BUILD_DIR names
# the objs directory of another configured source tree. See scripts/setup.sh for what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

readonly source=/usr/share/nginx/src
if [ -z "${NGINX_BUILD_DIR-}" ]; then
    [ -f "$source/conf_flags" ] || { echo "$source is not there: run scripts/setup.sh, or set NGINX_BUILD_DIR" >&2; exit 1; }
    # the package's version, not NGINX's: a security update may change a header
    version=$(dpkg-query -W -f '${Version}' nginx-dev)
    headers=$PWD/target/nginx-$version
    if [ ! -f "$headers/objs/ngx_auto_config.h" ]; then
        mkdir -p target
        work=$(mktemp -d target/nginx-headers.XXXXXX)
        trap 'rm -rf "$work"' EXIT
        cp -a "$source" "$work/src"
        (
            cd "$work/src"
            . ./conf_flags
            bash ./configure "${NGX_CONF_FLAGS[@]}" >../configure.log 2>&1 || { cat ../configure.log >&2; exit 1; }
        )
        rm -rf "$headers"
        mv "$work/src" "$headers"
    fi
    export NGINX_BUILD_DIR=$headers/objs
fi

# No path of this machine gets into the file: built elsewhere, it is the same.
export RUSTFLAGS="${RUSTFLAGS-} --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo --remap-path-prefix=$PWD/target=target"
# always ./target, whatever CARGO_TARGET_DIR says: the path below is the one the README names
cargo build --release --locked --lib --target-dir target >&2
echo "$PWD/target/release/libngx_http_phantom_token_module.so"
