"""Finding an image's kernel: any distribution's, by what the file is rather than by what it is called.

A kernel tells its own release: in the header of a bzImage, in the text `Linux version …` of every other (of
gzip, once it is unpacked). A name only says where to look. A kernel counts where the image has the
modules of that release; the newest one wins.
"""

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from netbootd.errors import UserError
from netbootd.images import edit
from netbootd.images.rooted import resolve

_LARGEST = 256 << 20
_PLACES = (
    ("/boot", "vmlinuz*"),  # Debian, Ubuntu, Fedora, Arch, Alpine
    ("/boot", "vmlinux*"),
    ("/boot", "kernel-*"),  # Gentoo's genkernel
    ("/boot", "Image*"),  # Arch Linux ARM
    ("/boot", "zImage*"),
    ("/boot", "kernel*.img"),  # Raspberry Pi
    ("/boot/firmware", "kernel*.img"),
    ("/boot/firmware", "vmlinuz*"),
    ("/", "vmlinuz*"),
)
_INITRDS = (
    ("/boot", "initrd.img-{release}"),
    ("/boot", "initramfs-{release}.img"),
    ("/boot", "initramfs-{release}"),
    ("/boot", "initrd-{release}"),
    ("/boot", "initramfs-{name}.img"),
    ("/boot", "initramfs-{name}"),
    ("/boot", "initrd.img"),
    ("/boot/firmware", "initrd.img"),
)
_DEVICE_TREES = (
    "/usr/lib/linux-image-{release}",
    "/usr/lib/modules/{release}/dtb",
    "/boot/dtbs/{release}",
    "/boot/dtb-{release}",
    "/usr/lib/firmware/{release}/device-tree",
    "/boot/dtbs",
    "/boot/firmware",
    "/boot",
)
_VERSION = re.compile(rb"Linux version ([0-9][!-~]{2,80}) ")
_RELEASE = re.compile(r"[0-9][\w.+~-]{2,80}")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of an image. Paths are the head node's; `release` is uname -r."""

    path: Path
    release: str
    modules: Path | None
    """None for a kernel that has everything built in, in an image without modules."""
    initrd: Path | None
    """The distribution's own."""
    device_trees: Path | None


def find(root: Path) -> Kernel:
    """The newest kernel of the image whose / is `root`. Raises UserError, which says what was looked for."""
    candidates = _candidates(root)
    modules = _module_directories(root)
    kernels = [
        _kernel(root, path, release, modules.get(release))
        for path, release in candidates.items()
        if release in modules or not modules
    ]
    if kernels:
        return max(kernels, key=lambda kernel: _rank(kernel.release, kernel.path.name))
    if candidates:
        raise UserError(
            f"the kernel {_some(candidates.values())} has no modules in the image, which has those of "
            f"{_some(modules)}",
            "install the kernel's modules under /lib/modules in the image, or the kernel that they belong to",
        )
    places = ", ".join(dict.fromkeys(f"{directory.rstrip('/')}/{pattern}" for directory, pattern in _PLACES))
    raise UserError(
        f"no kernel found in the image; looked for {places}, /lib/modules/*/vmlinuz",
        "install one in it, as in: chroot ROOT apt install linux-image-amd64",
    )


def release_of(content: bytes) -> str | None:
    """What `uname -r` says under the kernel whose file holds `content`; None for what is no kernel."""
    if content[0x202:0x206] == b"HdrS":
        # The x86 boot protocol, Documentation/arch/x86/boot.rst: kernel_version, an offset less 0x200.
        start = int.from_bytes(content[0x20E:0x210], "little") + 0x200
        text = content[start : start + 200].split(b"\0")[0].split(b" ")[0].decode("ascii", "replace")
        return text if _RELEASE.fullmatch(text) else None
    if match := _VERSION.search(content):
        return match[1].decode()
    if content[:2] == b"\x1f\x8b":
        return release_of(_gunzipped(content))
    # EFI zboot: a PE program that unpacks what it carries.
    if content[4:8] == b"zimg" and content[0x18:0x1C] == b"gzip":
        offset, size = (int.from_bytes(content[i : i + 4], "little") for i in (8, 12))
        return release_of(_gunzipped(content[offset : offset + size]))
    return None


def version_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Sorts releases by their numbers: 6.1.0-9 before 6.1.0-10."""
    return tuple(
        (1, int(part)) if part.isdigit() else (0, part) for part in re.findall(r"\d+|[^\d.+-]+", text)
    )


def _candidates(root: Path) -> dict[Path, str]:
    """Every kernel in the image, by path, with its release. The same file found twice counts once."""
    names = [name for directory, pattern in _PLACES for name in edit.matching(root, directory, pattern)]
    names += [f"{modules}/vmlinuz" for modules in edit.matching(root, "/usr/lib/modules", "*")] + [
        f"{modules}/vmlinuz" for modules in edit.matching(root, "/lib/modules", "*")
    ]
    found: dict[Path, str] = {}
    for name in names:
        path = resolve(root, name)
        if path is None or path in found or not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        content = path.read_bytes()
        release = release_of(content) or (_release_in_name(name) if _is_kernel(content) else None)
        if release:
            found[path] = release
    return found


def _module_directories(root: Path) -> dict[str, Path]:
    found = {}
    for place in ("/usr/lib/modules", "/lib/modules"):
        for name in edit.matching(root, place, "*"):
            path = resolve(root, name)
            if path is not None and (path / "kernel").is_dir():
                found[name.rpartition("/")[2]] = path
    return found


def _kernel(root: Path, path: Path, release: str, modules: Path | None) -> Kernel:
    name = re.sub(r"^(vmlinuz|kernel|Image)-", "", path.name)
    initrds = (resolve(root, f"{d}/{pattern.format(release=release, name=name)}") for d, pattern in _INITRDS)
    trees = (resolve(root, place.format(release=release)) for place in _DEVICE_TREES)
    return Kernel(
        path,
        release,
        modules,
        initrd=next((initrd for initrd in initrds if initrd is not None and initrd.is_file()), None),
        device_trees=next((t for t in trees if t is not None and t.is_dir() and any(t.rglob("*.dtb"))), None),
    )


def _rank(release: str, name: str) -> tuple[object, ...]:
    """The newest is greatest; of one version the plainest: amd64, not cloud-amd64; rpi-v8, not rpi-2712."""
    numbers = re.match(r"[\d.]+(?:-\d+)?", release)
    version = version_key(numbers[0] if numbers else release)
    special = any(word in release for word in ("cloud", "rt", "debug", "kdump", "2712", "rescue"))
    return version, not special, -len(release), name == "kernel8.img", version_key(release)


def _release_in_name(name: str) -> str | None:
    match = re.search(r"-([0-9][^/]*)$", name)
    return match[1] if match and _RELEASE.fullmatch(match[1]) else None


def _is_kernel(content: bytes) -> bool:
    return (
        content[0x38:0x3C] == b"ARM\x64"  # an arm64 Image
        or content[0x24:0x28] == b"\x18\x28\x6f\x01"  # an arm zImage
        or content[4:8] == b"zimg"
    )


def _gunzipped(content: bytes) -> bytes:
    """As much of it as a kernel may have; nothing where it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(content, _LARGEST)
    except zlib.error:
        return b""


def _some(names: Iterable[str]) -> str:
    texts = sorted(set(names))
    return ", ".join(texts[:5]) + (" …" if len(texts) > 5 else "")
