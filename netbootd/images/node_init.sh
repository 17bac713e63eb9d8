#!/bin/sh
# node-init: what every netbootd node runs first. It gets the node's root and hands over to the image's init.
#
# It runs in one of two places:
#   as /init of the small initrd, where it loads the network card's driver and mounts the image itself;
#   as init=/usr/lib/netbootd/node-init, where the kernel or another initrd has mounted the image read-only as /.
# The head node has rendered everything it must know on the kernel command line:
#   netbootd.node=n01 netbootd.mac=52:54:00:00:00:01 netbootd.ip=10.77.0.10/24 [netbootd.gw=10.77.0.1]
#   netbootd.server=10.77.0.1 netbootd.root=overlay netbootd.image=/PATH netbootd.files=/PATH
#   netbootd.common=/PATH netbootd.nfs=4.2 netbootd.http=10.77.0.1:80
# The paths are those of NFS exports; with netbootd.root=ram, what HTTP has.
# It needs a POSIX shell, mount, umount, cp, mv, mkdir, rm, readlink, sleep; in the initrd also ip, insmod and
# switch_root, else pivot_root and chroot. A step that fails is told on the console in plain words, reported
# to the head node, and never waited for without a word: what can't be mended ends in a restart.
# All of it is one file in a node, because in an image it must run alone, before anything else is there:
# this one, then node_network.sh, node_root.sh, node_files.sh and node_login.sh, and the call of main
# (images.node_init).

PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 022

CARD_SECONDS=10       # for a network card to appear once its driver is there (firmware, USB)
LINK_SECONDS=90       # for its link; switches that run spanning tree take 30 to 50
MOUNT_SECONDS=30      # for one attempt to mount
FETCH_ROUNDS=12       # attempts to fetch something over HTTP, 5 seconds apart
STALL_SECONDS=30      # without an octet, after which a transfer has failed
LEAST_KIB=65536       # of memory that a system needs besides the image that it is kept in
EMPTY_ROUNDS=36       # of 5 seconds, for the head node to mount a persistent root
RESTART_SECONDS=60    # for somebody to read why, before the machine is restarted
ports=/proc/sys/net/ipv4
loader=/lib/netbootd/drivers.sh   # absent where the kernel has everything built in

case $0 in /init) place=initrd ;; *) place=image ;; esac

main() {
    prepare
    read_command_line
    check_command_line
    # The NFSv4 client id is made from the host name: without one all nodes are the same client to the server.
    echo "${node:-localhost}" >/proc/sys/kernel/hostname
    say "${node:-this node} fetches its root from $server"
    if [ "$place" = initrd ]; then
        find_card
        bring_up
    fi
    case $root in
        overlay) root_overlay ;;
        persistent) root_persistent ;;
        ram) root_ram ;;
        *) give_up "the root mode '$root' isn't known to this node-init, which knows: overlay, persistent, ram" \
            "netbootctl node set ${node:-NODE} --root overlay, or make the image anew: it is older than the head node" ;;
    esac
    lay_node_files
    make_accounts
    mount_shared
    keep_network
    serial_login
    release
    case $root in ram) how="from memory, $(mb "$size") MB" ;; *) how="NFS v$nfs" ;; esac
    report root "$root, $how, $(uptime_seconds) s after the kernel started"
    hand_over "$@"
}

# --- what we know and where we are ---------------------------------------------------------------------------

no_answer="no answer"
note=''

prepare() {
    # Nothing is redirected before this: without a /dev of the kernel there is no /dev/null either.
    [ -d /proc/self ] || mount -n -t proc -o nosuid,nodev,noexec proc /proc
    [ -d /sys/class ] || mount -n -t sysfs -o nosuid,nodev,noexec sysfs /sys
    [ -c /dev/kmsg ] || mount -n -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev
    prepare_quietly
    if [ -c /dev/console ]; then exec </dev/console >/dev/console 2>&1; fi
}

