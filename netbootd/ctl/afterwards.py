"""What commands that change the registry or the images end with: `apply`, where the person may do that."""

import os
from collections.abc import Iterable

from netbootd.ctl.head import Head
from netbootd.ctl.tables import say, warn
from netbootd.image import how_to_get


def bring_up_to_date(head: Head, done: str) -> bool:
    """Apply after `done` was done; whether we could. Raises as `applied`; `done` is kept even then."""
    if os.geteuid() != 0:
        say("left to do, as root: netbootctl apply")
        return False
    from netbootd.ctl.apply import applied  # noqa: PLC0415 (loads templates, keys, exports; listings needn't)

    applied(head, done)
    return True


def warn_of_missing_images(head: Head, images: Iterable[str | None]) -> None:
    """What `apply` would have warned of."""
    for image in sorted({image for image in images if image}):
        if head.images.current_number(image) is None:
            warn(f"there is no image {image} yet; {how_to_get(image, head.images.names())}")
