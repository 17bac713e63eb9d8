"""The questions of `setup`: each with a proposal, and asked again until the answer can be used."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

import typer

from netbootd import config_values
from netbootd.ctl import proposals
from netbootd.ctl.tables import say
from netbootd.errors import HostError, UserError, did_you_mean
from netbootd.links import Interface
from netbootd.network import DhcpMode

NONE = "none"
"""What is answered, or given to a flag, for a setting that shall be left out."""

Parse = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks the person at the terminal; where `asks` is off it takes every proposal."""

    asks: bool

    def setting(self, question: str, given: str | None, proposal: object, parse: Parse) -> str | None:
        """A flag's value as it is, else the answer; None where it is `none`."""
        text = given if given is not None else self._answer(question, proposal or NONE, parse)
        return None if text in ("", NONE) else text

    def interface(self, links: Sequence[Interface], given: str | None, way_out: str | None) -> Interface:
        """The wire with the nodes on it. Raises UserError where none is given and it isn't obvious."""
        found = proposals.candidates(links, way_out)
        by_name = {link.name: link for link in found}
        if not found:
            raise HostError("there is no network interface that nodes could hang on", "`ip link` lists them")
        if given is None and self.asks:
            for link in found:
                say(f"  {link.name:15}  {_described(link, way_out)}")
            given = self._answer("interface with the nodes", found[0].name, lambda t: _find(t, by_name))
        if given is None:
            likely = [link for link in found if link.name != way_out and link.addresses]
            if len(likely) != 1:
                raise UserError(
                    "it isn't obvious which wire the nodes are on", f"--interface {'|'.join(by_name)}"
                )
            given = likely[0].name
        return _find(given, by_name)

    def address(self, link: Interface, given: str | None) -> IPv4Interface:
        """The head node's own address there. Raises UserError where it has none and none is given."""
        if given is None and link.addresses:
            return link.addresses[0]
        if given is None and self.asks:
            say(f"  {link.name} has no address yet")
            given = self._answer("its address", "10.77.0.1/24", interface_address)
        if given is None:
            hint = f"`ip address add 10.77.0.1/24 dev {link.name}`, or --address 10.77.0.1/24"
            raise UserError(f"{link.name} has no address", hint)
        return interface_address(given)

    def _answer(self, question: str, proposal: object, parse: Parse) -> str:
        if not self.asks:
            return str(proposal)
        while True:
            text = str(typer.prompt(question, default=str(proposal))).strip()
            try:
                if text != NONE:
                    parse(text)
            except (UserError, ValueError) as error:
                say(f"  {error}")
                continue
            return text


def interface_address(text: str) -> IPv4Interface:
    """10.77.0.1/24. Raises UserError, also where the prefix is missing."""
    try:
        if "/" not in text:
            raise ValueError
        return IPv4Interface(text)
    except ValueError:
        raise UserError(f"{text[:40]!r} isn't an address with its prefix", "write 10.77.0.1/24") from None


def addresses(text: str) -> tuple[IPv4Address, ...]:
    """Addresses with commas between them. Raises ValueError."""
    return tuple(IPv4Address(part.strip()) for part in text.split(",") if part.strip())


def nfs_server(text: str) -> str:
    """One of the two. Raises UserError."""
    if text not in ("kernel", "ganesha"):
        raise UserError(f"{text[:40]!r} is no NFS server known here", "write kernel or ganesha")
    return text


def user_name(text: str) -> object:
    """A user's name. Raises ValueError."""
    return config_values.user_name(text)


def shared_directory(text: str) -> object:
    """A directory that nodes can share. Raises ValueError."""
    return config_values.shared_path(text)


def dhcp_mode(text: str) -> str:
    """What netbootd is on a wire. Raises UserError."""
    if text not in tuple(DhcpMode):
        raise UserError(f"{text[:40]!r} is none of {', '.join(DhcpMode)}", "write proxy")
    return text


def _find(text: str, by_name: Mapping[str, Interface]) -> Interface:
    if text not in by_name:
        hint = did_you_mean(text, by_name, f"there is {', '.join(by_name)}")
        raise UserError(f"there is no interface {text[:40]!r}", hint)
    return by_name[text]


def _described(link: Interface, way_out: str | None) -> str:
    state = "up" if link.up and link.carrier else "no cable" if link.up else "down"
    words = [state, ", ".join(map(str, link.addresses)) or "no address"]
    return ", ".join(words) + (", the way to the world" if link.name == way_out else "")
