#!/usr/bin/env bash
# Builds the module twice, from copies of the working tree in two folders and with two homes of cargo, and compares: whoever builds
# a release gets the same file. Needs what scripts/build.sh needs.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build() { # FOLDER → path of the module
    mkdir -p "$work/$1"
    scripts/parts/working-tree.sh | tar --extract --directory "$work/$1"
    "$work/$1/scripts/build.sh" | tail -n 1
}
one=$(build one)
two=$(CARGO_HOME=$work/home build another/folder)
sha256sum "$one" "$two"
cmp "$one" "$two"
! grep -aqE "$work|${CARGO_HOME:-$HOME/.cargo}" "$one" || { echo "paths of this machine are in it" >&2; exit 1; }
echo "two builds, one file"
