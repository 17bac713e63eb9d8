"""The shell and the tools of the small initrd, taken from the image with the libraries that they need.

Busybox first: one file for all of them. What it lacks, or where there is none, comes from the image's own
programs. Nothing is run: a busybox says what it can by the names that stand in it, libraries are found the
way the dynamic loader would find them.
"""

import os.path
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from netbootd.errors import UserError
from netbootd.images.elf import Elf, is_elf, read_elf
from netbootd.images.rooted import find_file, resolve

TOOLS = (
    "sh",
    "mount",
    "umount",
    "mkdir",
    "rm",
    "cp",
    "mv",
    "cat",
    "readlink",
    "sleep",
    "ip",
    "insmod",
    "switch_root",
)
"""What node-init can't do without."""
HELPERS = ("wget", "chroot", "reboot", "chown", "cmp", "ls", "sha256sum", "tar")
"""What it uses where they are there; a report can also be sent by the image's own wget, curl or bash."""
_TO_LOOK_AROUND = ("ls", "dmesg", "ps", "ping", "lsmod", "ifconfig", "df", "grep", "vi", "less")
"""Free with busybox, for whoever adds a shell to see why a machine doesn't boot."""
_BUSYBOXES = (
    "/bin/busybox",
    "/usr/bin/busybox",
    "/sbin/busybox",
    "/bin/busybox.static",
    "/bin/bb",
    "/usr/lib/busybox/busybox",
)
_DIRECTORIES = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")
_LIBRARY_DIRECTORIES = (
    "/lib",
    "/usr/lib",
    "/lib64",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib32",
    "/usr/lib32",
    "/libx32",
)
_MOST_CONFIGURATION_FILES = 200
_LARGEST = 32 * 1024 * 1024
"""Octets of a program or library; a small initrd has no room for more."""


@dataclass(slots=True)
class Programs:
    """What goes into the initrd: contents by path, and links by path. Paths have no leading slash."""

    files: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    shell: str = ""
    """What /bin/sh is: busybox, dash, bash …"""
    reports: bool = False
    """Whether a failure before the image is mounted can be reported to the head node."""


def collect(root: Path) -> Programs:
    """Everything needed to run node-init, from the image at `root`.

    Raises UserError when the image lacks a tool (naming all of them) or a library of one.
    """
    found = Programs()
    libraries = _Libraries(root)
    applets = _add_busybox(found, libraries, root)
    missing: list[str] = []
    for tool in (*TOOLS, *HELPERS):
        if tool in applets:
            continue
        path = find_file(root, [f"{directory}/{tool}" for directory in _DIRECTORIES])
        if path is not None and (tool in TOOLS or tool != "reboot"):
            if tool in HELPERS and tool != "chroot":
                continue  # a wget or curl with TLS is larger than all else
            _add_program(found, libraries, tool, path)
            if tool == "sh":
                found.shell = path.name
        elif path is None and tool in TOOLS:
            missing.append(tool)
    if found.shell != "bash" and "wget" not in applets:
        _add_bash(found, libraries, root)
    if missing:
        raise UserError(
            f"the image has no {', no '.join(missing)}",
            "install busybox in it, or util-linux, kmod, coreutils and iproute2",
        )
    found.reports = "wget" in applets or "usr/bin/bash" in found.files or found.shell == "bash"
    return found


def _add_busybox(found: Programs, libraries: "_Libraries", root: Path) -> frozenset[str]:
    path = find_file(root, list(_BUSYBOXES))
    if path is None:
        return frozenset()
    content = _content(path)
    if not is_elf(content):
        return frozenset()
    applets = frozenset(
        name for name in (*TOOLS, *HELPERS, *_TO_LOOK_AROUND) if b"\0" + name.encode() + b"\0" in content
    )
    _add_program(found, libraries, "busybox", path)
    found.links |= {f"usr/bin/{applet}": "busybox" for applet in applets}
    if "sh" in applets:
        found.shell = "busybox"
    return applets


def _add_bash(found: Programs, libraries: "_Libraries", root: Path) -> None:
    """It speaks TCP, and is smaller than a wget or curl with TLS; root mode `ram` has to have one of them."""
    path = find_file(root, [f"{directory}/bash" for directory in _DIRECTORIES])
    if path is not None and is_elf(_content(path)):
        _add_program(found, libraries, "bash", path)


