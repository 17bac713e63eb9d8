# shellcheck shell=sh
# node_memory: root mode `ram`: the image is fetched by HTTP as one file and kept in memory, without any NFS.
# A part of node-init: see node_init.sh, which the parts are put together with.

root_ram() { # the node files first, which are given for a short while only; then the image, which takes longest
    [ "$place" = initrd ] ||
        give_up "the root mode ram needs netbootd's own initrd, and this kernel was booted without" \
            "netbootctl node set ${node:-NODE} --root overlay"
    [ -n "$http" ] || give_up "the kernel command line lacks netbootd.http, from where the image would come" \
        "what 'netbootctl explain ${mac}' renders"
    ask_as_root
    for archive in "$common" "$files"; do
        [ -z "$archive" ] || fetch_files "$archive"
    done
    fetch_image
    ask_as_anybody
    lower=$work/image
    mkdir "$lower"
    mount -n -t squashfs -o ro,loop "$work/fetched/image" "$lower" ||
        give_up "the image $image can't be mounted" "that its kernel has squashfs and loop devices, and this compression"
    mkdir "$work/memory"
    mount -n -t tmpfs -o mode=0755 tmpfs "$work/memory" || give_up "no memory for the node's writes" "the node's RAM"
    mkdir "$work/memory/upper" "$work/memory/work"
    lay_memory_over "$lower"
    find_init
    say "the image $image is in memory"
}

ask_as_root() { # from ports below 1024: only to those are node files given, since only root sends from them
    for setting in ip_unprivileged_port_start ip_local_port_range; do
        read -r value <"$ports/$setting" && eval "usual_$setting=\$value"
    done
    echo 512 >$ports/ip_unprivileged_port_start
    echo 512 1023 >$ports/ip_local_port_range
} 2>/dev/null

# shellcheck disable=SC2154
ask_as_anybody() {
    echo "${usual_ip_local_port_range:-32768 60999}" >$ports/ip_local_port_range
    echo "${usual_ip_unprivileged_port_start:-1024}" >$ports/ip_unprivileged_port_start
} 2>/dev/null

fetch_files() { # PATH: into $work, under its last name
    rounds_left=$FETCH_ROUNDS
    until fetch "$1" "$work/${1##*/}"; do
        rounds_left=$((rounds_left - 1))
        if [ "$rounds_left" -le 0 ]; then
            # What was refused is given again once this machine's firmware has asked for its address.
            [ "$why" != "$refused" ] || give_up "the head node refuses the node files $1: $why" "$advice"
            go_on "the node files $server:$1 can't be fetched: $why; check $advice"
            rm -f "$work/${1##*/}"
            return 1
        fi
        say "the node files $server:$1 can't be fetched yet ($why); again in 5 s"
        sleep 5
    done
}

fetch_image() {
    rounds_left=$FETCH_ROUNDS
    until fetch_sum && room_for "$size" && fetch "$image" "$work/fetched/image" && is_whole; do
        rounds_left=$((rounds_left - 1))
        [ "$rounds_left" -gt 0 ] || give_up "the image $server:$image can't be fetched: $why" "$advice"
        umount "$work/fetched" 2>/dev/null
        say "$server:$image can't be fetched yet ($why); again in 5 s"
        sleep 5
    done
}

fetch_sum() { # sets size, in octets, and digest
    fetch "$image.sum" "$work/sum" || return 1
    size='' digest=''
    read -r size digest <"$work/sum"
    case $size in
        '' | *[!0-9]*)
            why="its size isn't told" advice="that HTTP at $http is netbootd's"
            return 1 ;;
    esac
}

