"""What commands that change the registry or the images end with: `apply`, where the person may do that."""

import os
from collections.abc import Iterable
from difflib import get_close_matches

from netbootd.ctl.head import Head
from netbootd.ctl.tables import say, warn
from netbootd.node import Node


def bring_up_to_date(head: Head, done: str) -> bool:
    """Apply after `done` was done; whether we could. Raises as `applied`; `done` is kept even then."""
    if os.geteuid() != 0:
        say("left to do, as root: netbootctl apply")
        return False
    from netbootd.ctl.apply import applied  # noqa: PLC0415 (loads templates, keys, exports; listings needn't)

    applied(head, done)
    return True


def warn_of_missing_images(head: Head, nodes: Iterable[Node]) -> None:
    """What `apply` would have warned of."""
    for image in sorted({node.image for node in nodes if node.image}):
        if head.images.current_number(image) is None:
            meant = get_close_matches(image, head.images.names(), 1)
            mend = f"did you mean {meant[0]}?" if meant else f"`netbootctl image build {image}` makes one"
            warn(f"there is no image {image} yet; {mend}")
