"""Registries to be written and read back: any that netbootd's own rules allow."""

from ipaddress import IPv4Address, IPv4Interface

from hypothesis import strategies as st

from netbootd.contents import Contents, NodeRecord
from netbootd.errors import UserError
from netbootd.exchange.plan import Cluster
from netbootd.network import AddressRange, Network
from netbootd.node import Mac, RootMode, host_name, same_serial
from netbootd.settings import Profile, Settings, kernel_arguments

CLUSTER = Cluster(
    networks=(
        Network(
            interface="eth1",
            address=IPv4Interface("10.77.0.1/24"),
            range=AddressRange.parse("10.77.0.10-10.77.0.99"),
            pool=AddressRange.parse("10.77.0.100-10.77.0.199"),
        ),
    ),
    reserved={"head": "the head node itself"},
)
# Words that YAML, CSV or a spreadsheet might take for something else.
ODD_NAMES = ["no", "on", "null", "true", "1e3", "0x10", "n01", "a-b", "netbootd", "nodes", "dhcp", "y"]
ODD_TEXTS = ["", '""', '"quiet"', "a=b", "- x", "#".join("ab"), "console=ttyS0,115200", "null", "~", "1:2",
             "=1+1", "a;b", "'", "x: y", "[a]", "{b}", "\\n", "quiet  "]  # fmt: skip


def _accepted(text: str) -> str | None:
    try:
        return kernel_arguments(text)
    except UserError:
        return None


def _usable_name(name: str) -> bool:
    try:
        return host_name(name) == name and name not in CLUSTER.reserved
    except UserError:
        return False


texts = st.sampled_from(ODD_TEXTS) | st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30
)
names = st.sampled_from(ODD_NAMES) | st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_options = st.dictionaries(
    st.sampled_from([3, 6, 15, 21, 26, 33, 42, 43, 66, 100, 108, 119, 120, 121, 176, 224, 252]),
    st.binary(max_size=40)
    | texts.map(str.encode)
    | st.sampled_from([bytes([10, 77, 0, 1]), b"\x07cluster\0", b" spaced ", b"none", b"hex:00", b'""']),
    max_size=4,
)
_labels = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True).filter(lambda name: name != "current")
settings = st.builds(
    Settings,
    image=st.none()
    | st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True).filter(lambda n: n != "current"),
    root=st.none() | st.sampled_from(list(RootMode)),
    kernel_args=st.none() | texts.map(_accepted),
    loader=st.none() | st.sampled_from(["ipxe", "grub"]),
    eeprom_update=st.none() | st.booleans(),
    dhcp_options=_options,
)


@st.composite
def registries(draw: st.DrawFn) -> Contents:
    """A registry that could be."""
    titles = draw(
        st.lists(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,6}", fullmatch=True), unique=True, max_size=4)
    )
    profiles = [
        Profile(name=name, parent=draw(st.none() | st.sampled_from(titles[:i])) if i else None,
                settings=draw(settings))
        for i, name in enumerate(titles)
    ]  # fmt: skip
    called = draw(st.lists(names.filter(_usable_name), unique=True, max_size=6))
    addresses = draw(st.permutations(range(10, 10 + len(called))))
    serials = draw(st.lists(st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True), min_size=6, max_size=6))
    serials = [s for i, s in enumerate(serials) if not any(same_serial(o, s) for o in serials[:i])]
    nodes = [
        NodeRecord(
            name=name,
            macs=tuple(Mac(f"52:54:00:{i:02}:00:{n:02}") for n in range(draw(st.integers(1, 3)))),
            address=IPv4Address(f"10.77.0.{addresses[i]}"),
            machine_id=f"{draw(st.integers(1, 2**100)):029x}{i:03x}",
            serial=serials[i] if i < len(serials) and draw(st.booleans()) else None,
            profile=draw(st.none() | st.sampled_from(titles)) if titles else None,
            cores=draw(st.none() | st.integers(1, 999_999)),
            settings=draw(settings),
        )
        for i, name in enumerate(called)
    ]
    return Contents(
        profiles=tuple(sorted(profiles, key=lambda p: p.name)),
        nodes=tuple(sorted(nodes, key=lambda n: n.address)),
    )
