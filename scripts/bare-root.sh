#!/usr/bin/env bash
# Runs a command of this repository on a bare Debian, to prove that the README's commands need nothing but Rust: makes a
# minimal root of SUITE in DIR with debootstrap, copies the working tree there (without target/), lends it this machine's Rust
# read-only, and runs COMMAND in it. A DIR that holds such a root already is used again, with what was installed in it.
# Needs root, debootstrap and git. The network, loopback included, is this machine's.
#
#   scripts/bare-root.sh bookworm /var/tmp/bookworm scripts/demo.sh --once
#   scripts/bare-root.sh trixie /var/tmp/trixie scripts/test.sh
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 SUITE DIR COMMAND [ARGUMENT...]" >&2
    exit 2
fi
readonly suite=$1
# where this machine gets Debian from
mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'ORIGIN: Debian')
mirror=$(grep -v security <<<"$mirrors" | head -n 1)
security=$(grep security <<<"$mirrors" | head -n 1 || true)
root=$(realpath -m "$2")
shift 2
cd "$(dirname "$0")/.."
sysroot=$(rustc --print sysroot)

if [ ! -e "$root/.complete" ]; then
    if [ -n "$(ls -A "$root" 2>/dev/null)" ]; then
        echo "$root is there, but no finished root: remove it first" >&2
        exit 1
    fi
    # suites younger than this debootstrap are made as sid is
    script=/usr/share/debootstrap/scripts/$suite
    [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
    timeout 1200 debootstrap --variant=minbase "$suite" "$root" "$mirror" "$script" >&2
    [ -z "$security" ] || echo "deb $security $suite-security main" >"$root/etc/apt/sources.list.d/security.list"
    # a root that is lost with the machine's power is made again
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    # how this machine reaches the network: proxies, and the certificates of one that intercepts TLS
    apt-config dump | grep -E '^Acquire::(https?|Check-)' >"$root/etc/apt/apt.conf.d/90host" || true
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    [ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp -L /etc/ssl/certs/ca-certificates.crt "$root/var/lib/host-ca.crt"
    touch "$root/.complete"
fi

mkdir -p "$root/project" "$root/opt/rust"
# what has been built stays; files that are gone from the working tree do not
find "$root/project" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
scripts/parts/working-tree.sh | tar --extract --no-same-owner --directory "$root/project"

environment=(
    HOME=/root LANG=C.UTF-8 TERM="${TERM-dumb}"
    PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
)
[ ! -e "$root/var/lib/host-ca.crt" ] ||
    environment+=(CARGO_HTTP_CAINFO=/var/lib/host-ca.crt NODE_EXTRA_CA_CERTS=/var/lib/host-ca.crt)
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -z "${!name-}" ] || environment+=("$name=${!name}")
done

# Own namespaces instead of a trap: however this ends, the mounts and whatever was left running are gone, and `rm -rf DIR`
# can never reach this machine's /dev or its Rust.
# shellcheck disable=SC2016
exec unshare --mount --pid --fork --kill-child --propagation private bash -euc '
    root=$1 sysroot=$2
    shift 2
    # What is a mount itself can have mounts of its own beneath: tests make some.
    mount --bind "$root" "$root"
    mount --bind "$sysroot" "$root/opt/rust"
    mount -o remount,bind,ro "$root/opt/rust"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mkdir "$root/dev/shm" "$root/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    for fd in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${fd%:*}" "$root/dev/${fd#*:}"; done
    # this shell stays, as the first process of the PID namespace: it reaps orphans, which COMMAND may not
    status=0
    chroot "$root" /usr/bin/env -i "${@:2:$1}" /bin/sh -c "cd /project && exec \"\$@\"" sh "${@:$(($1 + 2))}" || status=$?
    exit "$status"
' bash "$root" "$sysroot" "${#environment[@]}" "${environment[@]}" "$@"
