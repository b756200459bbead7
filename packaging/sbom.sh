#!/usr/bin/env bash
# Prints the software bill of materials in CycloneDX 1.5: every crate that is linked into the module. Needs jq.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck disable=SC2016 # jq's variables
cargo metadata --format-version 1 --locked --filter-platform x86_64-unknown-linux-gnu | jq '
    (.resolve.nodes | map({key: .id, value: [.deps[] | select(any(.dep_kinds[]; .kind == null)).pkg]}) | from_entries) as $needs
    | .resolve.root as $root
    | def closure: ([.[], $needs[.[]][]] | unique) as $more | if $more == . then . else $more | closure end;
      ([$root] | closure) as $linked
    # without the folder it was made in
    | def ref: sub("^path\\+file://[^#]*#"; "");
      def component($type): {type: $type, "bom-ref": (.id | ref), name, version, purl: "pkg:cargo/\(.name)@\(.version)"}
        # some write OR as a slash
        + if .license then {licenses: [{expression: (.license | gsub(" ?/ ?"; " OR "))}]} else {} end;
    {
        bomFormat: "CycloneDX", specVersion: "1.5", version: 1,
        metadata: {component: (.packages[] | select(.id == $root) | component("library"))},
        components: [.packages[] | select(.id != $root and (.id | IN($linked[]))) | component("library")],
        dependencies: [$linked[] | {ref: ref, dependsOn: [$needs[.][] | ref]}]
    }'
