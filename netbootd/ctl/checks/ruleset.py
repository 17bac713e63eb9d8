"""What a firewall's rules do to a packet that comes in, as far as its rules can be read. Pure.

Two spellings are read: `nft -j list ruleset`, and `iptables -S`. A condition that isn't understood makes the
answer uncertain, and that is said: a guess would send people the wrong way.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

DEEPEST = 16
"""Chains that call chains; nftables itself allows 16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """What comes in. `state` is connection tracking's word for it: new or established."""

    interface: str
    protocol: str
    port: int
    source: IPv4Address
    destination: IPv4Address
    state: str = "new"


Match = Callable[[Packet], bool | None]
"""Whether a packet fits; None where the condition isn't understood."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`verdict`: accept, drop, return, or the name of a chain to go to."""

    matches: tuple[Match, ...]
    verdict: str


@dataclass(slots=True)
class Chain:
    """A chain of rules. `hook` is `input` where packets to this machine enter; `title` is for people."""

    title: str
    hook: str = ""
    policy: str = "accept"
    rules: list[Rule] = field(default_factory=list)


Ruleset = Mapping[str, Chain]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`chain`: which one drops the packet, None where none does. `certain`: every rule met was understood."""

    chain: Chain | None
    certain: bool


def outcome(ruleset: Ruleset, packet: Packet) -> Outcome:
    """What becomes of `packet`: each chain at the door has to let it through."""
    certain = True
    for key, chain in ruleset.items():
        if chain.hook:
            verdict, understood = _walk(ruleset, key, packet, DEEPEST)
            certain = certain and understood
            if (verdict or chain.policy) == "drop":
                return Outcome(chain, understood)
    return Outcome(None, certain)


def _walk(ruleset: Ruleset, key: str, packet: Packet, depth: int) -> tuple[str | None, bool]:
    certain = True
    chain = ruleset.get(key)
    for rule in chain.rules if chain and depth else ():
        fits = _fits(rule, packet)
        if fits is None and rule.verdict != "return":
            certain = False
        if not fits:
            continue
        if rule.verdict in ("accept", "drop"):
            return rule.verdict, certain
        if rule.verdict == "return":
            return None, certain
        verdict, understood = _walk(ruleset, rule.verdict, packet, depth - 1)
        certain = certain and understood
        if verdict:
            return verdict, certain
    return None, certain


def _fits(rule: Rule, packet: Packet) -> bool | None:
    """False as soon as one condition surely doesn't hold, whatever the others are."""
    answers = [match(packet) for match in rule.matches]
    if False in answers:
        return False
    return None if None in answers else True


# nft -j list ruleset


def from_nft(text: str) -> Ruleset:
    """Read the JSON of `nft -j list ruleset`; what isn't IPv4's is left out. Raises ValueError."""
    chains: dict[str, Chain] = {}
    for item in json.loads(text)["nftables"]:
        if "chain" in item and item["chain"]["family"] in ("ip", "inet"):
            c = item["chain"]
            door = (
                c.get("hook")
                if c.get("type") == "filter" and c.get("hook") in ("input", "prerouting")
                else ""
            )
            title = f"{c['family']} {c['table']} {c['name']}"
            chains[title] = Chain(title, door or "", c.get("policy", "accept"))
    for item in json.loads(text)["nftables"]:
        if "rule" in item:
            r = item["rule"]
            table = f"{r['family']} {r['table']}"
            if (chain := chains.get(f"{table} {r['chain']}")) is not None:
                chain.rules += _nft_rules(r["expr"], table)
    return chains


def _nft_rules(expressions: Sequence[Mapping[str, Any]], table: str) -> Iterator[Rule]:
    matches: list[Match] = []
    for expression in expressions:
        (kind, body), *_ = expression.items()
        match kind:
            case "match":
                matches.append(_nft_match(body))
            case "accept" | "drop" | "return":
                yield Rule(tuple(matches), kind)
            case "reject":
                yield Rule(tuple(matches), "drop")
            case "jump" | "goto":
                yield Rule(tuple(matches), f"{table} {body['target']}")
            case "vmap":
                yield from _nft_map(matches, body, table)
            case "counter" | "log" | "comment" | "mangle" | "notrack":
                pass
            case _:  # limit, xt, fib …: conditions that we don't judge
                matches.append(_unknown)


def _nft_map(matches: list[Match], body: Mapping[str, Any], table: str) -> Iterator[Rule]:
    elements = body["data"].get("set", []) if isinstance(body["data"], dict) else []
    if not elements:
        yield Rule((*matches, _unknown), "drop")
    for value, verdict in elements:
        one = _nft_match({"op": "==", "left": body["key"], "right": value})
        (kind, target), *_ = verdict.items()
        name = f"{table} {target['target']}" if kind in ("jump", "goto") else kind
        yield Rule((*matches, one), "drop" if name == "reject" else name)


