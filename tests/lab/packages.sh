#!/bin/sh
# packages.sh [--advise] PACKAGE…: install the Debian packages that are missing, and nothing else.
#
# Some of them (nfs-ganesha, rpcbind, openssh-server …) bring services. The lab runs its own copies inside a namespace, so
# those of the machine are neither started now nor enabled for the next boot.
# --advise: only say what is missing and how to get it.
set -eu

SERVICES='nfs-ganesha.service nfs-ganesha-lock.service nfs-server.service nfs-blkmap.service
          rpcbind.service rpcbind.socket ssh.service ssh.socket'
POLICY=/usr/sbin/policy-rc.d

advise=
if [ "${1:-}" = --advise ]; then
    advise=yes
    shift
fi

installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

if ! command -v dpkg-query >/dev/null; then
    echo "packages.sh: this isn't a Debian system; see that these, or what is like them, are here: $*" >&2
    exit 0
fi
missing=
for package in "$@"; do
    installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ -n "$advise" ]; then
    echo "not installed, some tests will not run:$missing" >&2
    echo "as root: apt-get install --no-install-recommends$missing" >&2
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "packages are missing and only root can install them; run:" >&2
    echo "    sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

new_services=
for unit in $SERVICES; do
    systemctl cat "$unit" >/dev/null 2>&1 || new_services="$new_services $unit"
done
if [ ! -e "$POLICY" ]; then
    trap 'rm -f "$POLICY"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing:$missing"
# shellcheck disable=SC2086  # a list of package names
apt-cache show $missing >/dev/null 2>&1 || apt-get update --quiet
# shellcheck disable=SC2086
if ! apt-get install --yes --quiet --no-install-recommends $missing; then
    apt-get update --quiet  # the lists name versions that the mirror has no more
    # shellcheck disable=SC2086
    apt-get install --yes --quiet --no-install-recommends $missing
fi
if [ -d /run/systemd/system ]; then
    for unit in $new_services; do
        systemctl disable --quiet "$unit" 2>/dev/null || true
    done
fi
