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
# It needs a POSIX shell, mount, umount, cp, mkdir, rm, readlink, sleep; in the initrd also ip, insmod and
# switch_root, else pivot_root and chroot. A step that fails is told on the console in plain words, reported
# to the head node, and never waited for without a word: what can't be mended ends in a restart.
# All of it is one file, because in an image it must run alone, before anything else is there.

PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 022

CARD_SECONDS=10       # for a network card to appear once its driver is there (firmware, USB)
LINK_SECONDS=90       # for its link; switches that run spanning tree take 30 to 50
MOUNT_SECONDS=30      # for one attempt to mount
RESTART_SECONDS=60    # for somebody to read why, before the machine is restarted
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
        *) give_up "the root mode '$root' isn't known to this node-init, which knows: overlay" \
            "netbootctl set ${node:-NODE} --root overlay, or rebuild the image: its initrd is older than the head node" ;;
    esac
    lay_node_files
    keep_network
    release
    report root "$root, NFS v$nfs, $(uptime_seconds) s after the kernel started"
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
    # Another initrd has left a /run that must be kept; without one it is a directory of the read-only image.
    if [ "$place" = initrd ] || ! mkdir /run/netbootd; then
        mount -n -t tmpfs -o nosuid,nodev,mode=0755 tmpfs /run
        mkdir /run/netbootd
    fi
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

read_command_line() {
    node='' mac='' ip='' gw='' server='' root='' image='' files='' common='' nfs='4.2' http='' init=''
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
        curl) exec "$@" curl -s -f "http://$http$path" ;;
        bash) exec "$@" bash -c 'exec 3<>"/dev/tcp/${0%:*}/${0##*:}" &&
            printf "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" "$1" "$0" >&3 && read -r answer <&3' "$http" "$path" ;;
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

# --- the network card ----------------------------------------------------------------------------------------

find_card() { # sets card: the interface with the address that the head node knows
    card=''
    # Several passes: virtio_pci makes new devices appear, a USB host its card.
    # shellcheck source=netbootd/images/drivers.sh
    if [ -r "$loader" ]; then . "$loader"; else load_drivers() { return 1; }; load_more() { return 1; }; fi
    ticks=0
    while ! look_for_card; do
        load_drivers && continue
        # USB hosts take a second or two, boards have dozens of clocks and regulators: only if no card came without.
        if [ "$ticks" -ge 5 ] || ! any_card; then load_more && continue; fi
        [ "$ticks" -eq 15 ] && say "waiting for the network card $mac"
        [ "$ticks" -ge $((CARD_SECONDS * 5)) ] && no_card
        ticks=$((ticks + 1))
        tick
    done
    say "network card $card has the address $mac"
}

look_for_card() {
    for directory in /sys/class/net/*; do
        [ -e "$directory/device" ] || continue
        read -r address <"$directory/address" || continue
        if [ "$address" = "$mac" ]; then
            card=${directory##*/}
            return 0
        fi
    done
    return 1
} 2>/dev/null

