#!/usr/bin/env bash
# Runs every test: installs what is missing (scripts/setup.sh --tests), builds the module, then tests the core, the client
# and the worker, and the module in real NGINX processes, among them one against a real authorization server (npm
# oidc-provider). The last line counts: "N passed, N failed".
#
# usage: scripts/test.sh [ARGUMENT...]
#   ARGUMENT  for cargo test, as "--test lifecycle"
#
# With PHANTOM_TOKEN_MODULE no module is built, but this one tested; "static" is one that is in NGINX's binary. NGINX_BINARY names
# another NGINX than the installed one.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

scripts/setup.sh --tests
[ -n "${PHANTOM_TOKEN_MODULE-}" ] || PHANTOM_TOKEN_MODULE=$(scripts/build.sh | tail -n 1)
export PHANTOM_TOKEN_MODULE

(cd tests/oidc-provider && timeout 300 npm ci --silent --no-audit --no-fund --no-update-notifier) </dev/null

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
# --no-fail-fast: one failure must not hide another. A hanging test ends the run, not the machine.
timeout 3000 cargo test --locked --no-default-features --no-fail-fast "$@" </dev/null 2>&1 | tee "$log" || failed=1

# A run that was cut short, or did not compile, counts as a failure even if no test has failed.
counts=$(awk -v broken="$failed" '/^test result:/ { passed += $4; bad += $6; skipped += $8 }
    END {
        if (broken && !bad) { print "the tests did not run to their end" >"/dev/stderr"; bad = 1 }
        printf "%d passed, %d failed", passed, bad; if (skipped) printf ", %d skipped", skipped
    }' "$log")
echo "$counts"
exit "$failed"