def _nft_match(body: Mapping[str, Any]) -> Match:
    left, right, negated = body["left"], body["right"], body["op"] == "!="
    read = _nft_reader(left)
    if read is None or body["op"] not in ("==", "!=", "in"):
        return _unknown

    def match(packet: Packet) -> bool | None:
        value = read(packet)
        if value is None:  # another protocol's field: the rule is not for this packet
            return False
        contained = _contains(right, value)
        return contained if contained is None else contained != negated

    return match


def _nft_reader(left: Any) -> Callable[[Packet], object] | None:
    """What a rule looks at, read from a packet; None where we don't know it."""
    if not isinstance(left, dict):
        return None
    (kind, body), *_ = left.items()
    if not isinstance(body, dict):
        return None
    name = (kind, body.get("protocol") if kind == "payload" else None, body.get("key") or body.get("field"))
    readers: dict[tuple[object, ...], Callable[[Packet], object]] = {
        ("meta", None, "iifname"): lambda p: p.interface,
        ("meta", None, "iif"): lambda p: p.interface,
        ("meta", None, "l4proto"): lambda p: p.protocol,
        ("meta", None, "nfproto"): lambda _: "ipv4",
        ("meta", None, "protocol"): lambda _: "ip",
        ("ct", None, "state"): lambda p: p.state,
        ("payload", "udp", "dport"): lambda p: p.port if p.protocol == "udp" else None,
        ("payload", "tcp", "dport"): lambda p: p.port if p.protocol == "tcp" else None,
        ("payload", "th", "dport"): lambda p: p.port,
        ("payload", "ip", "protocol"): lambda p: p.protocol,
        ("payload", "ip", "saddr"): lambda p: p.source,
        ("payload", "ip", "daddr"): lambda p: p.destination,
        ("payload", "ip6", "saddr"): lambda _: None,
        ("payload", "ip6", "daddr"): lambda _: None,
        ("payload", "icmp", "type"): lambda _: None,
        ("payload", "icmpv6", "type"): lambda _: None,
    }
    return readers.get(name)


def _contains(right: Any, value: object) -> bool | None:
    """Whether `value` is `right` or in it; None for a named set, whose content stands elsewhere."""
    match right:
        case {"set": items} | [*items]:
            answers = [_contains(item, value) for item in items]
            return True if True in answers else None if None in answers else False
        case {"range": [first, last]}:
            return _number(first, value) <= _number(value, value) <= _number(last, value)
        case {"prefix": {"addr": address, "len": length}}:
            return isinstance(value, IPv4Address) and value in IPv4Network(
                f"{address}/{length}", strict=False
            )
        case str() if right.startswith("@"):
            return None
        case str() if right.endswith("*"):
            return str(value).startswith(right[:-1])
        case _:
            return str(right) == str(value)


def _number(text: object, like: object) -> int:
    return int(IPv4Address(str(text))) if isinstance(like, IPv4Address) else int(str(text))


def _unknown(_: Packet) -> bool | None:
    return None


# iptables -S


def from_iptables(text: str) -> Ruleset:
    """Read what `iptables -S` prints."""
    chains: dict[str, Chain] = {}
    for line in text.splitlines():
        words = shlex.split(line)
        match words:
            case ["-P", name, policy]:
                chains[name] = Chain(name, "input" if name == "INPUT" else "", policy.lower())
            case ["-N", name]:
                chains[name] = Chain(name)
            case ["-A", name, *rest] if name in chains:
                if rule := _iptables_rule(rest):
                    chains[name].rules.append(rule)
    return chains


def _iptables_rule(words: list[str]) -> Rule | None:
    matches: list[Match] = []
    verdict, negated = "", False
    rest = iter(words)
    for word in rest:
        match word:
            case "!":
                negated = True
                continue
            case "-j" | "-g":
                verdict = next(rest)
                break
            case "-m":
                next(rest)
            case _:
                matches.append(_iptables_match(word, next(rest, ""), negated=negated))
        negated = False
    names = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return"}
    if verdict in ("", "LOG", "NFLOG", "MARK", "CONNMARK"):
        return None
    return Rule(tuple(matches), names.get(verdict, verdict))


def _iptables_match(option: str, value: str, *, negated: bool) -> Match:
    tests: dict[str, Callable[[Packet], bool]] = {
        "-i": lambda p: p.interface == value or (value.endswith("+") and p.interface.startswith(value[:-1])),
        "-p": lambda p: value in (p.protocol, "all"),
        "-s": lambda p: p.source in IPv4Network(value, strict=False),
        "-d": lambda p: p.destination in IPv4Network(value, strict=False),
        "--dport": lambda p: _in_ports(value, p.port),
        "--dports": lambda p: _in_ports(value, p.port),
        "--ctstate": lambda p: p.state.upper() in value.split(","),
        "--state": lambda p: p.state.upper() in value.split(","),
        "--comment": lambda _: True,
    }
    test = tests.get(option)
    if test is None:
        return _unknown
    return lambda packet: test(packet) != negated


def _in_ports(text: str, port: int) -> bool:
    """67, 67:69 or 67,69."""
    spans = (part.partition(":")[::2] for part in text.split(","))
    return any(first.isdigit() and int(first) <= port <= int(last or first) for first, last in spans)