any_card() {
    for directory in /sys/class/net/*/device; do
        [ -e "$directory" ] && return 0
    done
    return 1
}

no_card() {
    present='' idle=''
    for directory in /sys/class/net/*; do
        [ -e "$directory/device" ] || continue
        read -r address <"$directory/address"
        present="$present ${directory##*/}=$address"
    done
    for directory in /sys/bus/pci/devices/*; do
        [ -e "$directory/driver" ] && continue
        read -r class <"$directory/class" && read -r vendor <"$directory/vendor" && read -r device <"$directory/device"
        case $class in 0x02*) idle="$idle ${vendor#0x}:${device#0x}" ;; esac
    done 2>/dev/null
    [ -z "$idle" ] || complain "network cards for which the initrd has no driver, or no firmware (PCI numbers):$idle"
    give_up "no network card with the address $mac appeared; this machine has:${present:- none}" \
        "the node's MAC on the head node, and that the image's kernel has the card's driver and firmware"
}

bring_up() {
    ip link set dev "$card" up || give_up "the network card $card can't be switched on" "the kernel's messages above"
    ip address add "$ip" dev "$card" ||
        give_up "the address $ip can't be given to $card" "netbootd.ip on the kernel command line: ADDRESS/PREFIX"
    # The link needs a moment anyway: the file systems' modules are loaded meanwhile.
    load_file_systems
    ticks=0
    until [ "$(cat "/sys/class/net/$card/carrier" 2>/dev/null)" = 1 ]; do
        ticks=$((ticks + 1))
        [ $((ticks % 25)) -eq 0 ] && say "no link on $card yet: is the cable plugged in, and the switch on?"
        [ "$ticks" -ge $((LINK_SECONDS * 5)) ] &&
            give_up "no link on $card after $LINK_SECONDS seconds" "the cable and the switch"
        tick
    done
    if [ -n "$gw" ]; then
        ip route add default via "$gw" dev "$card" proto static || go_on "the router $gw can't be set: no way out of this network"
    fi
    say "$card is up as $ip"
}

load_file_systems() {
    if [ -r "$loader" ]; then load nfs "nfsv${nfs%%.*}" overlay; fi
}

# --- the root ------------------------------------------------------------------------------------------------

root_overlay() { # the image read-only, the node's writes in its memory
    mkdir "$work/memory"
    mount -n -t tmpfs -o mode=0755 tmpfs "$work/memory" || give_up "no memory for the node's writes" "the node's RAM"
    mkdir "$work/memory/upper" "$work/memory/work"
    if [ "$place" = initrd ]; then
        lower=$work/image
        mkdir "$lower"
        mount_patiently "$image" "$lower" 6 ro,nocto,noatime,actimeo=600 ||
            give_up "the image $server:$image can't be mounted: $why" "$advice"
    else
        lower=/
        modprobe overlay 2>/dev/null
    fi
    mount -n -t overlay -o "lowerdir=$lower,upperdir=$work/memory/upper,workdir=$work/memory/work" overlay "$new" ||
        give_up "overlayfs can't be mounted over the image" "that the image's kernel has overlayfs (CONFIG_OVERLAY_FS)"
    find_init
    say "the image $image is mounted"
}

mount_patiently() { # PATH DIRECTORY ROUNDS OPTIONS: NFS by the version asked for, then v3, again after a pause
    pause=1
    rounds=$3
    while :; do
        mount_nfs "$nfs" "$1" "$2" "$4" && return 0
        first_why=$why first_advice=$advice
        if [ "$nfs" != 3 ] && [ "$why" != "$no_answer" ] && mount_nfs 3 "$1" "$2" "$4"; then
            say "mounted by NFS v3, since v$nfs failed: $first_why"
            nfs=3
            return 0
        fi
        why=$first_why advice=$first_advice
        rounds=$((rounds - 1))
        [ "$rounds" -gt 0 ] || return 1
        say "$server:$1 can't be mounted yet ($why); again in $pause s"
        sleep "$pause"
        pause=$((pause * 2))
    done
}

mount_nfs() { # VERSION PATH DIRECTORY OPTIONS: sets why and advice where it fails
    # mount(2) alone, without mount.nfs (-i): what that would find out is given as options.
    case $1 in
        3) set -- nfs "$2" "$3" "$4,vers=3,proto=tcp,mountproto=tcp,nolock,addr=$server,mountaddr=$server" ;;
        *) set -- nfs4 "$2" "$3" "$4,vers=$1,proto=tcp,addr=$server,clientaddr=${ip%/*}" ;;
    esac
    note="the NFS server $server doesn't answer"
    why=$(within "$MOUNT_SECONDS" mount -i -n -t "$1" -o "$4" "$server:$2" "$3" 2>&1) && note='' && return 0
    note=''
    case $why in
        *refused*) why="connection refused" advice="that the NFS server runs on $server (netbootctl doctor)" ;;
        *denied* | *ermitted*) why="access denied" advice="that ${ip%/*} may mount it (netbootctl apply)" ;;
        *"o such file"* | *"not found"*) why="not exported" advice="the exports of $server (netbootctl apply)" ;;
        *"o such device"* | *"nknown filesystem"*) why="the kernel has no NFS client" advice="the image's kernel" ;;
        *rotocol*) why="the server doesn't speak this NFS version" advice="the NFS server of $server" ;;
        *"imed out"* | *unreachable* | *"o route"* | '') why=$no_answer advice="that $server is up and on this network" ;;
        *) advice="the NFS server of $server (netbootctl doctor)" ;;
    esac
    return 1
}

find_init() { # sets real_init. Links are looked at, not followed: absolute ones mean something else in here
    for real_init in "$init" /sbin/init /lib/systemd/systemd /usr/lib/systemd/systemd /bin/init; do
        [ -n "$real_init" ] || continue
        if [ -x "$new$real_init" ] || [ -L "$new$real_init" ]; then return 0; fi
    done
    give_up "the image $image has no init" "that the image is whole: ls HEAD:$image/sbin/init"
}

# --- the node's files ----------------------------------------------------------------------------------------

lay_node_files() {
    named=no
    for export in "$common" "$files"; do
        [ -n "$export" ] || continue
        mkdir -p "$work/files"
        if mount_patiently "$export" "$work/files" 2 ro,noatime; then
            lay "$work/files" "$new" || go_on "some node files of $export can't be laid over the image"
            [ -f "$work/files/etc/hostname" ] && named=yes
            umount "$work/files" || umount -l "$work/files"
        else
            go_on "the node files $server:$export can't be mounted: $why; check $advice"
        fi
    done
    if [ $named = no ] && [ -n "$node" ]; then
        rm -f "$new/etc/hostname"
        echo "$node" >"$new/etc/hostname"
    fi
}

# A subshell each time, so that the variables of one directory survive the descent into the next.
# shellcheck disable=SC2030,SC2031
lay() ( # FROM TO: copies a tree over another. Directories that exist keep their owner and mode; the rest is as in FROM
    to=$2
    failed=0
    cd "$1" || exit 1
    set --
    for name in * .[!.]* ..?*; do
        [ -e "$name" ] || [ -L "$name" ] || continue
        target=$to/$name
        if [ -d "$name" ] && [ ! -L "$name" ]; then
            follow "$target"
            if [ -d "$target" ]; then
                lay "./$name" "$target" || failed=1
                continue
            fi
        elif [ -L "$target" ]; then
            rm -f "$target"   # cp would write where it points to
        fi
        set -- "$@" "./$name"
    done
    if [ $# -gt 0 ]; then cp -a "$@" "$to/" || failed=1; fi
    exit $failed
)

# shellcheck disable=SC2031
follow() { # PATH: sets target to where a link to a directory leads in the new root
    hops=0
    while [ -L "$target" ] && [ $hops -lt 8 ]; do
        link=$(readlink "$target")
        case $link in
            /*) target=$new$link ;;
            *) target=${target%/*}/$link ;;
        esac
        hops=$((hops + 1))
    done
}

# --- what keeps the network, and with it the root, alive under the image's own network services ---------------

keep_network() {
    if [ "$place" = image ]; then look_for_card || return 0; fi
    mkdir -p /run/systemd/network /run/NetworkManager/conf.d
    # systemd-udevd can't rename a card that is up, and would say so at every boot.
    cat >/run/systemd/network/00-netbootd.link <<-END
	[Match]
	MACAddress=$mac
	Type=ether

	[Link]
	NamePolicy=keep
	END
    cat >/run/systemd/network/00-netbootd.network <<-END
	# Written by node-init: the root file system comes over this card.
	[Match]
	MACAddress=$mac
	Type=ether

	[Network]
	Address=$ip
	${gw:+Gateway=$gw}
	KeepConfiguration=yes
	END
    cat >/run/NetworkManager/conf.d/00-netbootd.conf <<-END
	# Written by node-init: the root file system comes over this card.
	[device-netbootd]
	match-device=mac:$mac
	managed=0
	END
    for list in "$new"/etc/network/interfaces "$new"/etc/network/interfaces.d/*; do
        if [ -f "$list" ]; then without_card "$list"; fi
    done
    if [ -f "$new/etc/dhcpcd.conf" ]; then echo "denyinterfaces $card" >>"$new/etc/dhcpcd.conf"; fi
}

without_card() { # FILE: ifupdown would give the card a second address, and take it down at shutdown
    list=$1 changed=no dropping=no
    {
        while IFS= read -r line || [ -n "$line" ]; do
            set -f
            # Splitting into words is the point.
            # shellcheck disable=SC2086
            set -- $line
            set +f
            case ${1:-} in
                iface) if [ "${2:-}" = "$card" ]; then dropping=yes; else dropping=no; fi ;;
                auto | allow-* | no-auto-down | no-scripts)
                    dropping=no
                    case " $* " in *" $card "*) line=$(without_word "$card" "$@") changed=yes ;; esac ;;
                source* | mapping | rename | template) dropping=no ;;
            esac
            if [ $dropping = yes ]; then changed=yes; else printf '%s\n' "$line"; fi
        done
    } <"$list" >/run/netbootd/interfaces
    if [ $changed = yes ]; then
        cat /run/netbootd/interfaces >"$list"
        say "$card is taken out of ${list#"$new"}: the root file system comes over it"
    fi
    rm -f /run/netbootd/interfaces
}

without_word() { # WORD WORDS…
    unwanted=$1 kept='' count=0
    shift
    for word in "$@"; do
        [ "$word" = "$unwanted" ] || { kept="$kept${kept:+ }$word" count=$((count + 1)); }
    done
    if [ $count -gt 1 ]; then echo "$kept"; fi
}

# --- handing over --------------------------------------------------------------------------------------------

release() { # overlayfs holds what it needs by itself: with these gone only / is left, and nothing hangs at shutdown
    umount "$work/memory" || umount -l "$work/memory"
    if [ "$place" = initrd ]; then umount "$lower" || umount -l "$lower"; fi
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

main "$@"
