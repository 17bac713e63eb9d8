"""What netbootd keeps: its directory, images, nodes, what `apply` would still do; and the clock."""

import pwd
import shutil
import time
from collections.abc import Iterator
from datetime import datetime

from netbootd.ctl.apply import planned
from netbootd.ctl.checks.finding import Context, Finding, note, ok, warning, wrong
from netbootd.ctl.tables import size
from netbootd.dhcp.proxy import REGISTERED_ELSEWHERE
from netbootd.errors import ConfigError, NetbootdError, did_you_mean
from netbootd.events import timeline
from netbootd.images.store import ImageStore
from netbootd.network import DhcpMode

USER = "netbootd"
"""The daemon's own user, where it was installed as a service."""
LITTLE, TOO_LITTLE = 3_000_000_000, 300_000_000
"""Octets free: an image of Debian takes about one and a half billion while it is built."""


def daemon(context: Context) -> list[Finding]:
    """Whether netbootd runs on this state_dir."""
    if context.daemon is None and not context.root:
        return [note("whether netbootd runs can be seen by root only")]
    if context.daemon is None:
        return [wrong("netbootd doesn't run", "systemctl start netbootd")]
    return [ok(f"netbootd runs, process {context.daemon}")]


def directory(context: Context) -> list[Finding]:
    """state_dir and the registry's directory: there, whose, how much room."""
    path = context.config.state_dir
    registry = context.config.registry_path.parent
    if not path.is_dir():
        return [wrong(f"there is no {path}", "systemd-tmpfiles --create netbootd.conf, or make install")]
    found = []
    if registry.is_dir() and (user := _user()) is not None and registry.stat().st_uid != user.pw_uid:
        found.append(
            wrong(f"{registry} isn't the daemon's: it couldn't keep a lease", f"chown -R {USER}: {registry}")
        )
    if path.stat().st_mode & 0o022 or path.stat().st_uid != 0:
        found.append(
            warning(f"{path} can be changed by others than root", f"chown root: {path}; chmod 755 {path}")
        )
    free = shutil.disk_usage(path).free
    if free < LITTLE:
        level = wrong if free < TOO_LITTLE else warning
        found.append(
            level(f"{size(free)} are free in {path}", "netbootctl image list; image remove what is old")
        )
    return found or [ok(f"{path}: {size(free)} free")]


def images(context: Context) -> list[Finding]:
    """Each image has a current generation, with a kernel and an initrd."""
    store = context.head.images
    names = store.names()
    if not names:
        return [wrong("there is no image", "netbootctl image build debian")]
    found: list[Finding] = []
    for name in names:
        found += _of_image(store, name)
    return found or [ok(f"{', '.join(f'{name}@{store.current_number(name)}' for name in names)}")]


def nodes(context: Context) -> list[Finding]:
    """Each node has an image that exists, and an address on a network served."""
    with context.head.registry() as registry:
        registered = registry.nodes()
    if not registered:
        return [note("no node is registered yet", "netbootctl node add n01 --mac MAC")]
    found = []
    store = context.head.images
    bare = [node.name for node in registered if node.image is None]
    if bare:
        found.append(wrong(f"without an image: {_some(bare)}", "netbootctl node set NAME --image IMAGE"))
    for image in sorted({node.image for node in registered if node.image} - set(store.names())):
        users = _some([node.name for node in registered if node.image == image])
        found.append(
            wrong(
                f"there is no image {image}, which {users} should boot",
                did_you_mean(image, store.names(), f"netbootctl image build {image}"),
            )
        )
    stray = [n.name for n in registered if not any(n.address in net.subnet for net in context.networks)]
    if stray and context.networks:
        found.append(
            wrong(f"with an address on no network served: {_some(stray)}", "netbootctl node set NAME --ip IP")
        )
    for network in context.networks:
        # Nobody else is lent it; but `node add` refuses such an address, for a reason.
        if lent := [n.name for n in registered if network.pool and n.address in network.pool]:
            text = f"pool {network.pool} holds the address of {_some(lent)}"
            found.append(
                warning(text, "set `pool` to others in netbootd.toml, or netbootctl node set NAME --ip IP")
            )
    return found or [ok(f"{len(registered)} nodes registered, each with an image")]


def proxied(context: Context) -> list[Finding]:
    """Where another DHCP server gives the addresses: whether nodes were seen with their own."""
    networks = [network for network in context.networks if network.dhcp is DhcpMode.PROXY]
    if not networks:
        return []
    with context.head.registry() as registry:
        nodes = [n for n in registry.nodes() if any(n.address in network.subnet for network in networks)]
    elsewhere = [
        node.name
        for node in nodes
        if any(REGISTERED_ELSEWHERE in event.text for event in timeline(context.config.events_path, node.mac))
    ]
    if elsewhere:
        text = f"another address than their own was given by the other DHCP server to {_some(elsewhere)}"
        return [wrong(text, f"netbootctl why {elsewhere[0]}   prints the lines that reserve it there")]
    names = _some([node.name for node in nodes])
    return [note(f"the other DHCP server has to have the addresses reserved of {names}")] if nodes else []


def applied(context: Context) -> list[Finding]:
    """Whether exports, node files and the head node's own files are as the registry wants them."""
    if not context.root:
        return [note("what `apply` would do can be seen by root only")]
    try:
        with planned(context.head) as plan:
            changes, faults = plan.changes, plan.faults
    except ConfigError:
        return [note("can't be looked at before netbootd.toml is mended")]
    except NetbootdError as error:
        return [wrong(f"apply can't work: {error.message}", error.hint or "netbootctl apply")]
    found = [wrong(fault, "mend it, then netbootctl apply") for fault in faults]
    if changes:
        text = f"not up to date: {len(changes)} changes (exports, node files)"
        found.append(wrong(text, "netbootctl apply"))
    return found or [ok("exports and node files are up to date")]


def keys(context: Context) -> list[Finding]:
    """Whether somebody can log in to the nodes."""
    missing = [path for path in context.config.authorized_keys if not path.is_file()]
    found = [warning(f"authorized_keys: there is no {path}", "ssh-keygen -t ed25519") for path in missing]
    if not context.config.authorized_keys:
        found.append(
            note(
                "authorized_keys is empty: only root of this machine can log in to nodes",
                'authorized_keys = ["/root/.ssh/id_ed25519.pub"]',
            )
        )
    return found


def clock(context: Context) -> list[Finding]:
    """A clock that stands before what was made by it: certificates and package signatures would fail."""
    newest = max((_made(when) for when in _creations(context)), default=0.0)
    if newest > time.time() + 60:
        return [wrong("the clock stands before the newest image was made", "timedatectl set-ntp true")]
    return []


def _of_image(store: ImageStore, name: str) -> list[Finding]:
    try:
        current = store.current(name)
    except NetbootdError as error:
        return [wrong(f"image {name} is damaged: {error.message}", error.hint)]
    if current is None:
        return [wrong(f"image {name} has no current generation", f"netbootctl image use {name}@NUMBER")]
    missing = [file for file in ("vmlinuz", "initrd") if not (current.boot / file).is_file()]
    if missing:
        return [wrong(f"{current.label} lacks its {' and '.join(missing)}", f"netbootctl image build {name}")]
    return []


def _creations(context: Context) -> Iterator[str]:
    for name in context.head.images.names():
        try:
            current = context.head.images.current(name)
        except NetbootdError:
            continue
        if current:
            yield current.created


def _made(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return None


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
