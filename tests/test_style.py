"""Linters and types are tests: what they find is a failure like any other."""

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent


def _run(*command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]


def test_ruff_finds_nothing() -> None:
    _run("ruff", "check", "--quiet", ".")


def test_ruff_would_format_nothing() -> None:
    _run("ruff", "format", "--check", "--quiet", ".")


def test_mypy_strict_finds_nothing() -> None:
    _run("mypy", "--strict")
