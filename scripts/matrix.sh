#!/usr/bin/env bash
# Installs each SUITE's package (bookworm, trixie and forky unless said) in a fresh root of that release, target/roots/SUITE-fresh,
# beside the NGINX that the release has, and runs every test against the two; where that NGINX has HTTP/3, the tests over HTTP/3 too,
# which need nginx-tests: the release's own, or the checkout that NGINX_TESTS names. After scripts/package.sh; needs what that needs.
#
# usage: [NGINX_TESTS=PATH] scripts/matrix.sh [SUITE...]
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin"

[ $# -gt 0 ] || set -- bookworm trixie forky
readonly roots=$PWD/target/roots module=/usr/lib/nginx/modules/ngx_http_phantom_token_module.so

# The tests are compiled once, with the oldest C library.
compiled=$roots/bookworm
scripts/bare-root.sh bookworm "$compiled" env CARGO_INCREMENTAL=0 sh -c \
    'scripts/setup.sh --tests && cargo test --locked --no-default-features --no-run --quiet' >&2

results=()
failed=0
for suite in "$@"; do
    root=$roots/$suite-fresh
    rm -rf --one-file-system "$root"
    in_root() { scripts/bare-root.sh "$suite" "$root" "$@"; }
    in_root true
    mkdir -p "$root/packages" "$root/project/target" "$root/root/.cargo"
    cp target/packages/*.deb "$root/packages/"
    cp -a "$compiled/project/target/debug" "$root/project/target/"
    cp -a "$compiled/root/.cargo/registry" "$root/root/.cargo/"

    in_root packaging/installed.sh /packages
    log=target/matrix-$suite.log
    in_root env CARGO_INCREMENTAL=0 PHANTOM_TOKEN_MODULE=$module scripts/test.sh | tee "$log" || failed=1
    result=$(tail -n 1 "$log")
    http3="no HTTP/3"
    if chroot "$root" /usr/sbin/nginx -V 2>&1 | grep -q http_v3; then
        [ -z "${NGINX_TESTS-}" ] || cp -a "$NGINX_TESTS" "$root/nginx-tests"
        status=0
        in_root env PHANTOM_TOKEN_MODULE=$module scripts/nginx-tests.sh ${NGINX_TESTS:+/nginx-tests} h3_headers.t |
            tee "$log" || status=$?
        http3=$(sed -n 's/^the module over HTTP\/3: /HTTP\/3 /p' "$log")
        # no nginx-tests
        [ $status -eq 2 ] || [ "$http3" = "HTTP/3 passed" ] || failed=1
    fi
    # gigabytes of tests
    rm -rf "$root/project/target/debug"
    results+=("$suite, $(chroot "$root" /usr/sbin/nginx -v 2>&1): $result; ${http3:-HTTP/3 not tested}")
done
printf '%s\n' "${results[@]}"
exit $failed
