"""What another DHCP server says of a network, as lines for netbootd.toml. Pure.

The registry has nodes and profiles; ranges, routers and options for all belong to a [[network]].
"""

import json
from ipaddress import IPv4Address

from netbootd.dhcp import option_table
from netbootd.exchange.described import Place, Setting


def network(place: Place, key: str, value: str) -> Setting:
    """A line of the [[network]]."""
    return Setting(place, f"{key} = {json.dumps(value)}")


def pool(place: Place, first: IPv4Address, last: IPv4Address) -> Setting:
    """A range that machines get leases from."""
    return network(place, "pool", f"{first}-{last}")


def option(place: Place, code: int, octets: bytes) -> Setting:
    """A DHCP option for everybody on a network."""
    shown = option_table.show(code, octets)
    if octets:
        match code:
            case 3 if "," not in shown:
                return network(place, "router", shown)
            case 6:
                return Setting(place, f"dns = {json.dumps(shown.split(', '))}")
            case 15:
                return network(place, "domain", shown)
    return Setting(place, f"{option_table.name(code)} = {json.dumps(shown)}", is_option=True)
