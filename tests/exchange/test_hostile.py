"""Whatever stands in a file: a reader takes it or raises UserError, and what it took can be planned."""

import re
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netbootd.contents import Contents, NodeRecord
from netbootd.errors import UserError
from netbootd.exchange import formats
from netbootd.exchange.ethers import Hosts
from netbootd.exchange.plan import plan
from netbootd.node import Mac
from tests.exchange.files import Beside
from tests.exchange.nodes import CLUSTER

WORDS = [
    *("nodes:", "profiles:", "n01", "macs", ": ", ":", "-", "[", "]", "{", "}", '"', "'", "#", "\n", "\n  "),
    *("52:54:00:00:00:01", "10.77.0.11", "dhcp-host=", "dhcp-option=", "dhcp-range=", "set:a", "tag:a"),
    *("host ", "group ", "subnet ", "hardware ethernet ", "fixed-address ", "option ", "code 224 = "),
    *("string", "integer 32", "ip-address", "include ", "conf-file=", "self", "=", "*", "&a", "*a", "|"),
    *("name", "mac", "profile", "kind", "dhcp ntp-servers", "ntp-servers", "3", "-1", "0x", "\\", "\\x", "?"),
    *("sep=", "netbootd: 1", "null", "true", "é", "²", "\0", "\r", "\x85", "\u2028", "\ufeff", "\ue000", ","),
    *('{"Dhcp4": ', '"reservations": [', '"hw-address": ', '"data": "', "<?include ", '"?>', "/*", "*/"),
    *("%YAML 1.1\n---\n", "%YAML " + "9" * 5000, "array of ", "option:", ";", "\t"),
]  # fmt: skip
SAMPLES = {
    "yaml": "netbootd: 1\nprofiles:\n  p: {parent: q}\nnodes:\n  n01:\n    macs: [52:54:00:00:00:01]\n"
    "    dhcp_options:\n      ntp-servers: 10.77.0.1\n",
    "csv": "kind,name,mac,ip,profile,dhcp ntp-servers\nprofile,p,,,,\n"
    "node,n01,52:54:00:00:00:01,10.77.0.11,p,10.77.0.1\n",
    "dnsmasq": "dhcp-host=52:54:00:00:00:01,set:a,n01,10.77.0.11,1h\ndhcp-option=tag:a,224,1\n"
    "dhcp-range=10.77.0.9,10.77.0.11,1h\n",
    "dhcpd": "option x code 224 = integer 32; default-lease-time 600; group { option x 3;"
    ' host n01 { hardware ethernet 52:54:00:00:00:01; fixed-address 10.77.0.11; option host-name "n"; } }'
    " subnet 1.2.3.0 netmask 255.0.0.0 { range 1.2.3.4 1.2.3.9; }",
    "kea": '{"Dhcp4": {"option-def": [{"name": "x", "code": 224, "type": "int32"}], "client-classes":'
    ' [{"name": "c", "option-data": [{"name": "x", "data": "1"}]}], "subnet4": [{"subnet": "10.77.0.0/24",'
    ' "pools": [{"pool": "10.77.0.9 - 10.77.0.11"}], "reservations": [{"hw-address": "52:54:00:00:00:01",'
    ' "ip-address": "10.77.0.11", "hostname": "n01", "client-classes": ["c"],'
    ' "option-data": [{"code": 6, "data": "1.2.3.4"}]}]}], # a\n// b\n/* c */ "valid-lifetime": 600}}',
    "ethers": "52:54:00:00:00:01 n01\n8:0:20:0:61:ca 10.77.0.11\n",
}
ODD = [
    "",
    "\0",
    "²",
    "é",
    "-1",
    "0x",
    '"',
    "\\",
    "\n",
    "9" * 11,
    "9" * 5000,
    "\ue000",
    "\U0010ffff",
    "{",
    "}",
    "[",
    ",",
]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A sample with some of its words exchanged for others."""
    parts = re.split(r"(\W)", draw(st.sampled_from(list(SAMPLES.values()))))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(parts) - 1))
        parts[at : at + draw(st.integers(0, 3))] = [draw(st.sampled_from(WORDS) | st.text(max_size=5))]
    return "".join(parts)


texts = st.text(max_size=200) | st.lists(st.sampled_from(WORDS), max_size=40).map("".join) | damaged()
REGISTERED = Contents(
    nodes=(NodeRecord(name="n01", macs=(Mac("52:54:00:00:00:01"),), address=IPv4Address("10.77.0.10")),)
)


@pytest.mark.parametrize("kind", formats.FORMATS)
@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(kind: str, text: str) -> None:
    _read(kind, text)
    _try(lambda: formats.recognise("file", text))
    Hosts.read([text])


@pytest.mark.parametrize("kind", formats.FORMATS)
def test_anything_odd_in_the_place_of_any_word_is_read_or_refused(kind: str) -> None:
    parts = re.split(r"(\W)", SAMPLES[kind])
    described = formats.read(kind, SAMPLES[kind], "file", Beside({"/hosts": ""}), "/hosts")
    assert described.nodes, "the sample has to be worth damaging"
    for at in range(len(parts)):
        for odd in ODD:
            _read(kind, "".join([*parts[:at], odd, *parts[at + 1 :]]))


def _read(kind: str, text: str) -> None:
    _try(lambda: formats.read(kind, text, "file", Beside({"self": text, "/hosts": text}), "/hosts"))


def _try(read: Callable[[], object]) -> None:
    try:
        found = read()
        if not isinstance(found, str):
            for equal in (False, True):
                plan(REGISTERED, found, CLUSTER, equal=equal)  # type: ignore[arg-type]
    except UserError as error:
        assert error.message
