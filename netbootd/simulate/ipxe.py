"""iPXE: DHCP with its own options, a script or program over HTTP or TFTP, and what that says. Pure.

net/udp/dhcp.c, net/udp/tftp.c, usr/autoboot.c, core/exec.c.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from netbootd.dhcp.options import MessageType, Option, sub_options
from netbootd.simulate import dhcp, discovers, edk2, http, ipxe_script, kernel, tftp
from netbootd.simulate.contents import EFI_MACHINES, Kind, efi_machine, kind_of
from netbootd.simulate.dhcp import Reply
from netbootd.simulate.play import ANY, Booted, Loaded, Machine, Play, WontBoot
from netbootd.simulate.tftp import Habits, Missing

TFTP = Habits(options=(("blksize", "1432"), ("tsize", "0")), patience=1.0, tries=8)
HTTP = http.Habits(("Connection: keep-alive", "User-Agent: iPXE/1.0.0+", "Host: {host}"), patience=30.0)
WAITS = (1.0, 2.0, 4.0, 8.0, 10.0)
NO_PXEDHCP = 176
MOST_COMMANDS = 500
MOST_SCRIPTS = 16


def firmware(machine: Machine, *, arch: int = 0) -> Play[Booted]:
    """iPXE in a card's ROM, or (93 = 7, 11) as an EFI program."""
    machine.efi = arch != 0
    machine.architecture = {0: "x86_64", 7: "x86_64", 6: "i386", 11: "aarch64", 27: "riscv64"}[arch]
    return (yield from _boot(machine, arch))


def loaded(machine: Machine, found: Loaded) -> Play[Booted]:
    """iPXE that was fetched as `found`."""
    arch = {"x86_64": 7, "i386": 6, "aarch64": 11, "riscv64": 27}[machine.architecture] if machine.efi else 0
    return (yield from _boot(machine, arch))


def _boot(machine: Machine, arch: int) -> Play[Booted]:
    machine.who = "iPXE"
    xid = machine.next_xid()
    undi = "003010" if arch else "002001"
    tries = [
        (discovers.ipxe(machine.mac, xid, arch, undi, machine.uuid, secs=4 + 6 * number), wait)
        for number, wait in enumerate(WAITS)
    ]
    offers = yield from dhcp.ask(machine, tries, (MessageType.OFFER,), _fits, _enough)
    offer = next((reply for reply in offers if int(reply.message.yiaddr)), None)
    if offer is None:
        raise dhcp.nobody(machine)
    options = dhcp.as_request(offer.octets, offer.server_id, offer.message.yiaddr)
    request = discovers.ipxe(machine.mac, xid, arch, undi, machine.uuid, options, secs=18)
    acks = yield from dhcp.ask(
        machine, [(request, wait) for wait in WAITS], (MessageType.ACK, MessageType.NAK), edk2.acknowledged
    )
    if not acks:
        raise dhcp.nobody(machine, "DHCPREQUEST")
    boots = acks[0]
    proxy = next((reply for reply in offers if _is_proxy(reply)), None)
    if proxy is not None and not (_is_proxy(offer) and boots.bootfile):
        boots = proxy
    server = boots.message.siaddr if int(boots.message.siaddr) else boots.server_id
    yield from dhcp.take(machine, acks[0], server, boots.bootfile)
    if not boots.bootfile and proxy is not None:
        boots = yield from _ask_proxy(machine, xid, arch, undi, proxy)
        server = boots.message.siaddr if int(boots.message.siaddr) else boots.server_id
        yield from dhcp.take(machine, acks[0], server, boots.bootfile)
    if not boots.bootfile:
        raise dhcp.nothing_to_boot(machine, "the answer has an address and nothing to boot")
    run = _Run(machine, server)
    found = yield from run.fetch(boots.bootfile, "what DHCP names")
    if isinstance(found, Missing):
        raise WontBoot(f"{boots.bootfile}: {found.why}", "`netbootctl explain` shows what is served")
    return (yield from run.start(found, ""))


