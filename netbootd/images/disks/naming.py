"""From inodes to a tree: each file is renamed to its first name, and linked to its others."""

import os
import shutil
import tarfile
from pathlib import Path

from netbootd.images.disks import ext4
from netbootd.images.disks.elevator import DiskError
from netbootd.images.disks.ext4_reader import Ext4
from netbootd.images.tar_stream import refusal
from netbootd.images.unpack import XATTR, dress, set_time, shown

_TYPES = {
    0x8000: tarfile.REGTYPE,
    0x4000: tarfile.DIRTYPE,
    0xA000: tarfile.SYMTYPE,
    0x2000: tarfile.CHRTYPE,
    0x6000: tarfile.BLKTYPE,
    0x1000: tarfile.FIFOTYPE,
}
"""S_IFMT to a tar archive's types. A socket (0xc000) means nothing without the process that made it."""
_FSCK = "e2fsck can mend it"


def make_tree(system: Ext4, inodes: Path, tree: Path) -> int:
    """Make `tree` of what was read, with the data in `inodes`, which is used up.

    Returns how many files lost attributes that the file system here has no room for. Every parent directory
    was made here, so that no link is followed. Raises DiskError, OSError.
    """
    if ext4.ROOT_INODE not in system.directories:
        raise DiskError("its root file system has no root directory", _FSCK)
    tree.mkdir()
    placed = {ext4.ROOT_INODE: tree}
    times = []
    lost = int(not dress(tree, _member(system, ext4.ROOT_INODE, ".")))
    pending = [(ext4.ROOT_INODE, "")]
    while pending:
        directory, prefix = pending.pop()
        for number, raw in system.directories[directory]:
            name = prefix + raw.decode("utf-8", "surrogateescape")
            inode = system.inodes.get(number)
            if inode is None:
                raise DiskError(f"{shown(name)} is the name of no file", _FSCK)
            if name == "lost+found" or inode.kind not in _TYPES:
                continue
            path = tree / name
            if number in placed:
                if inode.kind == 0x4000:
                    raise DiskError(f"the directory {shown(name)} has two names", _FSCK)
                path.hardlink_to(placed[number])
                continue
            placed[number] = path
            member = _member(system, number, name)
            _make(member, path, inodes / str(number))
            lost += not dress(path, member)
            if member.isdir():
                pending.append((number, f"{name}/"))
                times.append((path, member.mtime))
    for path, time in reversed(times):
        set_time(path, time)
    set_time(tree, system.inodes[ext4.ROOT_INODE].mtime)
    shutil.rmtree(inodes)
    return lost


def _member(system: Ext4, number: int, name: str) -> tarfile.TarInfo:
    """The file as a member of an archive, so that what holds for those holds for it. Raises DiskError."""
    inode = system.inodes[number]
    member = tarfile.TarInfo(name)
    member.type = _TYPES[inode.kind]
    member.mode, member.uid, member.gid = inode.mode & 0o7777, inode.uid, inode.gid
    member.mtime, member.size = inode.mtime, inode.size
    member.linkname = system.targets.get(number, b"").decode("utf-8", "surrogateescape")
    member.devmajor, member.devminor = inode.device
    member.pax_headers = {
        XATTR + key: value.decode("utf-8", "surrogateescape")
        for key, value in system.attributes(number).items()
    }
    if inode.is_unreadable:
        raise DiskError(
            f"{shown(name)} is encrypted", "decrypt it where its key is, then read the disk again"
        )
    if inode.kind == 0xA000 and (not member.linkname or "\0" in member.linkname):
        raise DiskError(f"{shown(name)} is a link to nowhere", _FSCK)
    if why := refusal(member):
        raise DiskError(f"{shown(name)} {why}")
    return member


def _make(member: tarfile.TarInfo, path: Path, data: Path) -> None:
    if member.isdir():
        path.mkdir()
    elif member.issym():
        path.symlink_to(member.linkname)
    elif member.isfifo():
        os.mkfifo(path)
    elif member.isdev():
        kind = 0o020000 if member.ischr() else 0o060000
        os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
    else:
        descriptor = os.open(data, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(descriptor, member.size)
        finally:
            os.close(descriptor)
        if os.path.lexists(path):
            raise FileExistsError(17, os.strerror(17), str(path))
        data.rename(path)
