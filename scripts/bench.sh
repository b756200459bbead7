#!/usr/bin/env bash
# Measures what the module costs: plain proxy_pass, proxy_pass with a constant header of the JWT's size, this module, auth_request with
# proxy_cache, njs with proxy_cache and whatever is given by path take turns. Installs what is missing, builds, and writes tables and plots
# to target/bench. Usage: scripts/bench.sh [--quick] [--publish] [--with LABEL MODULES FILE] [SECTION...]; --help says more.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

missing=()
for command in wrk valgrind strace python3; do
    command -v "$command" >/dev/null || missing+=("$command")
done
[ -f /usr/lib/nginx/modules/ngx_http_js_module.so ] || missing+=(libnginx-mod-http-js)
# the first Python with matplotlib; another one than Debian's may come first in PATH
python=
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import matplotlib' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || missing+=(python3-matplotlib)

scripts/setup.sh "${missing[@]}"

PHANTOM_TOKEN_MODULE=${PHANTOM_TOKEN_MODULE:-$(scripts/build.sh | tail -n 1)}
cargo build --release --locked --no-default-features --example bench_server --target-dir target >&2
BENCH_SERVER=$PWD/target/release/examples/bench_server
export PHANTOM_TOKEN_MODULE BENCH_SERVER
# each gateway has thousands of connections
ulimit -n "$(ulimit -Hn)"
PYTHONDONTWRITEBYTECODE=1 exec "${python:-/usr/bin/python3}" scripts/bench "$@"
