"""Disk images: the partitions in them, and the files in those, read from the first octet to the last.

    image file -> xz, zstd … -> extract.py: elevator -> partitions -> fat, ext4 -> files

A disk wasn't written to be read in order: a directory may lie behind the files that it names. So data are
written where they will stay as they pass, under their inode's number, and are renamed to their place when the
directories are known; what was asked for too late is read in a further pass. No copy of the image is made.
"""
