#!/usr/bin/env bash
# Prints name, version and licence of every crate that is linked into the module, and the texts that the licences want passed on.
set -euo pipefail
cd "$(dirname "$0")/.."
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src

crates() { cargo tree --locked --edges normal --prefix none --no-dedupe --format "{p} $1" | sed 's/ (proc-macro)//' | sort -u; }

echo "The module is linked with Rust's standard library (MIT OR Apache-2.0) and these crates:"
echo
crates '({l})' | grep -v '^ngx_http_phantom_token_module '
crates '' | while read -r name version _; do
    [ "$name" != ngx_http_phantom_token_module ] || continue
    for file in "$registry"/*/"$name-${version#v}"/{LICEN[CS]E,COPYING,COPYRIGHT,NOTICE}*; do
        [ -f "$file" ] || continue
        # the Apache License, which the package names already
        ! grep -q 'TERMS AND CONDITIONS FOR USE' "$file" || continue
        printf '\n%s\n%s %s: %s\n\n' "$(printf '=%.0s' {1..78})" "$name" "${version#v}" "$(basename "$file")"
        cat "$file"
    done
done