prepare_quietly() {
    # Another initrd has left a /run that must be kept; without one it is a directory of the image.
    is_mounted /run || mount -n -t tmpfs -o nosuid,nodev,mode=0755 tmpfs /run
    mkdir /run/netbootd
    # Without this the kernel drops all but ten messages of ours in five seconds.
    echo on >/proc/sys/kernel/printk_devkmsg
    # If this script or the image's init dies, the machine shall start again rather than stand still.
    read -r seconds </proc/sys/kernel/panic
    [ "$seconds" != 0 ] || echo "$RESTART_SECONDS" >/proc/sys/kernel/panic
    if [ "$place" = initrd ]; then
        work=/netbootd
        mkdir "$work"
    else
        work=/tmp   # every image has it, and nothing in a root just mounted uses it
        mount -n -t tmpfs -o mode=0755 tmpfs "$work" ||
            give_up "no memory file system can be mounted on $work" "the image needs an empty directory $work"
    fi
    new=$work/root
    mkdir "$new"
} 2>/dev/null

is_mounted() { # DIRECTORY
    while read -r _ where _; do
        [ "$where" != "$1" ] || return 0
    done </proc/mounts
    return 1
}

read_command_line() {
    node='' mac='' ip='' gw='' server='' root='' image='' files='' common='' nfs='4.2' http='' init=''
    lower=''
    read -r command_line </proc/cmdline
    set -f
    for word in $command_line; do
        value=${word#*=}
        case $word in
            netbootd.node=*) node=$value ;;
            netbootd.mac=*) mac=$value ;;
            netbootd.ip=*) ip=$value ;;
            netbootd.gw=*) gw=$value ;;
            netbootd.server=*) server=$value ;;
            netbootd.root=*) root=$value ;;
            netbootd.image=*) image=$value ;;
            netbootd.files=*) files=$value ;;
            netbootd.common=*) common=$value ;;
            netbootd.nfs=*) nfs=$value ;;
            netbootd.http=*) http=$value ;;
            init=*/node-init) ;;
            init=*) init=$value ;;
        esac
    done
    set +f
}

check_command_line() {
    missing=''
    for key in mac ip server root image; do
        eval "value=\$$key"
        [ -n "$value" ] || missing="$missing netbootd.$key"
    done
    [ -z "$missing" ] ||
        give_up "the kernel command line lacks$missing" \
            "a node is started by its head node; look at what 'netbootctl explain ${mac:-MAC}' renders"
    [ -n "$node" ] || complain "the kernel command line has no netbootd.node: this node has no name"
}

# --- telling people ------------------------------------------------------------------------------------------

say() {
    echo "netbootd: $*"
    # Level 7 stays off the console, where it has just been said, and puts the line with its time into the journal.
    echo "<7>netbootd: $*" >/dev/kmsg
} 2>/dev/null

complain() {
    # Level 3 reaches every console, a quiet one too.
    echo "<3>netbootd: $*" >/dev/kmsg || echo "netbootd: $*"
} 2>/dev/null

give_up() { # WHAT CHECK: there is no system to go on to
    complain "$1"
    complain "check: $2"
    report root "error: $1"
    complain "this machine restarts in $RESTART_SECONDS seconds and tries again"
    sleep "$RESTART_SECONDS"
    echo b >/proc/sysrq-trigger 2>/dev/null || reboot -f
    sleep 10
    exit 1   # the kernel panics; with panic=N on its command line it restarts
}

go_on() { # WHAT: a step failed that the node can live without
    complain "$1"
    report root "error: $1"
}

report() { # STAGE DETAIL: to the head node, with whatever tool is there; a head node that is away costs 3 seconds
    [ -n "$http" ] && [ -n "$mac" ] || return 0
    escape "$2"
    path="/report/$(dashed "$mac")/$1?detail=$escaped"
    for where in '' "$new"; do
        [ -z "$where" ] || [ -d "$where/usr" ] || break
        for tool in wget curl bash; do
            has "$where" "$tool" || continue
            within 3 send "$where" "$tool" "$path" && return 0
            break
        done
    done
    return 1
} >/dev/null 2>&1

