#!/bin/sh
# Prints the version, which stands in Cargo.toml and nowhere else; with --debian that of this release's package.
set -eu
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$(dirname "$0")/../Cargo.toml" | head -n 1)
case ${1-} in
    "") echo "$version" ;;
    --debian)
        # 1.0-1~deb12 < 1.0-1~deb13 < 1.0-1~forky, which is for a release that has no number yet
        . /etc/os-release
        echo "$version-1~${VERSION_ID:+deb}${VERSION_ID:-$VERSION_CODENAME}"
        ;;
    *) echo "usage: $0 [--debian]" >&2; exit 2 ;;
esac
