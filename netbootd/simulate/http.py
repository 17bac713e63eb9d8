"""Reading over HTTP/1.1 as a firmware does: one request, its headers as they stand. Pure.

Each request has a connection of its own. Host names aren't resolved: netbootd writes addresses into its URLs.
"""

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from netbootd.dhcp.options import printable
from netbootd.simulate.play import Loaded, Machine, Play, WontBoot, known, now, tell
from netbootd.simulate.tcp import BrokenError, Connection
from netbootd.simulate.tftp import KEPT, MOST, Missing

MOST_HEAD = 64 << 10
_URL = re.compile(r"http://([^/:]+)(?::(\d+))?(/\S*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Habits:
    """`headers` in order, `{host}` filled in; `patience` is the silence after which it gives up."""

    headers: tuple[str, ...]
    patience: float = 20.0
    chunked: bool = True
    """Whether it reads a body without Content-Length."""


@dataclass(slots=True)
class Response:
    """What a server answered; of the body its beginning and its size."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    size: int = 0
    fault: str = ""
    received: list[bytes] = field(default_factory=list)


def join(base: str, name: str) -> str:
    """What `name` means in a file that came from `base`: a URL, a path from the root, a neighbour."""
    if re.match(r"[a-z]+://", name):
        return name
    scheme, _, rest = base.partition("://")
    host, _, path = rest.partition("/")
    if name.startswith("/"):
        return f"{scheme}://{host}{name}"
    return f"{scheme}://{host}/{path.rpartition('/')[0]}/{name}".replace(f"{host}//", f"{host}/")


def read(
    machine: Machine, habits: Habits, url: str, *, method: str = "GET", does: str = ""
) -> Play[Loaded | Missing]:
    """Fetch a URL, or only its head; the step is told."""
    began = yield from now()
    found = yield from _fetch(machine, habits, url, method)
    name = url.rpartition("/")[2]
    if isinstance(found, str):
        yield from tell(machine, f"HTTP {method} {url}", found, "gives up", began=began, good=False)
        return Missing(name, found)
    good = found.status == 200 and not found.fault
    came = f"{found.status}, {found.size} octets" if good else found.fault or f"{found.status}"
    if not good and found.body:
        came += f": {printable(found.body.splitlines()[0], 240)}"
    yield from tell(
        machine, f"HTTP {method} {url}", came, does if good else "gives up", began=began, good=good
    )
    if not good:
        return Missing(name, came, 1 if found.status == 404 else None)
    return Loaded(name=name, content=found.body, size=found.size, url=url)


def _fetch(machine: Machine, habits: Habits, url: str, method: str) -> Play[Response | str]:
    match = _URL.fullmatch(url)
    if match is None:
        raise WontBoot(f"{url[:200]} isn't a URL that it can fetch", "give it http://ADDRESS/PATH")
    host, port, path = match.group(1), int(match.group(2) or 80), match.group(3) or "/"
    try:
        server = IPv4Address(host)
    except ValueError:
        raise WontBoot(
            f"{host[:100]} is a name; the board would ask its DNS server, this simulation doesn't",
            "write the address into the URL",
        ) from None
    rehearsed = yield from known("HTTP", server, path, probe=method == "HEAD")
    if isinstance(rehearsed, Loaded):
        return Response(200, {}, rehearsed.content, rehearsed.size)
    if rehearsed is not None:
        return Response(404, {}, rehearsed.encode())
    lines = [f"{method} {path} HTTP/1.1", *habits.headers]
    request = "\r\n".join(lines).replace("{host}", host if port == 80 else f"{host}:{port}") + "\r\n\r\n"
    connection = Connection(machine, server, port)
    try:
        yield from connection.open()
        yield from connection.write(request.encode("latin-1", "replace"))
        response = yield from _response(connection, habits, method)
        yield from connection.close()
    except BrokenError as error:
        return str(error)
    return response


def _response(connection: Connection, habits: Habits, method: str) -> Play[Response]:
    octets = b""
    while b"\r\n\r\n" not in octets:
        more = yield from connection.read(habits.patience)
        octets += more
        if not more or len(octets) > MOST_HEAD:
            raise BrokenError("the answer isn't HTTP")
    head, _, body = octets.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise BrokenError("the answer isn't HTTP")
    pairs = (line.partition(":") for line in lines[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    response = Response(int(words[1]), headers)
    length = headers.get("content-length", "")
    if method == "HEAD":
        response.size = int(length) if length.isdigit() else 0
        response.fault = "" if length.isdigit() or habits.chunked else "no Content-Length, which it needs"
        return response
    if length.isdigit():
        yield from _body(connection, habits, response, body, int(length))
        return response
    if not habits.chunked:
        response.fault = "no Content-Length, which it needs"
        return response
    yield from _body(connection, habits, response, body, None)
    if headers.get("transfer-encoding", "").lower() == "chunked":
        response.body = unchunked(response.body)
        response.size = len(response.body)
    return response


def _body(
    connection: Connection, habits: Habits, response: Response, first: bytes, length: int | None
) -> Play[None]:
    """Read `length` octets, or (None) until the server ends or a last chunk has come."""
    kept, response.size, tail = bytearray(first[:KEPT]), len(first), first[-5:]
    while length is None or response.size < length:
        if length is None and tail == b"0\r\n\r\n":
            break
        more = yield from connection.read(habits.patience)
        if not more:
            if length is not None:
                raise BrokenError(f"the connection ends after {response.size} of {length} octets")
            break
        if len(kept) < KEPT:
            kept += more[: KEPT - len(kept)]
        response.size += len(more)
        tail = (tail + more)[-5:]
        if response.size > MOST:
            raise BrokenError("more than 4 GiB")
    response.body = bytes(kept)


def unchunked(octets: bytes) -> bytes:
    """A chunked body (RFC 9112 section 7.1) put together, as far as it goes."""
    whole, at = bytearray(), 0
    while (end := octets.find(b"\r\n", at)) >= 0:
        size = octets[at:end].split(b";", 1)[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", size) or int(size, 16) == 0:
            break
        whole += octets[end + 2 : end + 2 + int(size, 16)]
        at = end + 2 + int(size, 16) + 2
    return bytes(whole)
