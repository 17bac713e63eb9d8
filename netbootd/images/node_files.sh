# shellcheck shell=sh
# node_files: what is laid over the root: node files, accounts, shared directories.
# A part of node-init: see node_init.sh, which the parts are put together with.

# --- the node's files ----------------------------------------------------------------------------------------

lay_node_files() {
    named=no
    for export in "$common" "$files"; do
        [ -n "$export" ] || continue
        mkdir -p "$work/files"
        bring "$export" || continue
        lay "$work/files" "$new" || go_on "some node files of $export can't be laid over the image"
        [ -f "$work/files/etc/hostname" ] && named=yes
        take_away
    done
    if [ $named = no ] && [ -n "$node" ]; then
        rm -f "$new/etc/hostname"
        echo "$node" >"$new/etc/hostname"
    fi
}

bring() { # PATH: has the files in $work/files, from NFS or from an archive that was fetched
    case $root in
        ram)
            [ -f "$work/${1##*/}" ] || return 1   # that was told
            unpack "$work/${1##*/}" "$work/files" || go_on "not all of the node files $server:$1 can be unpacked"
            rm -f "$work/${1##*/}" ;;
        *)
            mount_patiently "$1" "$work/files" 2 ro,noatime && return 0
            go_on "the node files $server:$1 can't be mounted: $why; check $advice"
            return 1 ;;
    esac
}

take_away() {
    case $root in
        ram) rm -rf "$work/files" ;;
        *) umount "$work/files" || umount -l "$work/files" ;;
    esac
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
        elif [ "$root" = persistent ] && same "./$name" "$target"; then
            continue
        elif [ -L "$target" ]; then
            rm -f "$target"   # cp would write where it points to
        fi
        set -- "$@" "./$name"
    done
    if [ $# -gt 0 ]; then cp -a "$@" "$to/" || failed=1; fi
    exit $failed
)

same() { # FROM TARGET: nothing is written anew in a root that stays; without cmp and ls all is
    if [ -L "$1" ]; then
        [ -L "$2" ] && [ "$(readlink "$1")" = "$(readlink "$2")" ]
    else
        [ -f "$1" ] && [ -f "$2" ] && [ ! -L "$2" ] && cmp -s "$1" "$2" && [ "$(owned "$1")" = "$(owned "$2")" ]
    fi
} 2>/dev/null

owned() { # PATH: its mode, owner and group
    set -f
    # Splitting into words is the point.
    # shellcheck disable=SC2046
    set -- $(ls -ldn "$1")
    echo "${1%[.+@]} $3 $4"
}

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

inside() { # PATH: sets target to where that path leads in the new root
    target=$new ahead=${1#/}/
    while [ -n "$ahead" ]; do
        target=$target/${ahead%%/*}
        ahead=${ahead#*/}
        follow "$target"
    done
}

# --- the cluster's accounts ----------------------------------------------------------------------------------

make_accounts() { # usr/lib/netbootd/accounts: `group NAME GID` and `user NAME UID GID HOME SHELL`, one on each line
    [ -r "$new/usr/lib/netbootd/accounts" ] || return 0
    while read -r kind name id gid home login <&3; do
        case $kind in
            group) make_group || failed=yes ;;
            user) make_user || failed=yes ;;
        esac
        [ "${failed:-no}" = no ] || go_on "the cluster's $kind $name can't be made on this node"
        failed=no
    done 3<"$new/usr/lib/netbootd/accounts"
}

make_group() { # name, id. Who is in a group of that name stays in it
    look_up group "$name" "$id"
    tell_namesake group "$name" "$id"
    put_entry group "$name" "$name:x:$id:${entry##*:}" && add_entry gshadow "$name" "$name:!::"
}

make_user() { # name, id, gid, home, login. The comment tells ours from an image's user of the same name
    look_up passwd "$name" "$id"
    tell_namesake user "$name" "$id"
    wanted="$name:x:$id:$gid:cluster user:$home:$login"
    secret="$name:*:19000:0:99999:7:::"
    case $entry in
        # A password that was set on the node itself stays; one that came with an image doesn't.
        "$name:x:$id:$gid:cluster user:"*) add_entry shadow "$name" "$secret" ;;
        *) put_entry shadow "$name" "$secret" yes ;;
    esac || return 1
    put_entry passwd "$name" "$wanted" || return 1
    inside "$home"
    [ -d "$target" ] || mkdir -p "$target" || return 1
    # What is mounted there has its owner; where nothing comes to be, the user still finds a home.
    if has '' chown; then chown "$id:$gid" "$target"; else chroot "$new" chown "$id:$gid" "$home"; fi ||
        complain "$home can't be given to $name"
}

tell_namesake() { # KIND NAME ID
    if [ -n "$namesake" ]; then complain "the image's $1 $namesake has the number $3 too, which is the cluster's $2"; fi
    case $entry in
        '' | "$2:"*":$3:"*) ;;
        *) complain "the image's $1 $2 had another number; it is $3 now, and its files in the image stay the old one's" ;;
    esac
}

look_up() { # FILE NAME ID: sets entry, the line of that name, and namesake, another name with that number
    entry='' namesake=''
    inside "/etc/$1"
    [ -f "$target" ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do
        number=${line#*:}
        number=${number#*:}
        case $line in
            "$2":*) entry=$line ;;
            *) [ "${number%%:*}" != "$3" ] || namesake=${line%%:*} ;;
        esac
    done <"$target"
}

add_entry() { # FILE NAME LINE: unless there is one of that name; gshadow and shadow only where they are
    look_up "$1" "$2" ''
    [ -n "$entry" ] || put_entry "$1" "$2" "$3" yes
}

put_entry() { # FILE NAME LINE [OPTIONAL]: LINE in the place of that name's, or as the last one; the file changes by rename
    inside "/etc/$1"
    if [ ! -f "$target" ]; then
        [ -z "${4:-}" ] || return 0
        true 2>/dev/null >"$target" || return 1   # a redirection that fails with : would end this shell
    fi
    ! has_line "$3" "$target" || return 0
    placed=no
    cp -a "$target" "$target.netbootd" || return 1   # for its mode and owner
    {
        while IFS= read -r line || [ -n "$line" ]; do
            case $line in
                "$2":*)
                    [ $placed = no ] || continue
                    line=$3 placed=yes ;;
            esac
            printf '%s\n' "$line" || return 1
        done <"$target"
        [ $placed = yes ] || printf '%s\n' "$3"
    } >"$target.netbootd" && mv -f "$target.netbootd" "$target"
}

# --- the cluster's shared directories ------------------------------------------------------------------------

mount_shared() { # usr/lib/netbootd/mounts: `SERVER-PATH DIRECTORY`, one on each line; without them the node lives on
    [ -r "$new/usr/lib/netbootd/mounts" ] || return 0
    # A node in its own memory comes up though there is no NFS server.
    case $root in
        ram)
            patience=1
            if [ -r "$loader" ]; then load nfs "nfsv${nfs%%.*}"; fi ;;
        *) patience=3 ;;
    esac
    while read -r path directory _ <&3; do
        case $path in /*) ;; *) continue ;; esac
        inside "$directory"
        mkdir -p "$target"
        if mount_patiently "$path" "$target" "$patience" rw,hard,nosuid,nodev; then
            say "$server:$path is mounted on $directory"
        else
            go_on "the shared directory $server:$path can't be mounted on $directory: $why; check $advice"
        fi
    done 3<"$new/usr/lib/netbootd/mounts"
}