def _fits(reply: Reply) -> str | None:
    if int(reply.message.yiaddr) or _is_proxy(reply):
        return None
    return "it has neither an address nor 60 PXEClient"


def _is_proxy(reply: Reply) -> bool:
    return reply.text(Option.VENDOR_CLASS).startswith("PXEClient")


def _enough(offers: list[Reply]) -> bool:
    """An address; and a word that no proxy need be waited for, a boot file, or the proxy's offer itself."""
    addressed = [offer for offer in offers if int(offer.message.yiaddr)]
    if not addressed:
        return False
    own = sub_options(addressed[0].message.options.get(Option.IPXE, b""))
    # Without the word it waits two seconds more, which changes nothing but the time.
    return NO_PXEDHCP in own or bool(addressed[0].bootfile) or any(_is_proxy(offer) for offer in offers)


def _ask_proxy(machine: Machine, xid: int, arch: int, undi: str, proxy: Reply) -> Play[Reply]:
    address = machine.lease.address.ip if machine.lease else ANY
    request = discovers.ipxe(machine.mac, xid, arch, undi, machine.uuid, [(53, discovers.REQUEST)])
    request = request[:12] + address.packed + request[16:]
    answers = yield from dhcp.ask(
        machine,
        [(request, 1.0), (request, 1.0)],
        (MessageType.ACK, MessageType.OFFER),
        edk2.has_file,
        to=(proxy.server_id, dhcp.PXE),
        source=address,
        what=f"ProxyDHCPREQUEST to {proxy.server_id} port 4011",
    )
    if not answers:
        raise WontBoot(f"no boot file from {proxy.server_id}, port 4011", "answer there")
    return answers[0]


@dataclass(slots=True)
class _Image:
    """What `kernel` or `initrd` fetched."""

    file: Loaded
    words: str = ""


