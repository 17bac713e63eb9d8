# shellcheck shell=sh
# node_login: a login on the serial consoles that this machine has. systemd makes one for each by itself.
# A part of node-init: see node_init.sh, which the parts are put together with.
# shellcheck disable=SC2154

serial_login() { # for sysvinit, busybox, OpenRC and runit: a node without a screen shows a login, too
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
} 2>/dev/null

inittab_login() { # TTY: a line of inittab(5), unless there is one
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in '#'*) ;; *"$1"*) return 0 ;; esac
    done <"$new/etc/inittab"
    getty=''
    for getty in /sbin/getty /sbin/agetty /usr/sbin/agetty /usr/bin/agetty /bin/getty; do
        if [ -x "$new$getty" ] || [ -L "$new$getty" ]; then break; fi
        getty=''
    done
    [ -n "$getty" ] || return 0
    # busybox takes the terminal for the id, and no run levels; sysvinit wants four characters at most.
    case $(readlink "$new/sbin/init") in
        *busybox*) id=$1 levels='' ;;
        *) id=${1#tty} levels=2345 ;;
    esac
    echo "$id:$levels:respawn:$getty -L 115200 $1 vt100" >>"$new/etc/inittab"
}
