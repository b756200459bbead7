#!/usr/bin/env bash
# Makes a release of the version in Cargo.toml, from a clean tree whose CHANGELOG.md names it: licences and advisories of all crates,
# packages, SBOM (CycloneDX) and SHA256SUMS in target/packages, every test against every NGINX. Prints how to publish it; publishes
# nothing. Takes an hour; needs what the scripts it runs need.
#
# usage: NGINX_TESTS=PATH scripts/release.sh
#   PATH  a checkout of https://github.com/nginx/nginx-tests: a release has been tested over HTTP/3, too
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

export NGINX_TESTS=${NGINX_TESTS:?a checkout of https://github.com/nginx/nginx-tests}
version=$(packaging/version.sh)
fail() { echo "$*" >&2; exit 1; }
[ -z "$(git status --porcelain)" ] || fail "the tree is not clean"
heading=$(grep -m 2 '^## ' CHANGELOG.md | tail -n 1)
[[ $heading == "## [$version]"* ]] || fail "CHANGELOG.md: the newest release is \"$heading\", not $version"
unreleased=$(sed -n '/^## \[Unreleased\]$/,/^## \[[0-9]/p' CHANGELOG.md | grep -v '^## ' || true)
[ -z "${unreleased//[[:space:]]/}" ] || fail "CHANGELOG.md: there are changes under [Unreleased]"
! git rev-parse -q --verify "refs/tags/v$version" >/dev/null || fail "v$version is released already"

command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
cargo deny check

rm -rf target/packages
scripts/package.sh
packaging/sbom.sh >"target/packages/phantom-token-$version.cdx.json"
(cd target/packages && sha256sum -- *.deb *.cdx.json >SHA256SUMS)

scripts/reproducible.sh
scripts/matrix.sh
scripts/nginx-build.sh

echo "to publish: git tag -s v$version && git push origin v$version, with the files of target/packages:"
cat target/packages/SHA256SUMS