class _Run:
    """Runs scripts until something boots."""

    def __init__(self, machine: Machine, server: IPv4Address) -> None:
        self._machine = machine
        self._base = f"tftp://{server}/"
        self._kernel: _Image | None = None
        self._initrds: list[Loaded] = []
        self._scripts = 0
        self._left = MOST_COMMANDS
        self._failed = ""
        address = str(machine.lease.address.ip if machine.lease else ANY)
        self._settings = {
            "net0/mac": str(machine.mac),
            "mac": str(machine.mac),
            "net0/ip": address,
            "ip": address,
            "next-server": str(server),
            "buildarch": {"aarch64": "arm64"}.get(machine.architecture, machine.architecture),
            "platform": "efi" if machine.efi else "pcbios",
            "filename": machine.lease.bootfile if machine.lease else "",
        }

    def fetch(self, name: str, does: str) -> Play[Loaded | Missing]:
        """A URL, or a name beside the script that has it."""
        url = name if "://" in name else http.join(self._base, name)
        if url.startswith("http://"):
            return (yield from http.read(self._machine, HTTP, url, does=does))
        if url.startswith("tftp://"):
            host, _, path = url.removeprefix("tftp://").partition("/")
            found = yield from tftp.read(self._machine, TFTP, _address(host), path, does=does)
            return found
        return Missing(name, f"a URL that this simulation doesn't fetch: {url[:120]}")

    def start(self, found: Loaded, words: str) -> Play[Booted]:
        """What `boot` does with an image: a script, a kernel, a program, another loader."""
        kind = kind_of(found.content, found.name)
        if kind is Kind.IPXE_SCRIPT:
            self._scripts += 1
            if self._scripts > MOST_SCRIPTS:
                raise WontBoot("scripts chain each other without end", "see the script")
            if found.url:
                self._base = found.url
            return (yield from self._script(found.content.decode("utf-8", "replace")))
        if kind in kernel.RUNS[self._machine.architecture]:
            initrd = self._initrds[0] if self._initrds else None
            return kernel.start(self._machine, found, initrd, words)
        if self._machine.efi and kind not in (Kind.LINUX_X86, Kind.LINUX_ARM64, Kind.LINUX_RISCV):
            return (yield from edk2.run(self._machine, found))
        if not self._machine.efi and efi_machine(found.content) not in (None, EFI_MACHINES["x86_64"]):
            raise WontBoot(f"{found.name} is {kind}, not for this machine", "give it what it can run")
        if kind in (Kind.IPXE, Kind.PXELINUX) and self._machine.begin is not None:
            return (yield from self._machine.begin(self._machine, found))
        raise WontBoot(f"{found.name} is {kind}: iPXE says 'Exec format error'", "give it what it can run")

    def _script(self, text: str) -> Play[Booted]:  # noqa: C901 (iPXE's line, chain and goto in one loop)
        lines, labels = ipxe_script.parse(text)
        at = 0
        while at < len(lines):
            good = True
            for command in lines[at]:
                if (command.joined == "||" and good) or (command.joined == "&&" and not good):
                    continue
                words = [ipxe_script.expand(word, self._settings) for word in command.words]
                self._left -= 1
                if self._left < 0:
                    raise WontBoot(
                        f"the script runs in circles: {self._failed or 'no end'}", "see the script"
                    )
                if words[:1] == ["goto"]:
                    if len(words) < 2 or words[1] not in labels:
                        good = False
                        continue
                    if self._failed:
                        # Scripts that failed begin anew; a person would see them do so for ever.
                        raise WontBoot(self._failed, "serve what the script names")
                    at = labels[words[1]] - 1
                    good = True
                    break
                outcome = yield from self._command(words)
                if isinstance(outcome, Booted):
                    return outcome
                good = outcome
            if not good:
                raise WontBoot(self._failed or "a command of the script failed", "see the script")
            at += 1
        if self._kernel is not None:
            return (yield from self.start(self._kernel.file, self._kernel.words))
        raise WontBoot("the script ends without booting anything", "see the template boot/ipxe")

    def _command(self, words: list[str]) -> Play[Booted | bool]:  # noqa: C901, PLR0911 (a table of commands)
        name, rest = (words[0], words[1:]) if words else ("", [])
        arguments = [word for word in rest if not word.startswith("--")]
        match name:
            case "kernel" | "imgselect" | "imgfetch" | "imgexec" | "initrd" | "chain" | "module":
                if name == "initrd" and "--name" in rest:
                    arguments = [
                        w for i, w in enumerate(rest) if not w.startswith("-") and rest[i - 1] != "--name"
                    ]
                if not arguments:
                    return False
                return (yield from self._image(name, arguments))
            case "boot":
                if self._kernel is None:
                    return False
                return (yield from self.start(self._kernel.file, self._kernel.words))
            case "set":
                if arguments:
                    self._settings[arguments[0]] = " ".join(arguments[1:])
            case "isset":
                return bool(arguments and arguments[0])
            case "iseq":
                return len(arguments) == 2 and arguments[0] == arguments[1]
            case "exit":
                raise WontBoot(
                    "the script says exit: the machine goes on to its next way to boot", "see the script"
                )
        return True

    def _image(self, name: str, arguments: list[str]) -> Play[Booted | bool]:
        found = yield from self.fetch(arguments[0], "the kernel" if name == "kernel" else "loads it")
        if isinstance(found, Missing):
            self._failed = f"{arguments[0]}: {found.why}"
            return False
        if name == "chain":
            return (yield from self.start(found, " ".join(arguments[1:])))
        if name in ("initrd", "module"):
            self._initrds.append(found)
        else:
            self._kernel = _Image(found, " ".join(arguments[1:]))
        return True


def _address(host: str) -> IPv4Address:
    try:
        return IPv4Address(host)
    except ValueError:
        raise WontBoot(f"{host[:100]} isn't an address that can be asked", "write the address") from None
