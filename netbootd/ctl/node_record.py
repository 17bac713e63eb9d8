"""What is shown of a node: its settings, and whose each is."""

from collections.abc import Mapping
from typing import Any

from netbootd.ctl.options import shown_options
from netbootd.dhcp import option_table
from netbootd.node import Node
from netbootd.registry import Profile, Settings

SETTINGS = {"image": "image", "root": "root", "kernel_args": "kernel arguments", "loader": "loader",
            "eeprom_update": "EEPROM update"}  # fmt: skip
"""Those that can be inherited as a whole, with their titles."""


def record_of(node: Node) -> dict[str, Any]:
    """A node for programs, with every setting resolved."""
    return {
        "name": node.name,
        "address": str(node.address),
        "macs": list(node.macs),
        "image": node.image,
        "root": node.root.value,
        "profile": node.profile,
        "serial": node.serial,
        "kernel_args": node.kernel_args,
        "loader": node.loader,
        "eeprom_update": node.eeprom_update,
        "dhcp_options": shown_options(node.dhcp_options),
        "machine_id": node.machine_id,
    }


def full_record(node: Node, own: Settings, profiles: Mapping[str, Profile]) -> dict[str, Any]:
    """The record, with `from`: for each setting that can be inherited, whose it is."""
    sources: dict[str, Any] = {key: inherited(key, own, node.profile, profiles)[1] for key in SETTINGS}
    sources["dhcp_options"] = {
        option_table.name(code): _option_source(code, own, node.profile, profiles)
        for code in sorted(node.dhcp_options)
    }
    return {**record_of(node), "from": sources}


def _option_source(code: int, own: Settings, profile: str | None, profiles: Mapping[str, Profile]) -> str:
    """Who set a DHCP option that the node has."""
    if code in own.dhcp_options:
        return "node"
    while profile is not None and code not in profiles[profile].settings.dhcp_options:
        profile = profiles[profile].parent
    return f"profile {profile}"


def inherited(
    key: str, own: Settings, profile: str | None, profiles: Mapping[str, Profile]
) -> tuple[Any, str]:
    """A setting's value, None where nobody set it, and who did."""
    if (value := getattr(own, key)) is not None:
        return value, "node"
    seen: set[str] = set()
    while profile is not None and profile not in seen:
        if (value := getattr(profiles[profile].settings, key)) is not None:
            return value, f"profile {profile}"
        seen.add(profile)
        profile = profiles[profile].parent
    return None, "default"


def setting_rows(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(setting, value, whose it is) of a full record, for people."""
    plain = {"address": record["address"], "mac": ", ".join(record["macs"]), "profile": record["profile"],
             "serial": record["serial"], "machine id": record["machine_id"]}  # fmt: skip
    rows = [(key, value or "-", "node") for key, value in plain.items()]
    rows += [(title, _shown(record[key]), record["from"][key]) for key, title in SETTINGS.items()]
    sources = record["from"]["dhcp_options"]
    rows += [(f"DHCP {name}", value, sources[name]) for name, value in record["dhcp_options"].items()]
    return [("name", record["name"], "node"), *rows]


def _shown(value: str | bool | None) -> str:
    return yes_or_no(value) if isinstance(value, bool) else value or "-"


def yes_or_no(value: bool) -> str:
    """A switch for people."""
    return "yes" if value else "no"
