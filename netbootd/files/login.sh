#!/bin/sh
# Run as the cluster user, with: look|make HOME COMMENT
# Says `key` where he has no key pair, `line` where authorized_keys lacks it; `make` makes what it says.
set -eu
umask 077
mode=$1 comment=$3
cd "$2"
key=.ssh/id_ed25519 list=.ssh/authorized_keys new=.ssh/.netbootd-new

note() {
    echo "note $*"
    exit 0
}

if [ ! -e $key ]; then
    if [ -L $key ]; then note "isn't made: ~/$key is a link to nothing"; fi
    if [ -e $key.pub ] || [ -L $key.pub ]; then
        note "isn't made: there is a ~/$key.pub without its ~/$key"
    fi
    echo key
    echo line
    [ "$mode" = make ] || exit 0
    [ -d .ssh ] || mkdir .ssh
    rm -f $new $new.pub # of one that was killed
    ssh-keygen -q -t ed25519 -N '' -C "$comment" -f $new
    sync $new $new.pub
    # The key itself comes last: it is by that that we know of the pair. -n: nothing is overwritten.
    mv -n $new.pub $key.pub
    mv -n $new $key
elif [ ! -f $key ]; then
    note "isn't made: ~/$key is no file"
fi

if ! public=$(ssh-keygen -y -P '' -f $key 2>/dev/null); then
    [ -f $key.pub ] || note "can't be read: ~/$key; does it have a passphrase, or rights for others?"
    public=$(head -c 4096 $key.pub | head -n 1)
    echo "note has a passphrase, or rights for others: ssh will ask, or not take it (~/$key)"
fi
# shellcheck disable=SC2086  # type, octets, comment
set -- $public
blob=${2:-}
[ -n "$blob" ] || note "is none: ~/$key.pub"

if [ -e $list ] && [ ! -f $list ]; then note "isn't let in: ~/$list is no file"; fi
if [ -L $list ] && [ ! -e $list ]; then note "isn't let in: ~/$list is a link to nothing"; fi
if [ -f $list ] && head -c 1048576 $list | grep -qF -- "$blob"; then exit 0; fi
if [ "$mode" = look ]; then
    echo line
    exit 0
fi
# Whoever wrote the last line may have left its end out.
if [ -s $list ] && [ -n "$(tail -c 1 $list)" ]; then echo >>$list; fi
echo "$1 $blob $comment" >>$list
sync $list