# Called by way of within.
# shellcheck disable=SC2317
send() { # ROOT TOOL PATH
    set -- "$2" "$3" ${1:+chroot "$1"}
    tool=$1 path=$2
    shift 2
    # The single quotes are meant: bash expands, with /dev/tcp, what this shell may not know.
    # shellcheck disable=SC2016
    case $tool in
        wget) exec "$@" wget -q -O - "http://$http$path" ;;
        curl) exec "$@" curl -s -S -f "http://$http$path" ;;
        bash) exec "$@" bash -c 'exec 3<>"/dev/tcp/${0%:*}/${0##*:}" &&
            printf "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" "$1" "$0" >&3 && read -r _ answer <&3 || exit 1
            case $answer in 200*) ;; *) echo "$answer" >&2; exit 1 ;; esac
            while read -r line <&3 && [ ${#line} -gt 1 ]; do :; done
            exec cat <&3' "$http" "$path" ;;
    esac
}

has() { # ROOT TOOL
    for directory in /usr/bin /bin /usr/sbin /sbin; do
        if [ -x "$1$directory/$2" ] || { [ -n "$1" ] && [ -L "$1$directory/$2" ]; }; then return 0; fi
    done
    return 1
}

escape() { # TEXT: sets escaped, at most 200 characters fit for a URL's query
    rest=$1 escaped=''
    while [ -n "$rest" ] && [ ${#escaped} -lt 200 ]; do
        first=${rest%"${rest#?}"}
        rest=${rest#?}
        case $first in
            [A-Za-z0-9._:,/-]) escaped=$escaped$first ;;
            ' ') escaped=$escaped+ ;;
            "'") escaped=$escaped%27 ;;
            '(') escaped=$escaped%28 ;;
            ')') escaped=$escaped%29 ;;
            ';') escaped=$escaped%3B ;;
            '=') escaped=$escaped%3D ;;
            *) escaped=${escaped}_ ;;
        esac
    done
}

dashed() { # MAC
    IFS=:
    # Splitting at the colons is the point.
    # shellcheck disable=SC2086
    set -- $1
    IFS=-
    echo "$*"
    unset IFS
}

uptime_seconds() {
    read -r seconds _ </proc/uptime
    echo "${seconds%.*}"
}

# --- waiting, never without end ------------------------------------------------------------------------------

within() { # SECONDS COMMAND…: its status; killed and 137 when the time is over. Tells `note` every 10 seconds
    limit=$1
    shift
    "$@" &
    worker=$!
    (
        # In steps, so that no sleep outlives this by more than one second.
        while [ "$limit" -gt 0 ]; do
            sleep 1
            limit=$((limit - 1))
            [ -z "$note" ] || [ $((limit % 10)) -ne 0 ] || complain "$note"
        done
        kill -9 "$worker"
    ) </dev/null >/dev/null 2>&1 &
    watcher=$!
    wait "$worker" 2>/dev/null
    status=$?
    kill "$watcher" 2>/dev/null
    return "$status"
}

tick() { # a fifth of a second, where sleep knows fractions
    sleep 0.2 2>/dev/null || sleep 1
}

# --- handing over --------------------------------------------------------------------------------------------

release() { # overlayfs holds what it needs by itself: with these gone only / is left, and nothing hangs at shutdown
    for directory in "$work/memory" ${lower:+"$lower"} "$work/fetched"; do
        [ ! -d "$directory" ] || umount "$directory" || umount -l "$directory"
    done
    rm -rf /run/netbootd
} 2>/dev/null

hand_over() {
    say "the root is ready; starting $real_init"
    for directory in dev proc sys run; do
        [ -d "$new/$directory" ] || mkdir "$new/$directory"
    done
    for directory in dev sys run; do
        mount -n -o move "/$directory" "$new/$directory"
    done
    if [ "$place" = initrd ]; then
        mount -n -o move /proc "$new/proc"
        exec switch_root "$new" "$real_init" "$@"
    else
        mkdir "$new/run/old-root"
        cd "$new" || exit 1
        mount -n -o move /proc "$new/proc"
        pivot_root . run/old-root
        umount -n -l /run/old-root
        rmdir /run/old-root
        # The console of the new root: the same device, opened there.
        # shellcheck disable=SC2094
        exec chroot . "$real_init" "$@" <dev/console >dev/console 2>&1
    fi
    give_up "the image's $real_init can't be started" "that the image is whole and of this machine's architecture"
}
