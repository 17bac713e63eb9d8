"""The cluster's accounts in a node's passwd, group, shadow and gshadow: taken out again. Pure.

node-init puts them in at each boot (usr/lib/netbootd/accounts). In an image they would outlive a change of
`[cluster] user`; so what a node promotes has none, unless its image had them before.
"""

from collections.abc import Collection

_BACKUPS = ("", "-")
USER_FILES = frozenset(f"etc/{name}{suffix}" for name in ("passwd", "shadow") for suffix in _BACKUPS)
GROUP_FILES = frozenset(f"etc/{name}{suffix}" for name in ("group", "gshadow") for suffix in _BACKUPS)


def laid(accounts: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names of users and of groups in a file as usr/lib/netbootd/accounts is."""
    words = [line.split() for line in accounts.splitlines()]
    users, groups = (
        frozenset(each[1] for each in words if len(each) > 1 and each[0] == kind)
        for kind in ("user", "group")
    )
    return users, groups


def without(text: str, before: str, names: Collection[str]) -> str:
    """`text` of such a file with the lines of `names` as they were `before`; gone where there were none."""
    had = {name: line for line in before.splitlines(keepends=True) if (name := _name(line)) in names}
    lines = []
    for line in text.splitlines(keepends=True):
        name = _name(line)
        if name not in names:
            lines.append(line)
        elif name in had:
            lines.append(had[name])
    return "".join(lines)


def _name(line: str) -> str:
    return line.partition(":")[0]