room_for() { # OCTETS: a memory file system for so much, if there is that much, and what a system needs besides
    need=$(($1 / 1024 + LEAST_KIB)) free=0
    while read -r what amount _; do
        case $what in MemAvailable:) free=$amount ;; MemTotal:) all=$amount ;; esac
    done </proc/meminfo
    [ "$free" -ge "$need" ] ||
        give_up "too little memory for the root mode ram: the image takes $(mb "$1") MB and a system some more, \
$(mb $((need * 1024))) in all; of this machine's $(mb $((all * 1024))) MB $(mb $((free * 1024))) are free" \
            "netbootctl node set ${node:-NODE} --root overlay, a smaller image, or more memory"
    [ -d "$work/fetched" ] || mkdir "$work/fetched"
    mount -n -t tmpfs -o "mode=0700,size=$(($1 / 1024 + 1024))k" tmpfs "$work/fetched" ||
        give_up "no memory for the image" "the node's RAM"
}

is_whole() { # the image that was fetched: its size by what was written, its checksum where there is a program for it
    if [ "$written" != "$size" ]; then
        why="$written of $size octets came" advice="the network"
        return 1
    fi
    has '' sha256sum || return 0
    said=$(sha256sum "$work/fetched/image")
    [ "${said%% *}" = "$digest" ] && return 0
    why="its checksum is wrong" advice="the network, and the head node's disk"
    return 1
}

mb() { # OCTETS: in the unit that the head node's timeline has
    echo $((($1 + 500000) / 1000000))
}

# --- HTTP ----------------------------------------------------------------------------------------------------

refused="it knows of no boot of this machine, as after a restart of netbootd"

fetch() { # PATH FILE: by whatever tool there is; sets written, or why and advice. Every 10 s is told how far it is
    for tool in wget curl bash; do
        if has '' "$tool"; then break; fi
        tool=''
    done
    if [ -z "$tool" ]; then
        why="the initrd has no wget, curl or bash" advice="that the image has busybox or bash, and make its initrd anew"
        return 1
    fi
    # It writes through a descriptor of ours, whose position the kernel tells.
    exec 4>"$2"
    send '' "$tool" "$1" >&4 2>"$work/complaint" &
    worker=$!
    seconds=0 idle=0 written=0 last=''
    while is_running "$worker"; do
        tick
        read -r now _ </proc/uptime
        [ "${now%.*}" != "$last" ] || continue
        last=${now%.*} before=$written
        seconds=$((seconds + 1)) idle=$((idle + 1))
        count_written
        [ "$written" = "$before" ] || idle=0
        [ $((seconds % 10)) -ne 0 ] || say "$1: $(mb "$written") MB${size:+ of $(mb "$size")} after $seconds s"
        [ "$idle" -lt "$STALL_SECONDS" ] || kill -9 "$worker"
    done
    wait "$worker" 2>/dev/null
    status=$?
    count_written
    exec 4>&-
    [ $status -ne 0 ] || return 0
    explain_failure
    return 1
}

is_running() { # PROCESS: not yet ended; one that nobody has waited for is still there, as a zombie
    read -r _ _ state _ <"/proc/$1/stat" && [ "$state" != Z ]
} 2>/dev/null

count_written() { # sets written, to the octets that have come through descriptor 4
    while read -r key amount; do
        case $key in pos:) written=$amount ;; esac
    done </proc/self/fdinfo/4
}

explain_failure() { # sets why and advice
    why=''
    while read -r line; do why=$line; done <"$work/complaint"
    case $why in
        *403*) why=$refused advice="that nothing but this machine's firmware starts it; it starts again by itself" ;;
        *404*) why="the head node hasn't got it" advice="what 'netbootctl apply' on the head node says" ;;
        *refused* | *"ouldn't connect"*) why="connection refused" advice="that netbootd runs on $server (netbootctl doctor)" ;;
        '') why=$no_answer advice="that $server is up and on this network" ;;
        *) advice="netbootd on $server (netbootctl doctor)" ;;
    esac
}

unpack() { # ARCHIVE DIRECTORY: by the initrd's tar, or the image's own
    if has '' tar; then
        tar -x -p -f "$1" -C "$2"
        return
    fi
    mkdir "$new/.netbootd-files" && chroot "$new" tar -x -p -f - -C /.netbootd-files <"$1" &&
        cp -a "$new/.netbootd-files/." "$2"
    unpacked=$?
    rm -rf "$new/.netbootd-files"
    return $unpacked
}
