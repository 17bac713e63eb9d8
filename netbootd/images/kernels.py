"""Finding an image's kernel: any distribution's, by what the file is rather than by what it is called.

A kernel tells its own release (kernel_file.py); one that is packed so that nobody here reads it, its name or
the only modules that there are. A name only says where to look. A kernel counts where the image has the
modules of that release, or where it says that it needs none; the newest one wins.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from netbootd.errors import UserError
from netbootd.images import edit, kernel_file
from netbootd.images.kernel_modules import builtin_options
from netbootd.images.rooted import resolve

_NAMES = ("vmlinuz*", "vmlinux*", "kernel*", "Image*", "zImage*", "bzImage*", "linux-*")
"""Most distributions; Gentoo and Raspberry Pi; boards; what a kernel is called where it was made."""
_PLACES = ("/boot", "/boot/firmware", "/efi", "/")
_BESIDE_MODULES = ("/usr/lib/modules", "/lib/modules")
"""Fedora, openSUSE and Arch have it there: MODULES/RELEASE/vmlinuz."""
_NO_KERNELS = re.compile(r"\.(dtbo?|txt|sig|hmac|gz\.sig|conf|map)$|^kernel-?(config|headers)|System\.map")
_OF_A_PI = {"kernel.img": "v6", "kernel7.img": "v7", "kernel7l.img": "v7l", "kernel8.img": "v8",
            "kernel_2712.img": "2712"}  # fmt: skip
"""Raspberry Pi OS: file -> how the release of its modules ends."""
_INITRDS = (
    ("/boot", "initrd.img-{release}"),
    ("/boot", "initramfs-{release}.img"),
    ("/boot", "initramfs-{release}"),
    ("/boot", "initrd-{release}"),
    ("/boot", "initramfs-genkernel-*-{release}"),
    ("/boot", "initramfs-{name}.img"),
    ("/boot", "initramfs-{name}"),
    ("/boot", "initrd.img"),
    ("/boot/firmware", "initramfs{pi}"),
    ("/boot/firmware", "initrd.img"),
)
_DEVICE_TREES = (
    "/usr/lib/linux-image-{release}",
    "/usr/lib/modules/{release}/dtb",
    "/usr/lib/modules/{release}/dtbs",
    "/boot/dtbs/{release}",
    "/boot/dtb-{release}",
    "/boot/dtbs-{name}",
    "/usr/lib/firmware/{release}/device-tree",
    "/boot/dtbs",
    "/boot/dtb",
    "/boot/firmware",
    "/boot",
)
_RELEASE = re.compile(r"[0-9][\w.+~-]{2,80}")
_BY_ITSELF = ("NFS_FS", "ROOT_NFS", "IP_PNP", "OVERLAY_FS", "DEVTMPFS", "TMPFS")
_WHOLE = 100
"""Options that the smallest configuration has, and more: of fewer nothing is concluded."""
_INSTALL = {
    "debian": "apt install linux-image-{debian}",
    "ubuntu": "apt install linux-image-generic",
    "raspbian": "apt install linux-image-rpi-v8",
    "arch": "pacman -S linux",
    "archarm": "pacman -S linux-aarch64",
    "gentoo": "emerge sys-kernel/gentoo-kernel-bin",
    "alpine": "apk add linux-lts",
    "fedora": "dnf install kernel",
    "opensuse": "zypper install kernel-default",
    "void": "xbps-install linux",
}
"""ID or ID_LIKE of os-release -> what installs a kernel."""


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
    modules = _module_directories(root)
    candidates = _candidates(root, modules)
    kernels = [
        _kernel(root, path, release, modules.get(release))
        for path, release in candidates.items()
        if release in modules or not modules or _has_all_built_in(path)
    ]
    if kernels:
        return max(kernels, key=lambda kernel: (kernel.modules is not None, *_rank(kernel)))
    if candidates:
        raise UserError(
            f"the kernel {_some(candidates.values())} has no modules in the image, which has those of "
            f"{_some(modules)}",
            "install the kernel's modules under /lib/modules in the image, or the kernel that they belong to",
        )
    raise UserError(
        f"no kernel found in the image: no {', '.join(_NAMES)} in {', '.join(_PLACES[:-1])} or "
        f"{_PLACES[-1]}, nor /lib/modules/*/vmlinuz",
        f"install one in it, as in: {_install(root)}; or take another image's: --kernel IMAGE",
    )


def built_in(root: Path, kernel: Kernel) -> frozenset[str]:
    """The options that are `=y`, without CONFIG_: by /boot/config-RELEASE, or as the kernel itself tells."""
    known = builtin_options(root, kernel.release)
    return known or kernel_file.options_of(kernel.path.read_bytes()) or frozenset()


def mounts_its_root(kernel: Kernel, built_in: frozenset[str]) -> bool:
    """Whether the kernel takes no initrd, and so has to mount its root by itself, as Gentoo's own may.

    Raises UserError where it can't do that either.
    """
    if len(built_in) < _WHOLE or "BLK_DEV_INITRD" in built_in:
        return False
    if lacks := [option for option in _BY_ITSELF if option not in built_in]:
        raise UserError(
            f"the kernel {kernel.release} takes no initrd, and can't mount its root by itself: it lacks "
            + ", ".join(f"CONFIG_{option}" for option in lacks),
            "configure it with CONFIG_BLK_DEV_INITRD=y, or with these and its network card's driver built in",
        )
    return True


def version_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Sorts releases by their numbers: 6.1.0-9 before 6.1.0-10."""
    return tuple(
        (1, int(part)) if part.isdigit() else (0, part) for part in re.findall(r"\d+|[^\d.+-]+", text)
    )


