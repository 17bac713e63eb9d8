"""Where a boot stopped, in plain words, and what its owner should look at. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from netbootd.boot.progress import PAUSE, Progress
from netbootd.stage import Event, Level, Stage


class State(StrEnum):
    """How a machine is doing, as `status` shows it."""

    SILENT = "silent"
    BOOTING = "booting"
    STUCK = "stuck"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Advice:
    """`stopped`: what it did last and what it never did; `checks`: what to look at, likeliest first."""

    stopped: str
    checks: tuple[str, ...]


NEVER_HEARD = Advice(
    "never asked for an address, as far as netbootd heard",
    (
        "is it powered on, is its cable in, does the switch show a link?",
        "does its firmware boot from the network, and from this card? (boot order; PXE enabled)",
        "is it the right MAC? `netbootctl status` lists the machines heard that aren't registered",
        "is it on the wire of the head node's interface? `netbootctl doctor` checks the head node's side",
    ),
)

ADVICE: dict[Stage, Advice] = {
    Stage.DISCOVER: Advice(
        "asked for an address and was offered none",
        (
            "the last line above says why it got no answer, where netbootd decided so",
            "otherwise: does netbootd run, and on this interface? `netbootctl doctor`",
        ),
    ),
    Stage.OFFER: Advice(
        "was offered its address and never took it",
        (
            "where the offer says `nothing to boot`: what follows it there mends it",
            "another DHCP server may have been faster: `netbootctl doctor` looks for one",
            "the offer may not have arrived: cable, switch port still in spanning tree (enable portfast)",
        ),
    ),
    Stage.REQUEST: Advice(
        "asked for an address by name and got no yes",
        (
            "it may have asked another DHCP server: `netbootctl doctor` looks for one",
            "it may keep an old address: it asks anew when it is switched off and on",
        ),
    ),
    Stage.ACK: Advice(
        "has its address and never fetched its loader",
        (
            "TFTP blocked? a firewall on the head node must let UDP 69 in: `netbootctl doctor`",
            "a system on its own disk asks for an address and no loader: check the boot order",
            "a bad cable or a wrong duplex setting loses the large packets first",
        ),
    ),
    Stage.LOADER: Advice(
        "fetched its loader and never asked for its configuration",
        (
            "UEFI Secure Boot refuses a loader that isn't signed: switch it off in the firmware's setup, or"
            " boot an image with shim-signed and grub-efi-amd64-signed in it",
            "HTTP blocked? a firewall on the head node must let TCP port 80 in: `netbootctl doctor`",
            "does the loader know the network card? its console says so (no interface, or link down)",
        ),
    ),
    Stage.CONFIG: Advice(
        "has its configuration and never fetched a kernel",
        (
            "is the image whole? `netbootctl image list`, and `netbootctl explain NAME` shows the script",
            "the loader's console says what it couldn't fetch",
        ),
    ),
    Stage.KERNEL: Advice(
        "fetched its kernel and not the initrd",
        (
            "is there enough memory for kernel and initrd?",
            "the loader's console says what it couldn't fetch",
        ),
    ),
    Stage.INITRD: Advice(
        "has kernel and initrd and never reported its root file system",
        (
            "its console tells where the kernel or node-init stopped",
            "does the NFS server run and export the image? `netbootctl doctor`, `netbootctl apply`",
            "does the image have a driver for the network card? is the kernel for this processor?",
        ),
    ),
    Stage.ROOT: Advice(
        "has its root file system; its system never said that it is up",
        (
            "its services may still be starting, or one hangs: look at its console, or try ssh",
            "an image whose init is neither systemd nor reads inittab doesn't report `ready`; "
            "then this is as far as it goes",
        ),
    ),
}

BESIDE: dict[Stage, Advice] = {
    Stage.DISCOVER: Advice(
        "asked for an address and was offered nothing to boot beside it",
        (
            "the last line above says why, where netbootd decided so",
            "otherwise: does netbootd run, and on this interface? `netbootctl doctor`",
        ),
    ),
    Stage.OFFER: Advice(
        "was offered its boot file, and never asked the other DHCP server for an address",
        (
            'does the other DHCP server give it one? netbootd never does where `dhcp` is "proxy"',
            "the offer may not have arrived: cable, switch port still in spanning tree (enable portfast)",
        ),
    ),
    Stage.REQUEST: Advice(
        "asked the other DHCP server for its address, and never asked for its boot file",
        (
            "a firewall on the head node must let UDP 4011 and UDP 69 in: `netbootctl doctor`",
            "the other DHCP server must name no boot file of its own (option 67, `file`), and no next server",
            "was it given its own address? what the lines above say of it has to be reserved there",
        ),
    ),
}
"""In place of ADVICE's, where another DHCP server gives the addresses (`dhcp = "proxy"`)."""


def state(progress: Progress | None, now: float) -> State:
    """How a machine is doing at `now` (Unix seconds)."""
    if progress is None or progress.stage is None:
        return State.SILENT
    if progress.stage is Stage.READY:
        return State.READY
    return State.BOOTING if now - progress.last < PAUSE else State.STUCK


def furthest(events: Sequence[Event]) -> Stage | None:
    """The furthest stage of one boot."""
    return max((event.stage for event in events if event.stage), key=lambda stage: stage.order, default=None)


def advice(events: Sequence[Event], *, proxied: bool = False) -> Advice | None:
    """What a boot's events say of where it stopped; None for one that came through.

    `proxied`: its address is another DHCP server's to give.
    """
    stage = furthest(events)
    if stage is Stage.READY:
        return None
    return stopped_at(stage, proxied=proxied) if stage else NEVER_HEARD


def stopped_at(stage: Stage, *, proxied: bool = False) -> Advice:
    """What is to be said of a boot that came no further than `stage`, which isn't the last."""
    return BESIDE.get(stage, ADVICE[stage]) if proxied else ADVICE[stage]


def complaint(events: Sequence[Event]) -> str:
    """The last trouble that a boot's events tell of, empty where there is none."""
    told = (e.text for e in reversed(events) if e.level is not Level.INFO or e.text.startswith("no answer: "))
    return next(told, "")
