"""Configurations in SYSLINUX's language, as U-Boot (boot/pxe_utils.c) and PXELINUX read them. Pure."""

from dataclasses import dataclass, field

_MOST_LABELS = 64
_KERNEL = ("kernel", "linux", "fit")
_TREE = {"fdt": "fdt", "devicetree": "fdt", "fdtdir": "fdtdir", "devicetreedir": "fdtdir"}
_OVERLAYS = ("fdtoverlays", "devicetree-overlay")


@dataclass(slots=True)
class Label:
    """One entry. `initrd`: names as they stand, several with commas between them (PXELINUX)."""

    name: str
    kernel: str = ""
    append: str = ""
    initrd: str = ""
    fdt: str = ""
    fdtdir: str = ""
    overlays: list[str] = field(default_factory=list)
    ipappend: int = 0
    local: bool = False


@dataclass(slots=True)
class Menu:
    """A configuration. `includes` are to be fetched and read into the same menu."""

    labels: list[Label] = field(default_factory=list)
    default: str = ""
    includes: list[str] = field(default_factory=list)
    append: str = ""

    def chosen(self) -> Label | None:
        """What boots when nobody is at the keyboard: the default, else the first."""
        by_name = {label.name: label for label in self.labels}
        return by_name.get(self.default) or (self.labels[0] if self.labels else None)


def parse(text: str, menu: Menu | None = None) -> Menu:
    """Read a configuration, into `menu` where it was included."""
    menu = menu or Menu()
    label: Label | None = None
    for raw in text.splitlines():
        word, _, rest = raw.strip().partition(" ")
        word, rest = word.lower(), rest.strip()
        if not word or word.startswith("#"):
            continue
        if word == "menu":
            word, _, rest = rest.partition(" ")
            word, rest = f"menu {word.lower()}", rest.strip()
        if word == "label" and len(menu.labels) < _MOST_LABELS:
            label = Label(rest)
            menu.labels.append(label)
        elif word in ("default", "ontimeout"):
            menu.default = rest
        elif word == "menu default" and label is not None:
            menu.default = label.name
        elif word in ("include", "menu include"):
            menu.includes.append(rest.split(" ", 1)[0])
        elif label is not None:
            _set(label, word, rest)
        elif word == "append":
            menu.append = rest
    return menu


def words_of(label: Label, menu: Menu) -> str:
    """The command line: the label's own APPEND, `-` for none, else the one above all labels."""
    append = label.append or menu.append
    return "" if append == "-" else append


def _set(label: Label, word: str, rest: str) -> None:
    if word in _KERNEL:
        label.kernel = rest
    elif word == "append":
        label.append = rest
    elif word == "initrd":
        label.initrd = rest
    elif word in _TREE:
        setattr(label, _TREE[word], rest)
    elif word in _OVERLAYS:
        label.overlays = rest.split()
    elif word in ("ipappend", "sysappend"):
        label.ipappend = int(rest) if rest.isdigit() else 0
    elif word == "localboot":
        label.local = True
