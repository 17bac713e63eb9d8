"""When node files are given over HTTP: from a firmware's DHCP to its node's root, and to root's ports."""

from dataclasses import replace

import pytest

from netbootd.boot.answer import Decision, LocalBoot, NetBoot, Wait
from netbootd.boot.client import Client
from netbootd.boot.window import LONGEST, BootWindow
from netbootd.node import Mac
from netbootd.stage import Event, Stage
from tests.boot.test_policy import IN_MEMORY, MAC, NETWORK, NODE

FIRMWARE = Client(mac=MAC, privileged=True)
BOOTS = NetBoot(firmware="bios", server=NETWORK.server, bootfile="loaders/x", reason="")


def opened(client: Client = FIRMWARE, decision: Decision = BOOTS, at: float = 1000.0) -> BootWindow:
    window = BootWindow()
    window.decided(client, IN_MEMORY, decision, at)
    return window


def reported(stage: Stage | None, mac: Mac = MAC) -> Event:
    return Event(time=1010.0, mac=mac, node="n01", stage=stage, text="")


def test_a_node_that_boots_gets_its_files() -> None:
    assert opened().refusal(IN_MEMORY, 600, 1010.0) == ""


def test_before_any_boot_and_after_a_restart_of_the_daemon_it_is_told_to_start_again() -> None:
    why = BootWindow().refusal(IN_MEMORY, 600, 1010.0)
    assert "n01 isn't booting" in why
    assert "start it again" in why


@pytest.mark.parametrize("stage", [Stage.ROOT, Stage.READY])
def test_it_is_over_with_the_root(stage: Stage) -> None:
    window = opened()
    window.heard(reported(stage))
    assert "isn't booting" in window.refusal(IN_MEMORY, 600, 1010.0)
    window.decided(FIRMWARE, IN_MEMORY, BOOTS, 2000.0)
    assert window.refusal(IN_MEMORY, 600, 2001.0) == ""


@pytest.mark.parametrize(
    "event", [reported(None), reported(Stage.KERNEL), reported(Stage.ROOT, Mac("52:54:00:00:00:99"))]
)
def test_a_failure_or_another_nodes_root_changes_nothing(event: Event) -> None:
    window = opened()
    window.heard(event)
    assert window.refusal(IN_MEMORY, 600, 1010.0) == ""


@pytest.mark.parametrize("now", [1000.0 + LONGEST + 1, 1000.0 - LONGEST - 1])
def test_a_boot_that_never_ends_is_none(now: float) -> None:
    assert "isn't booting" in opened().refusal(IN_MEMORY, 600, now)


@pytest.mark.parametrize("port", [1024, 40000, None])
def test_a_port_that_anybody_may_send_from_gets_nothing(port: int | None) -> None:
    assert "port below 1024" in opened().refusal(IN_MEMORY, port, 1010.0)


@pytest.mark.parametrize(
    ("client", "decision"),
    [
        pytest.param(replace(FIRMWARE, privileged=False), BOOTS, id="any user of the node"),
        pytest.param(FIRMWARE, LocalBoot(reason=""), id="its operating system"),
        pytest.param(FIRMWARE, Wait(reason=""), id="nothing to boot yet"),
    ],
)
def test_what_is_no_boot_opens_nothing(client: Client, decision: Decision) -> None:
    assert opened(client, decision).refusal(IN_MEMORY, 600, 1010.0)


def test_only_nodes_in_memory_have_one() -> None:
    window = BootWindow()
    window.decided(FIRMWARE, NODE, BOOTS, 1000.0)
    window.decided(FIRMWARE, None, BOOTS, 1000.0)
    assert window.refusal(IN_MEMORY, 600, 1001.0)
