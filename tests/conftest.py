"""Fixtures for all tests, and the last word of a run: what could not be tested here, by name, and why.

`lab` is a network of its own with a bridge (see tests/lab/namespace.py). A test marked `net` needs
namespaces; `boot` needs root, QEMU and NFS besides; `needs("udhcpc", …)` names the commands it calls, and
`as_root("why")` what only root can do, in a user namespace neither.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from tests.lab.namespace import Lab, why_no_namespaces

BOOT_COMMANDS = ("qemu-system-x86_64", "ganesha.nfsd", "rpcbind", "mmdebstrap")

_namespaces = cache(why_no_namespaces)


def pytest_configure(config: pytest.Config) -> None:
    """Know the marks that say what a test needs."""
    config.addinivalue_line("markers", "needs(*commands): programs that must be installed for this test")
    config.addinivalue_line("markers", "as_root(why): what this test does is refused in a user namespace")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, so that a slip shows in seconds; machines are booted last."""
    costly = ("boot", "slow", "net")
    items.sort(key=lambda item: [item.get_closest_marker(mark) is not None for mark in costly])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with the reason in words, what this machine can't run."""
    why_root = next((str(mark.args[0]) for mark in item.iter_markers("as_root")), None)
    if why_root is None and item.get_closest_marker("boot"):
        why_root = "an image's files belong to many users, and NFS opens them by handle"
    if why_root and os.geteuid() != 0:
        pytest.skip(f"needs root: {why_root}")
    commands = [str(command) for mark in item.iter_markers("needs") for command in mark.args]
    if item.get_closest_marker("boot"):
        commands += BOOT_COMMANDS
    if missing := [command for command in commands if shutil.which(command) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if (item.get_closest_marker("net") or item.get_closest_marker("boot")) and (reason := _namespaces()):
        pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what could not run."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section("could not run here")
    cases: Counter[tuple[str, str]] = Counter()
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        cases[report.nodeid.partition("[")[0], reason.removeprefix("Skipped: ")] += 1
    for (name, reason), count in cases.items():
        terminalreporter.write_line(f"{name}{f' ({count} cases)' if count > 1 else ''}: {reason}")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A head node's network with the bridge br0, 10.77.0.1/24; gone with the test, whatever happens."""
    with Lab() as made:
        yield made
