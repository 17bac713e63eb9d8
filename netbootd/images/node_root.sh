# shellcheck shell=sh
# node_root: how a node gets its root, in each of the root modes.
# A part of node-init: see node_init.sh, which the parts are put together with.

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
        modprobe overlay 2>/dev/null
    fi
    lay_memory_over "${lower:-/}"
    find_init
    say "the image $image is mounted"
}

lay_memory_over() { # DIRECTORY
    mount -n -t overlay -o "lowerdir=$1,upperdir=$work/memory/upper,workdir=$work/memory/work" overlay "$new" ||
        give_up "overlayfs can't be mounted over the image" "that the image's kernel has overlayfs (CONFIG_OVERLAY_FS)"
}

root_persistent() { # the node's own root: the head node lays what this node has changed over the image, and keeps it
    rounds_left=$EMPTY_ROUNDS
    while :; do
        mount_patiently "$image" "$new" 6 rw,hard,noatime ||
            give_up "the root $server:$image can't be mounted: $why" "$advice"
        is_empty "$new" || break
        # Exported, but not what is meant: the head node has restarted and not mounted it yet.
        umount "$new" || umount -l "$new"
        [ "$rounds_left" -gt 0 ] || give_up "the root $server:$image is empty: it isn't mounted there" \
            "what 'netbootctl apply' on the head node says of it"
        if [ "$rounds_left" -eq "$EMPTY_ROUNDS" ]; then
            go_on "the root $server:$image is empty: the head node has yet to mount it (netbootctl apply); waiting"
        fi
        rounds_left=$((rounds_left - 1))
        sleep 5
    done
    find_init
    say "the root $image is mounted"
}

is_empty() { # DIRECTORY
    for entry in "$1"/* "$1"/.[!.]*; do
        if [ -e "$entry" ] || [ -L "$entry" ]; then return 1; fi
    done
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
        3)
            # NFS-Ganesha fails to set ACLs by v3; but over a lower layer without them no program would start.
            case $4 in rw*) set -- "$1" "$2" "$3" "$4,noacl" ;; esac
            set -- nfs "$2" "$3" "$4,vers=3,proto=tcp,mountproto=tcp,nolock,addr=$server,mountaddr=$server" ;;
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
