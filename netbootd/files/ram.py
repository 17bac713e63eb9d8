"""What nodes in memory fetch instead of mounting: their node files in archives, their image in one file.

    ram/common.tar         what is the same for all nodes
    ram/nodes/n01.tar      a node's own
    images/…/boot/root.squashfs     netbootd.images.ram

The daemon serves the archives and may read them by its group alone: they hold host keys and the cluster's
private key. They are there for nodes of root mode `ram` only, and go when the last of them is set to another.
"""

import io
import os
import secrets
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from netbootd.config import Config
from netbootd.files.change import Change, PackFiles, PackRoot
from netbootd.files.disk import TEMPORARY, explained, scan
from netbootd.files.tree import Directory, File, Link, Tree, keeping
from netbootd.files.wanted import Inputs, Wanted
from netbootd.images import ram
from netbootd.images.progress import Progress
from netbootd.node import RootMode

COMMON = "common.tar"
_DIRECTORY_MODE, _FILE_MODE = 0o750, 0o640


def changes(inputs: Inputs, want: Wanted) -> tuple[list[Change], list[Change]]:
    """What differs: of the archives, and of the images, which take a minute each and so come last."""
    config, files = inputs.config, list[Change]()
    group = _group(config)
    wanted = _archives(config, want)
    present = dict(_present(config.ram_dir))
    for name, content in wanted.items():
        if present.get(name) != (content, group):
            files.append(PackFiles(config.ram_dir / name, content))
    files += [PackFiles(config.ram_dir / name, None) for name in present if name not in wanted]
    return files, list(_roots(inputs, want))


def carry_out(change: PackFiles | PackRoot, config: Config, progress: Progress) -> None:
    """Write or remove an archive, for root and the daemon only, in one step; or pack a root.

    Raises HostError.
    """
    match change:
        case PackFiles(path, content):
            _write(path, content, config)
        case PackRoot(_, generation):
            ram.make(generation, progress, _group(config))


def _write(path: Path, content: bytes | None, config: Config) -> None:
    with explained(path):
        if content is None:
            path.unlink(missing_ok=True)
            return
        group = _group(config)
        for directory in (config.ram_dir, path.parent):
            directory.mkdir(mode=0o700, exist_ok=True)
            os.chown(directory, os.geteuid(), group)
            directory.chmod(_DIRECTORY_MODE)
        beside = path.with_name(TEMPORARY + secrets.token_hex(6))
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            try:
                file.write(content)
                file.flush()
                os.fchown(file.fileno(), os.geteuid(), group)
                os.fchmod(file.fileno(), _FILE_MODE)
                os.fsync(file.fileno())
                beside.rename(path)
            except OSError:
                beside.unlink()
                raise


def archive(tree: Tree) -> bytes:
    """`tree` as a tar that is the same whenever it is made of the same: no times, all owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(tree, key=lambda path: path.split("/")):
            entry = tree[path]
            info = tarfile.TarInfo(path)
            match entry:
                case Directory(mode):
                    info.type, info.mode = tarfile.DIRTYPE, mode
                case Link(target):
                    info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
                case File(content, mode):
                    info.size, info.mode = len(content), mode
                    tar.addfile(info, io.BytesIO(content))
                    continue
            if path != ".":
                tar.addfile(info)
    return buffer.getvalue()


def _archives(config: Config, want: Wanted) -> Mapping[str, bytes]:
    """By their paths below ram/; a common one only where somebody fetches it."""
    found: dict[str, bytes] = {}
    for node in want.nodes:
        if node.root is RootMode.RAM:
            found[COMMON] = found.get(COMMON) or archive(_made(config, want, config.common_dir))
            found[f"nodes/{node.name}.tar"] = archive(_made(config, want, config.nodes_dir / node.name))
    return found


def _made(config: Config, want: Wanted, directory: Path) -> Tree:
    """The tree as it will be on the disk: what a broken template should make stays as it was."""
    name = directory.relative_to(config.state_dir).as_posix()
    entries, kept = want.trees[name], want.kept.get(name, ())
    return keeping(entries, scan(config.state_dir, name), kept) if kept else entries


def _present(directory: Path) -> Iterator[tuple[str, tuple[bytes, int]]]:
    """What is there, by path below it, with its group; -1 where the mode isn't right either."""
    with explained(directory):
        for path in sorted(directory.rglob("*")):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                right = stat.S_IMODE(status.st_mode) == _FILE_MODE and status.st_uid == os.geteuid()
                group = status.st_gid if right else -1
                yield path.relative_to(directory).as_posix(), (path.read_bytes(), group)


def _roots(inputs: Inputs, want: Wanted) -> Iterator[Change]:
    """The images that nodes in memory boot, and that can be and aren't packed yet.

    The service that applies by itself may not write to images: netbootctl at a terminal packs them, and till
    then the nodes are told so.
    """
    images = dict.fromkeys(node.image for node in want.nodes if node.root is RootMode.RAM and node.image)
    for image in images:
        generation = inputs.store.current(image)
        if generation is None or not generation.squashfs or ram.is_made(generation):
            continue
        if inputs.unmountable is not None or os.access(generation.boot, os.W_OK):
            yield PackRoot(generation.boot / ram.NAME, generation)


def _group(config: Config) -> int:
    """The daemon's group, by whose the registry is; ours before there is one."""
    try:
        return config.registry_path.parent.stat().st_gid
    except FileNotFoundError:
        return os.getegid()
