#!/usr/bin/env bash
# Installs the package on a Debian that has none of it, NGINX included, and looks at what an operator gets: NGINX starts with the
# module and refuses, reloads, goes on without the module when the package is removed, and nothing is left when it is purged.
# To be run in a throw-away root: it replaces NGINX's site.
#
# usage: packaging/installed.sh DIRECTORY-OF-PACKAGES
set -euo pipefail
readonly name=libnginx-mod-http-phantom-token
deb=$(realpath "$1")/${name}_$("$(dirname "$0")/version.sh" --debian)_$(dpkg --print-architecture).deb
readonly link=/etc/nginx/modules-enabled/50-mod-http-phantom-token.conf site=/etc/nginx/sites-enabled/default
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1

fail() { echo "$*" >&2; exit 1; }
install_package() { apt-get -qq install --yes --no-install-recommends "$deb" >/dev/null </dev/null; }

# The status, challenge and content of an answer. There is neither curl nor a port to be sure of.
ask() {
    perl -MIO::Socket::UNIX -e '
        my $socket = IO::Socket::UNIX->new("/run/nginx-test.sock") or die "NGINX does not listen: $!\n";
        print $socket "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n";
        print while <$socket>'
}
expect_refusal() {
    local answer
    answer=$(ask)
    [[ $answer == "HTTP/1.1 401 "*"WWW-Authenticate: Bearer realm="*'{"code":"unauthorized_request",'* ]] || fail "$1: $answer"
}

apt-get -qq update
install_package
[ -e "$link" ] || fail "the module is not enabled"
manual=$(zcat /usr/share/man/man5/phantom_token.5.gz | tr -d '\\')
for directive in $(sed -n 's/^### \(phantom_token[a-z_]*\)$/\1/p' "$(dirname "$0")/../README.md"); do
    grep -qx ".SS $directive" <<<"$manual" || fail "the manual page lacks $directive"
done

# NGINX's own files, but for the site: nothing but this shall listen here.
rm "$site"
cat >/etc/nginx/sites-enabled/test <<'END'
server {
    listen unix:/run/nginx-test.sock;
    location / {
        phantom_token on;
        phantom_token_introspection_endpoint http://127.0.0.1:9/introspect;
        proxy_pass http://127.0.0.1:9;
    }
}
END
nginx -t
nginx
trap 'nginx -s quit' EXIT
master=$(cat /run/nginx.pid)
workers() { cat "/proc/$master/task/$master/children"; }
reload() { # returns when all workers are new ones
    local old
    old=$(workers)
    nginx -s reload
    for _ in $(seq 600); do
        # shellcheck disable=SC2046 # words
        [ -z "$(comm -12 <(printf '%s\n' $old | sort) <(printf '%s\n' $(workers) | sort))" ] && return
        sleep 0.1
    done
    fail "the old workers stay: $old"
}
expect_refusal "after the start"
reload
expect_refusal "after a reload"
# An upgrade replaces the file that is loaded.
apt-get -qq install --yes --reinstall "$deb" >/dev/null </dev/null
reload
expect_refusal "after an upgrade"

apt-get -qq remove --yes "$name" >/dev/null
[ ! -e "$link" ] || fail "still enabled after removal"
! nginx -t 2>/dev/null || fail "the site is accepted without the module"
install_package
[ -e "$link" ] || fail "not enabled again"
nginx -t
rm /etc/nginx/sites-enabled/test
apt-get -qq purge --yes "$name" >/dev/null
nginx -t
# both names: a purge leaves no link of any kind
[ -z "$(find /etc/nginx /usr/share/nginx /usr/lib/nginx -name '*phantom*')" ] || fail "something is left after the purge"
install_package
echo "installed, removed, installed again, purged and installed: $(basename "$deb"), $(nginx -v 2>&1)"
