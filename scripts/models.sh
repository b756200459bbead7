#!/usr/bin/env bash
# Checks what the two threads of a worker share in every order in which they can meet (models/, with loom).
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin"

cargo test --locked --release --manifest-path models/Cargo.toml --target-dir target/models -- --nocapture
