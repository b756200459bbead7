#!/usr/bin/env bash
# Compiles an NGINX where every allocation from a pool is one of its own (NGX_DEBUG_PALLOC), so that what looks for wrong uses of memory
# finds those of pools, too, and prints the path of its tree as the last line. One that is there already is used again.
#
# usage: scripts/parts/nginx-instrumented.sh DIR SOURCE CC-OPTIONS LD-OPTIONS
#   DIR     the tree gets into DIR/tree
#   SOURCE  a source tree of NGINX; that of Debian's package if it is empty
set -euo pipefail
parts=$(cd "$(dirname "$0")" && pwd)
work=$1 source=$2
mkdir -p "$work"
[ -n "$source" ] || source=$("$parts/nginx-source.sh" "$work/source" | tail -n 1)
source=$(cd "$source" && pwd)

tree=$work/tree
if [ ! -x "$tree/objs/nginx" ] || [ "$(cat "$tree/.built-from" 2>/dev/null)" != "$*, $source" ]; then
    rm -rf "$tree"
    cp -a "$source" "$tree"
    (
        cd "$tree"
        configure=./configure
        [ -f configure ] && [ ! -L configure ] || configure=auto/configure
        $configure --with-compat --with-debug --with-threads --with-file-aio \
            --with-http_{ssl,v2,stub_status,auth_request,realip,addition,slice,sub,gunzip}_module \
            --with-cc-opt="-O1 -g -DNGX_DEBUG_PALLOC=1 $3" --with-ld-opt="$4"
        # what its build runs is not looked at for leaks
        ASAN_OPTIONS=detect_leaks=0 make -j"$(nproc)"
    ) >"$work/nginx.log" 2>&1 || { tail -n 20 "$work/nginx.log" >&2; exit 1; }
    echo "$*, $source" >"$tree/.built-from"
fi
echo "$tree"
