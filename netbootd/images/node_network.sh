# shellcheck shell=sh
# node_network: the network card, and what keeps it from the image's own network services.
# A part of node-init: see node_init.sh, which the parts are put together with.

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
    [ -r "$loader" ] || return 0
    case $root in
        ram) load loop squashfs overlay ;;
        *) load nfs "nfsv${nfs%%.*}" overlay ;;
    esac
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
    list=$new/etc/dhcpcd.conf
    if [ -f "$list" ] && ! has_line "denyinterfaces $card" "$list"; then
        # On top: what stands below an `interface` line counts for that card alone.
        { echo "denyinterfaces $card" && cat "$list"; } >/run/netbootd/dhcpcd.conf
        cat /run/netbootd/dhcpcd.conf >"$list"
    fi
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

has_line() { # LINE FILE
    while IFS= read -r line || [ -n "$line" ]; do
        [ "$line" != "$1" ] || return 0
    done <"$2"
    return 1
}

without_word() { # WORD WORDS…
    unwanted=$1 kept='' count=0
    shift
    for word in "$@"; do
        [ "$word" = "$unwanted" ] || { kept="$kept${kept:+ }$word" count=$((count + 1)); }
    done
    if [ $count -gt 1 ]; then echo "$kept"; fi
}
