#!/usr/bin/env bash
# Builds the Debian package and looks at it with lintian, here and now; scripts/package.sh runs it in a root of each release.
# Installs what it needs. Package, buildinfo and changes get into DIR.
#
# usage: packaging/build.sh DIR [PROFILE]
#   PROFILE  rustup: Rust is that of the PATH, and none of Debian's is asked for
set -euo pipefail
cd "$(dirname "$0")/.."
readonly name=libnginx-mod-http-phantom-token
out=$(realpath -m "$1")
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
export DEB_BUILD_PROFILES=${2:+pkg.$name.$2}
: "${DEBFULLNAME:?names the maintainer}" "${DEBEMAIL:?is the address}" "${SOURCE_DATE_EPOCH:?is the time of the change}"

# always the same path, so that the package is always the same
readonly work=/build/$name/source
rm -rf "/build/$name"
mkdir -p "$work" "$out"
find . -mindepth 1 -maxdepth 1 ! -name target -exec cp -a {} "$work" \;
cd "$work"
cp -a packaging/debian .
sed -i "s/@MAINTAINER@/$DEBFULLNAME <$DEBEMAIL>/" debian/control
cat >debian/changelog <<END
$name ($(packaging/version.sh --debian)) $(. /etc/os-release && echo "$VERSION_CODENAME"); urgency=medium

  * Release $(packaging/version.sh): see changelog.gz.

 -- $DEBFULLNAME <$DEBEMAIL>  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
END

{
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends build-essential lintian
    apt-get -qq build-dep --yes --no-install-recommends ./
} >&2 </dev/null
cargo --version >&2
cargo fetch --locked --quiet
dpkg-buildpackage --build=binary --unsigned-changes >&2
lintian --info --display-info --fail-on error,warning "/build/$name/"*.changes >&2
cp "/build/$name/"*.{deb,buildinfo,changes} "$out"
