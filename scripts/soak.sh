#!/usr/bin/env bash
# Mixed load on both kinds of endpoint for so many minutes: hits, new, unknown and missing tokens, clients that leave, faults of the
# authorization server, reloads in the first half. Ends with counts, and fails if a response is not explained by the plan, or if the
# workers' memory or descriptors grow in the second half.
#
# usage: scripts/soak.sh MINUTES
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

minutes=${1:?usage: $0 MINUTES}
scripts/setup.sh --tests
PHANTOM_TOKEN_MODULE=$(scripts/build.sh | tail -n 1)
export PHANTOM_TOKEN_MODULE
SOAK_SECONDS=$((minutes * 60)) cargo test --locked --no-default-features --test soak -- --ignored --nocapture
