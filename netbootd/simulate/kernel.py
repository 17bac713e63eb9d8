"""The last stretch, the same for every loader: is this a kernel that the machine can run, and with what root?

Pure.
"""

from netbootd.simulate.contents import Kind, efi_machine, is_initrd, kind_of, root_of
from netbootd.simulate.play import Booted, Loaded, Machine, WontBoot

RUNS: dict[str, tuple[Kind, ...]] = {
    "x86_64": (Kind.LINUX_X86,),
    "i386": (Kind.LINUX_X86,),
    "aarch64": (Kind.LINUX_ARM64,),
    "arm": (Kind.LINUX_ARM,),
    "riscv64": (Kind.LINUX_RISCV,),
}


def start(
    machine: Machine,
    kernel: Loaded,
    initrd: Loaded | None,
    command_line: str,
    device_tree: Loaded | None = None,
    *,
    also: tuple[Kind, ...] = (),
) -> Booted:
    """What comes of starting `kernel`. `also`: kinds that this loader unpacks itself. Raises WontBoot."""
    kind = kind_of(kernel.content, kernel.name)
    wanted = (*RUNS.get(machine.architecture, ()), *also)
    if kind not in wanted:
        what = kind if kind is not Kind.EFI else f"an EFI program for {efi_machine(kernel.content) or 0:#x}"
        raise WontBoot(
            f"{kernel.name} is {what}, and {machine.who} starts {' or '.join(wanted)}",
            f"give the node an image for {machine.architecture}",
        )
    if initrd is not None and not is_initrd(initrd.content):
        raise WontBoot(
            f"{initrd.name} isn't an initrd that Linux unpacks", "look at the image's boot directory"
        )
    if device_tree is not None and kind_of(device_tree.content) is not Kind.DEVICE_TREE:
        raise WontBoot(f"{device_tree.name} isn't a device tree", "look at the image's boot directory")
    root = root_of(command_line)
    if not root and initrd is None:
        raise WontBoot(
            f"the kernel would start without a root: its command line is {command_line[:200]!r}",
            "the command line names it: root=, nfsroot= or netbootd's own",
        )
    return Booted(
        kernel=kernel.name,
        initrd=initrd.name if initrd else None,
        root=root or "whatever the initrd finds",
        command_line=command_line,
        device_tree=device_tree.name if device_tree else None,
    )
