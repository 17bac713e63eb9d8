"""Files beside the one that is read, for readers of other servers' configurations."""

from collections.abc import Mapping, Sequence

from netbootd.errors import UserError
from netbootd.exchange.described import Described, Entry


class Beside:
    """Files by their paths."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self.texts = texts or {}

    def text(self, path: str) -> str:
        if path not in self.texts:
            raise UserError(f"can't read {path}: No such file or directory")
        return self.texts[path]

    def names(self, directory: str) -> Sequence[str]:
        start = directory.rstrip("/") + "/"
        return sorted(path.removeprefix(start) for path in self.texts if path.startswith(start))


def shown(entry: Entry) -> tuple[str | None, str, str, dict[int, bytes]]:
    """Name, cards, address and DHCP options of an entry."""
    fields = entry.fields
    return (
        entry.name,
        " ".join(fields["macs"]),
        str(fields.get("address", "-")),
        fields.get("dhcp_options", {}),
    )


def remarks(described: Described) -> dict[int, str]:
    """What was left out, by line."""
    return {remark.place.line: remark.text for remark in described.remarks}
