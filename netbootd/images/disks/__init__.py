"""Disk images: the partitions in them, and the files in those, read from the first octet to the last.

    image file -> xz, zstd … -> extract.py: elevator -> partitions -> fat, ext4 -> files -> lay.py

A disk wasn't written to be read in order: a directory may lie behind the files that it names. So data are
written where they will stay as they pass, under their inode's number, and are renamed to their place when the
directories are known; what was asked for too late is read in a further pass. No copy of the image is made.

btrfs, xfs, f2fs, squashfs and erofs are left to the kernel, which mounts them where they lie in the image
(mounted.py). It can't seek in what is packed: of such a partition, and only of a packed one, a copy without
its empty blocks lies beside the new image until it was read.
"""
