"""The fixture `head`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.files.head import Head


@pytest.fixture
def head(tmp_path: Path) -> Iterator[Head]:
    """A head node's state, without nodes."""
    with Head(tmp_path) as made:
        yield made
