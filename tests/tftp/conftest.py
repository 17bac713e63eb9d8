"""What the tests of the server share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.tftp.served import BIG, Served


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    (tmp_path / "big").write_bytes(BIG)
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "out").symlink_to("/etc/passwd")
    served = Served(tmp_path)
    await served.server.start()
    yield served
    await served.server.stop()
