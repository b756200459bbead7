#!/usr/bin/env bash
# Runs NGINX's own test suite twice, without the module and with it, and compares: the module, loaded and off at http level,
# must not change a result. A server that nobody connects to is protected, so that the module's handlers and filters are
# installed and every request of the tests passes through them. Where NGINX has HTTP/3 and the checkout a client for it,
# tests/http3 is run, too.
#
# usage: scripts/nginx-tests.sh [PATH] [FILE.t ...]
#   PATH    a checkout of nginx-tests (https://github.com/nginx/nginx-tests); without it, that of Debian's
#           libtest-nginx-perl, where a release has it
#   FILE.t  only these tests of it
#
# NGINX_BINARY and PHANTOM_TOKEN_MODULE name others than the distribution's and scripts/build.sh's.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly packaged=/usr/share/nginx-tests
if [ -d "${1-}" ]; then
    suite=$(cd "$1" && pwd)
    shift
else
    apt-cache show libtest-nginx-perl >/dev/null 2>&1 && scripts/setup.sh libtest-nginx-perl
    suite=$packaged
fi
if [ ! -f "$suite/lib/Test/Nginx.pm" ]; then
    echo "no nginx-tests in $suite: give the path of a checkout of https://github.com/nginx/nginx-tests" >&2
    exit 2
fi
cd "$suite"
if [ $# -gt 0 ]; then files=("$@"); else files=(*.t); fi
cd - >/dev/null

packages=(perl libio-socket-ssl-perl libcryptx-perl libfcgi-perl libscgi-perl libcache-memcached-perl)
if [ -z "${NGINX_BINARY-}" ]; then
    # The suite loads all of these that the binary was built with.
    packages+=(libnginx-mod-{http-{geoip,image-filter,perl,xslt-filter},mail,stream,stream-geoip})
    export TEST_NGINX_MODULES=/usr/lib/nginx/modules
fi
# in one go, or those that there are
scripts/setup.sh "${packages[@]}" || for package in "${packages[@]}"; do
    scripts/setup.sh "$package" || echo "without $package some tests are skipped" >&2
done
module=${PHANTOM_TOKEN_MODULE:-$(scripts/build.sh | tail -n 1)}
export TEST_NGINX_BINARY=${NGINX_BINARY:-/usr/sbin/nginx}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/plain" "$work/module"
cp -a "$suite" "$work/suite"
suite=$work/suite
# Workers of a master that root starts could not read what the tests write. Nor might nobody read a home directory.
as_user=()
if [ "$(id -u)" -eq 0 ]; then
    as_user=(runuser -u nobody --)
    chmod 755 "$work"
    install -m 755 "$module" "$work/module.so"
    module=$work/module.so
    chown nobody "$work/plain" "$work/module"
fi

# One test file; RESULT gets a line for each test, without the names, which hold ports and the like.
run() { # plain|module FILE RESULT
    if [ "$1" = module ]; then
        export TEST_NGINX_GLOBALS="load_module $module;"
        export TEST_NGINX_GLOBALS_HTTP="phantom_token off;"
        case $2 in
            ssl_password_file.t) ;; # every server inherits a key that only some passwords open
            h3_reusable.t) ;;       # "worker_connections" leave none for another listening socket
            *) TEST_NGINX_GLOBALS_HTTP+=" server { listen unix:%%TESTDIR%%/phantom-token.sock; \
                location / { phantom_token on; phantom_token_introspection_endpoint /introspect; } }" ;;
        esac
    fi
    local status=0
    (cd "$suite" && timeout 300 perl -I lib "$2") >"$3.log" 2>&1 </dev/null || status=$?
    {
        grep -oE '^(not )?ok [0-9]+|^1\.\.[0-9]+( # [Ss][Kk][Ii][Pp])?|# TODO' "$3.log" || true
        echo "exit $status"
    } >"$3"
}
export -f run
export suite module work

echo "${#files[@]} files, with $("$TEST_NGINX_BINARY" -v 2>&1)"
for how in plain module; do
    printf '%s\n' "${files[@]}" | "${as_user[@]}" xargs -P "$(($(nproc) * 2))" -I{} bash -c "run $how {} $work/$how/{}"
done

passed=0 skipped=0 tests=0 failing=() unstable=() different=()
for file in "${files[@]}"; do
    plain=$work/plain/$file with=$work/module/$file
    # A test that depends on time or on its neighbours gets two more chances, alone.
    for attempt in 1 2; do
        cmp -s "$plain" "$with" && break
        [ "$attempt" -eq 1 ] && unstable+=("$file")
        for how in plain module; do "${as_user[@]}" bash -c "run $how $file $work/$how/$file"; done
    done
    if ! cmp -s "$plain" "$with"; then
        different+=("$file")
        unstable=("${unstable[@]/#$file/}")
        echo "--- $file: without the module, with it"
        diff "$plain" "$with" || true
        tail -n 40 "$with.log"
    elif grep -q '^1\.\.0 ' "$with"; then skipped=$((skipped + 1))
    elif grep -q '^exit 0' "$with"; then passed=$((passed + 1))
    else failing+=("$file")
    fi
    tests=$((tests + $(grep -c '^ok' "$with" || true)))
done
# Our own, with the suite's client for what no other test here speaks.
http3=skipped
if [ -f "$suite/lib/Test/Nginx/HTTP3.pm" ]; then
    cp tests/http3/phantom_token.t "$suite/"
    "${as_user[@]}" bash -c "run module phantom_token.t $work/module/http3"
    if grep -q '^exit 0' "$work/module/http3"; then
        grep -q '^1\.\.0 ' "$work/module/http3" || http3=passed
    else
        http3=failed
        cat "$work/module/http3.log"
    fi
fi
echo "the module over HTTP/3: $http3"
echo "$tests tests passed with the module"
echo "alike: $passed files pass, $skipped are skipped, ${#failing[@]} fail without the module too: ${failing[*]:-none}"
echo "different at first, alike when run alone: ${unstable[*]:-none}"
echo "different: ${different[*]:-none}"
[ ${#different[@]} -eq 0 ] && [ $http3 != failed ]
