# shellcheck shell=sh
# node_login: for an init other than systemd, a login on this machine's serial consoles, and the report `ready`.
# A part of node-init: see node_init.sh, which the parts are put together with.
# shellcheck disable=SC2154

ready=/usr/lib/netbootd/report-ready

serial_login() { # sysvinit, busybox and OpenRC read inittab(5); openrc-init and runit don't
    case $(readlink "$new/sbin/init") in *systemd*) return 0 ;; esac
    read -r consoles </sys/class/tty/console/active || return 0
    for tty in $consoles; do
        case $tty in tty[0-9]* | *[!A-Za-z0-9]*) continue ;; esac
        if [ -f "$new/etc/inittab" ]; then
            inittab_login "$tty"
        elif [ -f "$new/etc/init.d/agetty" ] && [ -d "$new/etc/runlevels/default" ]; then
            ln -s agetty "$new/etc/init.d/agetty.$tty"
            ln -s "/etc/init.d/agetty.$tty" "$new/etc/runlevels/default/agetty.$tty"
        elif [ -d "$new/etc/sv/agetty-$tty" ] && [ -d "$new/etc/runit/runsvdir/default" ]; then
            ln -s "/etc/sv/agetty-$tty" "$new/etc/runit/runsvdir/default/agetty-$tty"
        fi
    done
    [ -x "$new$ready" ] || return 0
    if [ -f "$new/etc/inittab" ]; then
        inittab_line "$ready" nr once "$ready"
    elif [ -f "$new/etc/init.d/local" ] && [ -d "$new/etc/runlevels/default" ]; then
        mkdir -p "$new/etc/local.d"
        ln -s "$ready" "$new/etc/local.d/netbootd.start"
        ln -s /etc/init.d/local "$new/etc/runlevels/default/local"
    fi
} 2>/dev/null

inittab_login() { # TTY: a getty on it
    for getty in /sbin/getty /sbin/agetty /usr/sbin/agetty /usr/bin/agetty /bin/getty; do
        if [ -x "$new$getty" ] || [ -L "$new$getty" ]; then
            inittab_line "$1" "$1" respawn "$getty -L 115200 $1 vt100"
            return 0
        fi
    done
}

inittab_line() { # SIGN TTY-OR-ID ACTION COMMAND: a line, unless one has the sign already
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in '#'*) ;; *"$1"*) return 0 ;; esac
    done <"$new/etc/inittab"
    # busybox takes a terminal for the id, and no run levels; sysvinit wants four characters at most.
    case $(readlink "$new/sbin/init") in
        *busybox*) case $2 in tty*) id=$2 ;; *) id='' ;; esac; levels='' ;;
        *) id=${2#tty} levels=2345 ;;
    esac
    echo "$id:$levels:$3:$4" >>"$new/etc/inittab"
}
