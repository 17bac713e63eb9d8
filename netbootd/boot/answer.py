"""The values that the boot decision is made of: what may be announced, and what a path may yield."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from netbootd.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class NetBoot:
    """Boot from the network: the server and the file are put wherever this firmware looks for them.

    `options` are sent besides, by number, encoded; they win over the network's own of the same number.
    """

    firmware: str
    server: IPv4Address
    bootfile: str
    reason: str
    options: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBoot:
    """Give the client its address and nothing to boot: an operating system asks, or a machine of the pool."""

    reason: str
    firmware: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """It wants to boot and should, but what it needs isn't there yet (no image, no loader): address only."""

    reason: str
    firmware: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """No answer at all; `reason` is for the log and `why`."""

    reason: str


Decision = NetBoot | LocalBoot | Wait | Ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFound:
    """Nothing has that path. `missing`: something should (a loader, an image), and an admin can mend it.

    `probe`: firmware asks for it in passing and boots without it; that it isn't there is no news.
    """

    reason: str
    missing: bool = False
    probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """`name` below `root`, to be opened without ever leaving it.

    `absent` is what the path yields where there is no such file; by default a file of a stage is missing.
    """

    root: Path
    name: str
    stage: Stage | None
    absent: NotFound | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A template to be rendered for this request."""

    template: str
    variables: Mapping[str, object]
    stage: Stage | None
    packing: Callable[[str], bytes] = str.encode
    """What the text becomes on the wire. Raises UserError for a text that whoever asked couldn't read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The path exists, but not for this client.

    `told`: what it hears, where it is to go on as if there were no such file, or `reason` says too much.
    """

    reason: str
    told: str = ""


Located = File | Rendered | NotFound | Denied