def _add_program(found: Programs, libraries: "_Libraries", name: str, path: Path) -> None:
    content = _content(path)
    if not is_elf(content):
        raise UserError(
            f"the image's {name} ({path}) is no program but a script", "install busybox in the image"
        )
    found.files[f"usr/bin/{name}"] = content
    program = read_elf(content)
    if program.interpreter is None:
        return
    loader = resolve(libraries.root, program.interpreter)
    if loader is None or not loader.is_file():
        raise UserError(
            f"the image's {name} needs {program.interpreter}, which isn't there", "install its C library"
        )
    found.files[_merged(program.interpreter)] = _content(loader)
    for library, file in libraries.needed_by(path, program):
        if file == loader:  # musl: one file is both; glibc: libc names its loader
            continue
        found.files[f"{libraries.home(program, loader)}/{library}"] = _content(file)


@dataclass(slots=True)
class _Libraries:
    """Finds libraries as ld.so(8) does, without its cache."""

    root: Path
    _configured: list[str] | None = None

    def needed_by(self, path: Path, program: Elf) -> Iterator[tuple[str, Path]]:
        """Name and file of every library, and of what those need. Raises UserError for a missing one."""
        done: set[str] = set()
        pending = [(name, path, program) for name in program.needed]
        while pending:
            name, wanted_by, wanter = pending.pop()
            if name in done:
                continue
            done.add(name)
            file = self._find(name, wanted_by, wanter, program)
            library = read_elf(_content(file))
            yield PurePosixPath(name).name, file
            pending.extend((needed, file, library) for needed in library.needed)

    def home(self, program: Elf, loader: Path) -> str:
        """The one directory for libraries in the initrd: the C library's, where its loader looks unasked."""
        for name in program.needed:
            if name.startswith(("libc.so", "libc.musl")):
                for directory in self._directories():
                    found = resolve(self.root, f"{directory}/{name}")
                    if found is not None and read_elf(_content(found)).links_with(program):
                        return _merged(directory)
        return _merged("/" + str(loader.parent.relative_to(self.root)))

    def _find(self, name: str, wanted_by: Path, wanter: Elf, program: Elf) -> Path:
        if "/" in name:
            candidates = [name]
        else:
            origin = "/" + os.path.relpath(wanted_by.parent, self.root)
            own = [
                part.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for part in wanter.search_path
            ]
            candidates = [f"{directory}/{name}" for directory in (*own, *self._directories())]
        for candidate in candidates:
            file = resolve(self.root, candidate)
            if file is None or not file.is_file():
                continue
            content = _content(file)
            if is_elf(content) and read_elf(content).links_with(program):
                return file
        raise UserError(
            f"{wanted_by} needs the library {name}, which the image hasn't",
            "install busybox in the image, or that library",
        )

    def _directories(self) -> list[str]:
        if self._configured is None:
            self._configured = [*_configured(self.root), *self._multiarch(), *_LIBRARY_DIRECTORIES]
        return self._configured

    def _multiarch(self) -> list[str]:
        """Debian's /usr/lib/x86_64-linux-gnu and the like, which its ld.so knows without being told."""
        found: list[str] = []
        for base in ("/lib", "/usr/lib"):
            directory = resolve(self.root, base)
            if directory is not None:
                found += [
                    f"{base}/{path.name}" for path in sorted(directory.glob("*-linux-*")) if path.is_dir()
                ]
        return found


def _content(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST:
        raise UserError(f"{path} is larger than {_LARGEST >> 20} MiB: that is no tool for a small initrd")
    return path.read_bytes()


def _configured(root: Path) -> list[str]:
    """The directories of ld.so.conf, its includes followed."""
    directories: list[str] = []
    pending = ["/etc/ld.so.conf"]
    for _ in range(_MOST_CONFIGURATION_FILES):
        if not pending:
            break
        path = resolve(root, pending.pop(0))
        if path is None or not path.is_file():
            continue
        for line in _content(path).decode(errors="replace").splitlines():
            words = line.partition("#")[0].split()
            if words[:1] == ["include"]:
                pending += [
                    f"/{match.relative_to(root)}" for word in words[1:] for match in _glob(root, word)
                ]
            elif words:
                directories += [word for word in words if word.startswith("/")]
    return directories


def _glob(root: Path, pattern: str) -> list[Path]:
    pattern = pattern if pattern.startswith("/") else f"/etc/{pattern}"
    base = resolve(root, str(PurePosixPath(pattern).parent))
    return sorted(base.glob(PurePosixPath(pattern).name)) if base is not None else []


def _merged(path: str) -> str:
    """Where that lies in the initrd, in which /bin, /sbin and /lib* are links into /usr."""
    parts = PurePosixPath(os.path.normpath(path)).parts[1:]
    if parts and parts[0] != "usr":
        parts = ("usr", *parts)
    return str(PurePosixPath(*parts))
