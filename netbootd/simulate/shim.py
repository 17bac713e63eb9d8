"""shim: looks for revocations and certificates beside itself, then loads GRUB from there. Pure.

netboot.c, shim.c of 16.1; in the order captured. Server and directory come from the cached answer's header
alone (siaddr, `file`); 66 and 67 are ignored.
"""

from netbootd.dhcp.options import printable
from netbootd.simulate import edk2, http, tftp
from netbootd.simulate.play import Booted, Loaded, Machine, Play, WontBoot
from netbootd.simulate.tftp import Habits, Missing, Oack

TFTP = Habits(options=(("blksize", "512"), ("windowsize", "4")), patience=4.0, tries=6, oack=Oack.STRICT)
_SUFFIX = {"x86_64": "x64", "aarch64": "aa64", "i386": "ia32", "riscv64": "riscv64"}
_SECOND = {"ipxe-shim": "ipxe", "snponly-shim": "snponly"}
"""The iPXE project's signed shims load another second stage."""


def loaded(machine: Machine, found: Loaded) -> Play[Booted]:  # noqa: C901 (in its order)
    """Go on as shim, which was fetched as `found`."""
    machine.who = "shim"
    lease = machine.lease
    if lease is None:
        raise WontBoot("shim was started without an address", "")
    if found.url:
        base = found.url.rpartition("/")[0] + "/"
    else:
        file = printable(lease.answer.file)
        if not file:
            raise WontBoot(
                "shim takes its directory from the header's `file`, which is empty (67 is ignored)",
                "put the boot file into the header too",
            )
        if not int(lease.answer.siaddr):
            raise WontBoot("shim takes its server from siaddr, which is 0.0.0.0", "set next-server")
        base = file.rpartition("/")[0] + "/" if "/" in file else ""

    def fetch(name: str, does: str = "", *, optional: bool = True) -> Play[Loaded | Missing]:
        if found.url:
            return http.read(machine, edk2.HTTP, base + name, does=does)
        return tftp.read(machine, TFTP, lease.answer.siaddr, base + name, does=does, optional=optional)

    for name in ("revocations_sku.efi", "revocations_sbat.efi"):
        yield from fetch(name)
    for number in range(10):
        if isinstance((yield from fetch(f"shim_certificate_{number}.efi")), Missing):
            break
    start = found.name.rpartition("/")[2].lower()
    stage = next((loads for name, loads in _SECOND.items() if start.startswith(name)), "")
    second = f"{stage}.efi" if stage else f"grub{_SUFFIX.get(machine.architecture, 'x64')}.efi"
    program = yield from fetch(second, "verifies and starts it", optional=False)
    if isinstance(program, Missing):
        raise WontBoot(f"{base}{second}: {program.why}", "serve it beside shim")
    machine.caution("Secure Boot: signatures aren't verified here; only the board can say")
    return (yield from edk2.run(machine, program))
