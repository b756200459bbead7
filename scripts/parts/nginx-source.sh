#!/usr/bin/env bash
# Downloads the source of this release's NGINX, with Debian's patches, into DIR and prints the path of the tree as its last line.
# This machine's own list of sources is left as it is.
#
# usage: scripts/parts/nginx-source.sh DIR
set -euo pipefail

mkdir -p "$1"
cd "$1"
rm -rf nginx-[0-9]*
mkdir -p lists/partial
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$PWD/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$PWD/lists"
    -o APT::Sandbox::User=root)
# A mirror may lack the source of a security update; that of the release is as good for a build of its own.
for without in '^$' security; do
    # shellcheck disable=SC2016 # apt's placeholders
    apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) main' 'ORIGIN: Debian' | sort -u | grep -v "$without" >sources.list
    "${apt[@]}" update >&2
    ! "${apt[@]}" source nginx >&2 || break
done
find "$PWD" -mindepth 1 -maxdepth 1 -type d -name 'nginx-[0-9]*' | grep .
