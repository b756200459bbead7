#!/usr/bin/env bash
# Installs what is missing, builds the module and shows it at work: an authorization server, an API and NGINX start on
# 127.0.0.1, a token is obtained and exchanged. Stays until Ctrl-C; with --once it ends after the show.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

scripts/setup.sh
PHANTOM_TOKEN_MODULE=$(scripts/build.sh | tail -n 1)
export PHANTOM_TOKEN_MODULE
cargo build --quiet --locked --no-default-features --example demo
exec target/debug/examples/demo "$@"
