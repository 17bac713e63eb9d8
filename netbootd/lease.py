"""A lease from the pool, as a value."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from netbootd.node import Mac


class LeaseState(StrEnum):
    """`declined`: somebody else answers at that address; it rests until the lease expires."""

    BOUND = "bound"
    RELEASED = "released"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """`client_id` is option 61 as sent, else hardware type and address; `expires` is Unix seconds."""

    address: IPv4Address
    mac: Mac
    client_id: bytes
    host_name: str = ""
    expires: float
    state: LeaseState = LeaseState.BOUND
