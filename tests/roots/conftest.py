"""The fixture `head`: one lab for a module's tests, a state directory of its own for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.namespace import Lab
from tests.roots.head import RootsHead, small_image


@pytest.fixture(scope="module")
def shared_lab() -> Iterator[Lab]:
    """A head node's network and mounts."""
    with Lab() as lab:
        yield lab


@pytest.fixture
def head(shared_lab: Lab, tmp_path: Path) -> Iterator[RootsHead]:
    """A head node with an image and no node; what is mounted for it goes with the test."""
    made = RootsHead(shared_lab, tmp_path)
    made.publish(small_image)
    yield made
    made.unmount_all()
