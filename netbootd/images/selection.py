"""Which kernel modules of an image its small initrd carries; whether its kernel can serve a diskless node."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from netbootd.errors import UserError
from netbootd.images import cards
from netbootd.images.firmware import lacking
from netbootd.images.kernel_modules import ModuleTree

_PCS = (3, 62)
"""e_machine of i386 and x86-64: their cards are on PCI or USB."""
_REQUIRED = (("nfs", "NFS_FS"), ("overlay", "OVERLAY_FS"))
_FOR_MEMORY = (("squashfs", "SQUASHFS"), ("loop", "BLK_DEV_LOOP"))
"""What root mode `ram` needs besides; an image without them boots in the others."""
_COMPRESSIONS = {"SQUASHFS_ZSTD": "zstd", "SQUASHFS_XZ": "xz"}
"""Of squashfs, in the order of preference; gzip is what all kernels have that have any."""


@dataclass(frozen=True, slots=True)
class Selection:
    """`orders`: every module that goes in -> what is loaded for it, in order, itself included."""

    orders: dict[str, list[str]]
    later: frozenset[str]
    """Drivers that are loaded only when no card has come up without: USB hosts, clocks, regulators."""
    remarks: list[str]
    squashfs: str
    """The best compression that its kernel reads in a squashfs: zstd, xz, gzip; empty where it has none."""

    @property
    def names(self) -> list[str]:
        """The modules, sorted."""
        return sorted(self.orders)


def select(
    root: Path,
    release: str,
    tree: ModuleTree,
    extra: Iterable[str],
    *,
    fast_cards: bool,
    options: frozenset[str],
) -> Selection:
    """The drivers of cards.py that the image has, `extra` ones, NFS and overlayfs, with all that they need.

    `options`: what is known to be built into the kernel, empty where nothing is.

    Raises UserError for an `extra` module that isn't there, and when NFS or overlayfs is neither a module nor
    built in.
    """
    extra = list(extra)
    unknown = [name for name in extra if name not in tree and name.replace("-", "_") not in tree.builtin]
    if unknown:
        raise UserError(f"the kernel {release} of the image has no module {', '.join(unknown)}")
    remarks = _check_file_systems(release, tree, options)
    support = tree.under(cards.SUPPORT_DIRECTORIES) if tree.machine not in _PCS else []
    drivers = [name for name in tree.present([*_wanted(tree, fast_cards), *support]) if name not in extra]
    hungry = {name: tree.get(name).firmware for name in cards.NOTHING_WITHOUT_FIRMWARE if name in drivers}
    useless = lacking(root, release, hungry)
    if useless:
        remarks.append(
            f"no drivers for {', '.join(useless)}: these cards need firmware, which the image lacks"
        )
    orders: dict[str, list[str]] = {}
    for name in drivers:
        if name in useless:
            continue
        try:
            orders[name] = tree.order(name)
        except UserError as error:
            remarks.append(f"no driver {name}: {error.message}")
    for name in tree.present((*cards.FILE_SYSTEMS, *extra)):
        orders[name] = tree.order(name)
    for name in {needed for order in orders.values() for needed in order}:
        orders.setdefault(name, tree.order(name))
    squashfs, more = _squashfs(release, tree, options)
    return Selection(orders, frozenset((*cards.USB_HOSTS, *support)), [*remarks, *more], squashfs)


def _wanted(tree: ModuleTree, fast_cards: bool) -> list[str]:
    return [
        *cards.BUSES,
        *cards.PCI_CARDS,
        *(cards.FAST_CARDS if fast_cards else ()),
        *(cards.BOARD_CARDS if tree.machine not in _PCS else ()),
        *cards.USB_HOSTS,
        *cards.USB_CARDS,
        *cards.PHYS,
        *cards.OTHERS,
    ]


def _check_file_systems(release: str, tree: ModuleTree, options: frozenset[str]) -> list[str]:
    lacks = _lacking(_REQUIRED, tree, options)
    if not lacks:
        return []
    if not tree.builtin and not options:
        return [f"nothing tells what is built into the kernel {release}: it must have NFS and overlayfs"]
    wanted = " and ".join(f"CONFIG_{option}" for _, option in lacks)
    raise UserError(
        f"the kernel {release} of the image has no {' and no '.join(name for name, _ in lacks)}",
        f"install a kernel with {wanted}, or the package of its modules",
    )


def _squashfs(release: str, tree: ModuleTree, options: frozenset[str]) -> tuple[str, list[str]]:
    if lacks := _lacking(_FOR_MEMORY, tree, options):
        what = " and no ".join(name for name, _ in lacks)
        return "", [f"no root mode ram: the kernel {release} has no {what}"]
    return next((name for option, name in _COMPRESSIONS.items() if option in options), "gzip"), []


def _lacking(
    wanted: Iterable[tuple[str, str]], tree: ModuleTree, options: frozenset[str]
) -> list[tuple[str, str]]:
    return [
        (name, option)
        for name, option in wanted
        if name not in tree and name not in tree.builtin and option not in options
    ]
