#!/usr/bin/env bash
# Counts what a cached token costs: instructions (valgrind --tool=callgrind) and system calls (strace -c) per request of
# NGINX's worker, side by side with plain proxy_pass and with proxy_pass that sets a constant header of the JWT's size.
# Counts do not depend on how busy the machine is. Usage: scripts/measure.sh [REQUESTS], after scripts/build.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

requests=${1:-2000}
warm=200
nginx=${NGINX_BINARY:-/usr/sbin/nginx}
module=${PHANTOM_TOKEN_MODULE:-$PWD/target/release/libngx_http_phantom_token_module.so}
for tool in valgrind strace python3 "$nginx"; do
    command -v "$tool" >/dev/null || { echo "$tool is needed: apt-get install valgrind strace python3 nginx" >&2; exit 1; }
done
[ -f "$module" ] || { echo "$module is not there: run scripts/build.sh first" >&2; exit 1; }

work=$(mktemp -d)
chmod 755 "$work"
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"' EXIT
# both before any is closed, so that they differ
read -r front back < <(python3 -c '
import socket
held = [socket.socket() for _ in range(2)]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))')

# A JWT of 1 KiB; nobody here verifies its signature.
jwt=$(python3 - <<'PY'
import base64, json
part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
head, tail = part({"alg": "ES256"}), "s" * 86
pad = 0
while len(jwt := f"{head}.{part({'exp': 4102444800, 'pad': 'x' * pad})}.{tail}") < 1024:
    pad += 1
print(jwt)
PY
)
token=$(printf 't%.0s' $(seq 64))

common="worker_processes 1; master_process off; daemon off; error_log $work/error.log;
events { worker_connections 256; }"
paths="access_log off; keepalive_requests 1000000; client_body_temp_path $work/b; proxy_temp_path $work/p;
fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;"
# One NGINX is both the API and the authorization server, so that only the gateway is counted.
cat >"$work/back.conf" <<CONF
pid $work/back.pid; $common
http { $paths large_client_header_buffers 4 16k;
    server { listen 127.0.0.1:$back;
        location / { return 200 "ok"; }
        location /introspect { default_type application/jwt; return 200 "$jwt"; } } }
CONF
cat >"$work/front.conf" <<CONF
load_module $module;
pid $work/front.pid; $common
http { $paths
    upstream api { server 127.0.0.1:$back; keepalive 4; keepalive_requests 1000000; }
    proxy_http_version 1.1; proxy_set_header Connection "";
    phantom_token_introspection_endpoint http://127.0.0.1:$back/introspect;
    phantom_token_client_id gateway; phantom_token_client_secret secret;
    server { listen 127.0.0.1:$front;
        location /plain { proxy_pass http://api; }
        location /header { proxy_pass http://api; proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer $jwt"; }
        location /hit { proxy_pass http://api; phantom_token on; } } }
CONF
cat >"$work/client.py" <<'PY'
import socket, sys
port, path, count, token = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
stream = socket.create_connection(("127.0.0.1", port), timeout=30)
data = b""
for _ in range(count):
    stream.sendall(request)
    while not (b"\r\n\r\n" in data and data.endswith(b"ok")):
        got = stream.recv(65536)
        assert got, "NGINX closed the connection"
        data += got
        assert data.startswith(b"HTTP/1.1 200"), data[:500]
    data = b""
PY

wait_for() {
    for _ in $(seq 600); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.1
    done
    echo "nothing listens on $1" >&2
    cat "$work/error.log" >&2
    exit 1
}
start() { "$@" >"$work/out" 2>&1 & pid=$!; pids+=("$pid"); wait_for "$front"; }
stop() { kill -QUIT "$pid" 2>/dev/null || kill "$pid"; wait "$pid" || true; }
client() { python3 "$work/client.py" "$front" "$1" "$2" "$token"; }

"$nginx" -c "$work/back.conf" -p "$work" & pids+=("$!")
wait_for "$back"

instructions() { # PATH COUNT → total of a run
    start valgrind --tool=callgrind --callgrind-out-file="$work/callgrind" "$nginx" -c "$work/front.conf" -p "$work"
    client "$1" "$2"
    stop
    awk '/^summary:|^totals:/ { print $2; exit }' "$work/callgrind"
}
syscalls() { # PATH COUNT → total of a run
    start strace -f -c -o "$work/strace" "$nginx" -c "$work/front.conf" -p "$work"
    # the tracer does not pass SIGQUIT on
    pid=$(cat "$work/front.pid")
    client "$1" "$2"
    kill -QUIT "$pid"
    wait "${pids[-1]}" || true
    # "% time, seconds, usecs/call, calls, [errors,] total"
    awk '$NF == "total" { print $4 }' "$work/strace"
}
per_request() { # COUNTER PATH
    local few many
    few=$("$1" "$2" "$warm")
    many=$("$1" "$2" "$((warm + requests))")
    awk "BEGIN { printf \"%.1f\", ($many - $few) / $requests }"
}

echo "$("$nginx" -v 2>&1), token of ${#token} bytes, JWT of ${#jwt} bytes, $requests requests on one connection"
echo "| per request | instructions | system calls |"
echo "|---|---|---|"
for what in plain header hit; do
    case $what in
        plain) text="plain \`proxy_pass\`" ;;
        header) text="\`proxy_pass\` with a constant header of the JWT's size" ;;
        hit) text="\`phantom_token on\`, token in the cache" ;;
    esac
    echo "| $text | $(per_request instructions "/$what") | $(per_request syscalls "/$what") |"
done
