#!/usr/bin/env bash
# Installs what building needs and is missing, on Debian, as root or by sudo, without questions: NGINX with its headers, a
# C compiler, libclang for bindgen. With --tests also Node and npm, for the tests' real authorization server, and njs. Rust is taken
# from PATH or ~/.cargo/bin; where there is none, from Debian, if Debian's is recent enough.
#
# usage: scripts/setup.sh [--tests] [PACKAGE...]
#   PACKAGE  of Debian, to be installed as well
set -euo pipefail

readonly rust_needed=1.85
packages=(nginx nginx-dev gcc libc6-dev make libclang-dev ca-certificates)
commands=()
for argument in "$@"; do
    case $argument in
        --tests) commands+=(node npm) packages+=(libnginx-mod-http-js) ;;
        -*) echo "usage: $0 [--tests] [PACKAGE...]" >&2; exit 2 ;;
        *) packages+=("$argument") ;;
    esac
done

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
# A machine may have its own Node, with npm in it.
for command in "${commands[@]}"; do
    command -v "$command" >/dev/null || missing+=("${command/#node/nodejs}")
done
PATH="$PATH:$HOME/.cargo/bin"
command -v cargo >/dev/null || missing+=(cargo rustc)

if [ ${#missing[@]} -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "these packages are missing, and there is no sudo: ${missing[*]}" >&2; exit 1; }
        as_root=(sudo)
    fi
    echo "installing ${missing[*]}" >&2
    # Debian's nginx starts its default server when it is installed; on a machine that is only to build and test, nothing
    # shall listen.
    export DEBIAN_FRONTEND=noninteractive
    {
        "${as_root[@]}" apt-get -qq update
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get -qq install --yes --no-install-recommends "${missing[@]}"
    } >&2 </dev/null
fi

rust=$(rustc --version | awk '{ print $2 }')
if [ "$(printf '%s\n' "$rust_needed" "$rust" | sort -V | head -n 1)" != "$rust_needed" ]; then
    echo "Rust $rust_needed or later is needed, here is $rust: install it with rustup" >&2
    exit 1
fi
