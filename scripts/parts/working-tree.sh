#!/usr/bin/env bash
# Writes the working tree, without what git ignores, to standard output as a tar.
#
# usage: scripts/parts/working-tree.sh [ARGUMENT...]
#   ARGUMENT  for tar, as "--transform EXPRESSION"
set -euo pipefail
cd "$(dirname "$0")/../.."

# files that are gone from the working tree are still in the index
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --create --null --files-from=- "$@"
