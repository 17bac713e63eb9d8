"""What commands that change the registry or the images end with: `apply`, where the person may do that."""

import os

from netbootd.ctl.head import Head
from netbootd.ctl.tables import say


def bring_up_to_date(head: Head, done: str) -> bool:
    """Apply after `done` was done; whether we could. Raises HostError, and `done` is kept even then."""
    if os.geteuid() != 0:
        say("left to do, as root: netbootctl apply")
        return False
    from netbootd.ctl.apply import applied  # noqa: PLC0415 (loads templates, keys, exports; listings needn't)

    applied(head, done)
    return True
