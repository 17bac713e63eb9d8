"""Which loaders are needed is read off what machines were told, in the words that the events really have."""

import pytest

from netbootd.boot import policy
from netbootd.boot.answer import Ignore, NetBoot
from netbootd.boot.client import Client
from netbootd.boot.loaders import LOADERS
from netbootd.ctl import wanted_loaders
from tests.boot.test_policy import GENERATION, MAC, NETWORK, NODE


@pytest.fixture(autouse=True)
def _nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wanted_loaders, "installed", lambda _: False)


def missing(text: str) -> list[str]:
    return [loader.name for loader in wanted_loaders.missing([text], [])]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("offered 10.77.0.10, boot file loaders/undionly.kpxe (a BIOS PXE ROM gets iPXE)", ["undionly.kpxe"]),
        ("boot file http://10.77.0.1:8080/loaders/snponly.efi (HTTP Boot)", ["snponly.efi"]),
        ("boot file loaders/lpxelinux.0 (PXELINUX)", ["lpxelinux.0", "ldlinux.c32"]),
        ("boot file loaders/shimaa64.efi (shim)", ["grubaa64.efi", "shimaa64.efi"]),
        ("boot file images/debian/1/loaders/shimx64.efi (the image's own)", []),
        ("boot file http://10.77.0.1/boot/52-54-00-00-00-01/boot.ipxe (iPXE gets its node's script)", []),
        ("nothing to boot: n01 has no image", []),
        ("boot file loaders/../etc/passwd", []),
    ],
)
def test_what_was_offered_is_needed_and_what_that_asks_for(text: str, names: list[str]) -> None:
    assert missing(text) == names


def test_a_machine_that_waits_for_a_loader_names_it() -> None:
    for number, name in ((0, "undionly.kpxe"), (7, "snponly.efi")):
        client = Client(mac=MAC, vendor_class="PXEClient", architectures=(number,))
        decision = policy.decide(client, NODE, NETWORK, GENERATION, lambda _: False)
        assert not isinstance(decision, NetBoot | Ignore)
        assert missing(f"offered 10.77.0.10, nothing to boot: {decision.reason}") == [name]


def test_a_machine_that_was_never_heard_is_expected_to_be_what_its_image_is_for() -> None:
    assert wanted_loaders.missing([], ["x86_64"]) == [LOADERS["undionly.kpxe"], LOADERS["snponly.efi"]]
    assert wanted_loaders.missing([], ["aarch64", "armv7l"]) == []
