"""Bad input costs little: few answers, few lines."""

import asyncio
import logging

import pytest

from netbootd.tftp.complaints import Budget, Complaints


def test_a_budget_refills_with_time_and_never_overflows() -> None:
    budget = Budget(5)
    assert [budget.spend(100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert budget.spend(100.2)
    assert not budget.spend(100.2)
    assert [budget.spend(999.0) for _ in range(7)] == [True] * 5 + [False] * 2


async def test_a_thousand_complaints_are_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints("TFTP on eth1")
    for n in range(1000):
        complaints.add("malformed requests", f"number {n}")
    await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == [
        "TFTP on eth1, malformed requests: 1; the latest: number 0"
    ]
    complaints.close()
    assert caplog.records[-1].getMessage() == (
        "TFTP on eth1, malformed requests: 999; the latest: number 999"
    )
    assert len(caplog.records) == 2
    assert all(record.levelno == logging.WARNING for record in caplog.records)
