#!/usr/bin/env bash
# Builds the Debian package for each SUITE (bookworm, trixie and forky unless said) in a root of that release, target/roots/SUITE,
# against its nginx-dev, and puts it with SHA256SUMS into target/packages. Rust is this machine's. Where the release's own is recent
# enough, a second package is built with that, in target/packages/debian-rust: it proves the oldest version that Cargo.toml names.
# Needs root, debootstrap and git.
#
# usage: scripts/package.sh [SUITE...]
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

[ $# -gt 0 ] || set -- bookworm trixie forky
name=$(git log -1 --format=%an) address=$(git log -1 --format=%ae)
environment=(DEBFULLNAME="${DEBFULLNAME-$name}" DEBEMAIL="${DEBEMAIL-$address}" SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)")
readonly packages=$PWD/target/packages debian_path=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p "$packages/debian-rust"

for suite in "$@"; do
    root=target/roots/$suite
    in_root() { scripts/bare-root.sh "$suite" "$root" env "${environment[@]}" "$@"; }
    echo "== $suite" >&2
    in_root packaging/build.sh /built rustup
    mv "$root"/built/* "$packages/"
    if [ "$suite" != bookworm ]; then
        echo "== $suite, with its own Rust" >&2
        in_root PATH=$debian_path packaging/build.sh /built
        mv "$root"/built/* "$packages/debian-rust/"
    fi
done
(cd "$packages" && sha256sum -- *.deb >SHA256SUMS)
cat "$packages/SHA256SUMS"