def _candidates(root: Path, modules: Iterable[str]) -> dict[Path, str]:
    """Every kernel in the image, by path, with its release. The same file found twice counts once."""
    found: dict[Path, str] = {}
    for name in _likely(root):
        path = resolve(root, name)
        if path is None or path in found or not path.is_file() or path.stat().st_size > kernel_file.LARGEST:
            continue
        content = path.read_bytes()
        release = kernel_file.release_of(content)
        if release is None and kernel_file.is_kernel(content):
            release = _release_in_name(name) or _release_by_modules(root, name, sorted(modules))
        if release:
            found[path] = release
    return found


def _likely(root: Path) -> Iterator[str]:
    for place in _PLACES:
        for pattern in _NAMES:
            for name in edit.matching(root, place, pattern):
                if not _NO_KERNELS.search(name.rpartition("/")[2]):
                    yield name
    for place in _BESIDE_MODULES:
        for modules in edit.matching(root, place, "*"):
            yield f"{modules}/vmlinuz"


def _release_by_modules(root: Path, name: str, modules: list[str]) -> str | None:
    """A kernel that doesn't tell is the one of a Pi's or Arch's modules by its name, or of the only ones."""
    file = name.rpartition("/")[2]
    if ending := _OF_A_PI.get(file):
        return next((release for release in modules if re.search(rf"[-+]{ending}\+?$", release)), None)
    for release in modules:
        # Arch: the name of the kernel's package, by which its files in /boot are called.
        package = (edit.read(root, f"/usr/lib/modules/{release}/pkgbase") or "").strip()
        if package and file == f"vmlinuz-{package}":
            return release
    return modules[0] if len(modules) == 1 else None


def _has_all_built_in(path: Path) -> bool:
    """Whether it says of itself that it reaches its root without modules (Gentoo's own kernels often do)."""
    options = kernel_file.options_of(path.read_bytes())
    return options is not None and {"NFS_FS", "OVERLAY_FS"} <= options


def _module_directories(root: Path) -> dict[str, Path]:
    found = {}
    for place in ("/usr/lib/modules", "/lib/modules"):
        for name in edit.matching(root, place, "*"):
            path = resolve(root, name)
            if path is not None and ((path / "kernel").is_dir() or (path / "modules.builtin").is_file()):
                found[name.rpartition("/")[2]] = path
    return found


def _kernel(root: Path, path: Path, release: str, modules: Path | None) -> Kernel:
    name = re.sub(r"^(vmlinuz|kernel|Image)-", "", path.name)
    pi = re.sub(r"^kernel(.*)\.img$", r"\1", path.name)
    words = {"release": release, "name": name, "pi": pi}
    initrds = (_first(root, directory, pattern.format(**words)) for directory, pattern in _INITRDS)
    trees = (resolve(root, place.format(**words)) for place in _DEVICE_TREES)
    return Kernel(
        path,
        release,
        modules,
        initrd=next((initrd for initrd in initrds if initrd is not None), None),
        device_trees=next((t for t in trees if t is not None and t.is_dir() and any(t.rglob("*.dtb"))), None),
    )


def _first(root: Path, directory: str, pattern: str) -> Path | None:
    """The first file of that name; `*` is the only character that stands for others."""
    names = edit.matching(root, directory, pattern) if "*" in pattern else [f"{directory}/{pattern}"]
    paths = (resolve(root, name) for name in names)
    return next((path for path in paths if path is not None and path.is_file()), None)


def _rank(kernel: Kernel) -> tuple[object, ...]:
    """The newest is greatest; of one version the plainest: amd64, not cloud-amd64; rpi-v8, not rpi-2712."""
    release, name = kernel.release, kernel.path.name
    numbers = re.match(r"[\d.]+(?:-\d+)?", release)
    version = version_key(numbers[0] if numbers else release)
    special = any(word in release for word in ("cloud", "rt", "debug", "kdump", "2712", "rescue"))
    plain = not name.endswith((".old", "-fallback"))
    return version, not special, -len(release), name == "kernel8.img", plain, version_key(release)


def _install(root: Path) -> str:
    """What installs a kernel in that distribution."""
    text = edit.read(root, "/etc/os-release") or edit.read(root, "/usr/lib/os-release") or ""
    said = dict(re.findall(r"(?m)^(ID|ID_LIKE)=[\"']?([\w. -]*)", text))
    like = f"{said.get('ID', '')} {said.get('ID_LIKE', '')}".split()
    command = next(
        (_INSTALL[word.partition("-")[0]] for word in like if word.partition("-")[0] in _INSTALL), ""
    )
    return f"chroot ROOT {(command or _INSTALL['debian']).format(debian='amd64')}"


def _release_in_name(name: str) -> str | None:
    match = re.search(r"-([0-9][^/]*)$", name)
    return match[1] if match and _RELEASE.fullmatch(match[1]) else None


def _some(names: Iterable[str]) -> str:
    texts = sorted(set(names))
    return ", ".join(texts[:5]) + (" …" if len(texts) > 5 else "")
