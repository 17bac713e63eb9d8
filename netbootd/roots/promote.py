"""`node promote`: what a node changed becomes the next generation of an image.

The node's root is only read, and stays as it is. A node that runs meanwhile goes on writing: what is copied
is what each file holds at that moment, and what went away meanwhile ends it with nothing published.
"""

import errno
from dataclasses import replace
from pathlib import Path

from netbootd.errors import HostError
from netbootd.image import Generation
from netbootd.images import assemble, edit, layered
from netbootd.images.progress import Progress, silent
from netbootd.images.recipe import CHANGED_BY_HAND
from netbootd.images.store import ImageStore
from netbootd.images.trees import explained
from netbootd.roots import accounts, links
from netbootd.roots.changed import Laid, Root


def promote(
    store: ImageStore,
    changed: Root,
    *,
    image: str,
    note: str = "",
    progress: Progress = silent,
) -> Generation:
    """Make the generation with what the node changed over it the next one of `image`, and current.

    Raises HostError, and UserError where the result can't be network booted.
    """
    node, lower, laid = changed.node, changed.lower, changed.laid
    changes = sum(1 for each in changed.told() if not each.why)
    with store.staging(image) as staging:
        with explained(store.directory):
            progress(f"laying {changes} changes over {lower.label}", 0, None)
            try:
                layered.merge(lower.root, changed.upper, staging.root, laid.why_not)
                links.lay(_linked(changed), changed.view, staging.root)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ESTALE):
                    raise
                raise HostError(
                    f"{node.name} changed {error.filename or 'a file'} while it was copied",
                    "try again, or switch the node off first",
                ) from error
            _take_accounts_out(lower.root, staging.root, laid)
        recipe = (
            {**lower.recipe, CHANGED_BY_HAND: f"on {node.name} over {lower.label}"} if lower.recipe else None
        )
        return assemble.publish(
            store,
            staging,
            origin=f"{node.name} over {lower.label}",
            progress=progress,
            remarks=(f"changed on {node.name}: {changes} files, links and directories",),
            recipe=recipe,
            note=note,
        )


def _linked(changed: Root) -> list[links.Linked]:
    """What changed with another name, and isn't left out itself; linked to none that is left out."""
    left_out = changed.laid.why_not
    return [
        replace(each, like=each.like if each.like and not left_out(each.like, directory=False) else None)
        for each in changed.linked()
        if not left_out(each.path, directory=False)
    ]


def _take_accounts_out(lower: Path, root: Path, laid: Laid) -> None:
    for path in sorted(accounts.USER_FILES | accounts.GROUP_FILES):
        if (both := laid.cleaned(lower, root, path)) and both[0] != both[1]:
            edit.write(root, path, both[1])
