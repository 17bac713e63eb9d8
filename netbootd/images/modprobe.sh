#!/bin/sh
# modprobe of the small initrd: the kernel asks for modules as `modprobe -q -- NAME`, NAME a module or an alias.
# It may do so before anything is mounted, and with no file open.
PATH=/usr/sbin:/usr/bin
exec </dev/null >/dev/null 2>&1

# shellcheck source=netbootd/images/drivers.sh
. /lib/netbootd/drivers.sh

for name in "$@"; do :; done
load "$name"
match "$name"
# A list of module names.
# shellcheck disable=SC2154,SC2086
load $drivers $later
