#!/usr/bin/env bash
# Builds the RPM for the NGINX of nginx.org's repositories (packaging/rpm) out of NGINX's own source, and puts it into
# target/packages/rpm. Where rpmbuild is Debian's, which has no package of those names, it is told not to look for what building needs;
# that is installed instead, and the package is looked at as far as Debian goes: its content is unpacked beside the NGINX
# that was built with the same options, and every test is run against the two.
#
# usage: scripts/package-rpm.sh SOURCE [ARGUMENT...]
#   SOURCE    a source tree of NGINX, as a checkout of https://github.com/nginx/nginx or an unpacked nginx-VERSION.tar.gz
#   ARGUMENT  for cargo test, as "--test phases"
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

source=$(cd "${1:?usage: $0 SOURCE [ARGUMENT...]}" && pwd)
shift
nginx=$(sed -n 's/^#define NGINX_VERSION *"\(.*\)"$/\1/p' "$source/src/core/nginx.h")
version=$(packaging/version.sh)
readonly top=$PWD/target/rpm packages=$PWD/target/packages/rpm

options=()
if [ -e /etc/debian_version ]; then
    scripts/setup.sh --tests rpm cpio go-md2man libssl-dev libpcre2-dev zlib1g-dev
    options+=(--nodeps)
fi

rm -rf "$top"
mkdir -p "$top/SOURCES" "$packages"
tar --create --gzip --exclude=.git --transform "s,^\.,nginx-$nginx," --directory "$source" \
    --file "$top/SOURCES/nginx-$nginx.tar.gz" .
scripts/parts/working-tree.sh --gzip --transform "s,^,phantom-token-$version/,S" >"$top/SOURCES/phantom-token-$version.tar.gz"
cargo fetch --locked --quiet
# --noclean: the tree, for the tests
rpmbuild -ba "${options[@]}" --noclean --define "_topdir $top" --define "nginx_version $nginx" \
    --define "module_version $version" packaging/rpm/nginx-module-phantom-token.spec >&2
cp "$top"/RPMS/*/*.rpm "$top"/SRPMS/*.rpm "$packages"
package=$(echo "$top"/RPMS/*/*.rpm)
[ -e /etc/debian_version ] || { echo "$packages/$(basename "$package")"; exit; }

rpm --query --package --requires --provides --list "$package" >&2
mkdir -p "$top/root"
rpm2cpio "$package" | (cd "$top/root" && cpio --extract --make-directories --quiet)
# rpm 4.20 has a folder more
tree=$(find "$top/BUILD" -maxdepth 2 -type d -name "nginx-$nginx")
make -C "$tree" -f objs/Makefile -j"$(nproc)" binary >"$top/nginx.log" 2>&1 || { tail -n 40 "$top/nginx.log" >&2; exit 1; }
export NGINX_BINARY=$tree/objs/nginx
PHANTOM_TOKEN_MODULE=$(find "$top/root" -name '*.so')
export PHANTOM_TOKEN_MODULE
scripts/test.sh "$@"
