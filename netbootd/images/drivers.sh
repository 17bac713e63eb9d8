# shellcheck shell=sh
# drivers: which kernel modules this machine wants, and in which order. Read by node-init in the small initrd, and by
# its /sbin/modprobe, through which the kernel itself asks (a network card's PHY, NFS versions).
#
# The tables beside it were made together with the initrd: `order` says what a module needs before it, `alias.BUS`
# which modules drive a device. They are shell `case` statements, since modalias patterns are shell patterns: one
# machine's devices are matched without starting a process, also where a process takes a slow CPU 20 ms.

tables=/lib/netbootd
modules=/lib/modules
loaded=' '
seen='|'
later=''

# shellcheck source=/dev/null
. "$tables/order"

load() { # MODULE…: each after what it needs; what the kernel has built in is in no table
    for wanted in "$@"; do
        sequence=''
        order_of "$wanted"
        for module in $sequence; do
            case $loaded in *" $module "*) continue ;; esac
            loaded="$loaded$module "
            [ -d "/sys/module/$module" ] || insmod "$modules/$module.ko"
        done
    done
}

load_drivers() { # cards' drivers, of all devices not seen before; fails when there was nothing new to load
    before=$loaded
    for file in /sys/bus/*/devices/*/modalias; do
        modalias=''
        read -r modalias <"$file"
        case $seen in *"|$modalias|"*) continue ;; esac
        seen="$seen$modalias|"
        match "$modalias"
        # A list of module names.
        # shellcheck disable=SC2086
        load $drivers
    done 2>/dev/null
    [ "$loaded" != "$before" ]
}

load_more() { # for those devices, what a card may wait for (USB hosts, clocks …); fails when there was nothing new
    before=$loaded
    # shellcheck disable=SC2086
    load $later
    [ "$loaded" != "$before" ]
}

match() { # MODALIAS: sets drivers, adds to later
    drivers=''
    bus=${1%%:*}
    case $bus in *[!A-Za-z0-9_]*) bus=other ;; esac
    case $1 in *:*) ;; *) bus=other ;; esac
    case $loaded in
        *" alias.$bus "*) ;;
        *)
            [ -r "$tables/alias.$bus" ] || return 0
            # shellcheck source=/dev/null
            . "$tables/alias.$bus"
            loaded="${loaded}alias.$bus "
            ;;
    esac
    "match_$bus" "$1"
}
