"""Container images as archives: OCI image layouts and what `docker save` writes.

Their layers are laid over each other, each an archive with notes of what it takes away from those below
(whiteouts, see unpack.py); all that has a digest is checked against it. Which layers, in which order, the
archive tells in JSON that may stand at its end: so it is read once for that, then for the layers.

OCI Image Format Specification 1.1: image-layout.md, manifest.md, layer.md; Docker Image Specification 1.2.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from posixpath import normpath
from typing import IO, BinaryIO, cast

from netbootd.errors import UserError
from netbootd.images.layers import Layer, choose
from netbootd.images.progress import Progress
from netbootd.images.recognise import Source
from netbootd.images.source import Reading, ended_by_itself, packing, pour, program
from netbootd.images.store import Staging
from netbootd.images.tar_stream import ArchiveError, TarStream
from netbootd.images.unpacker import unpacked

_LARGEST_JSON = 4 << 20
_MOST_JSON = 64 << 20
_MOST_MEMBERS = 20_000
_CHUNK = 1 << 20
_MAGIC = 16


def fill(source: Source, reading: Reading, staging: Staging, progress: Progress) -> tuple[str, ...]:
    """Make staging.root of the container image in `source`; returns what is to be remarked.

    Raises UserError for an archive that is damaged or isn't what its digests say.
    """
    reading.sha256()  # of the archive, which isn't read in its order
    remarks: dict[str, None] = {}
    try:
        contents = _contents(source)
        layers = choose(contents.texts, os.uname().machine)
        places = [contents.place(layer.name) for layer in layers]
        total, before = sum(size for _, size in places), 0
        with _Forward(source) as forward:
            for layer, (begin, size) in zip(layers, places, strict=True):
                blob = _Blob(forward, begin, size)

                told = _Share(progress, before, total)
                layer_reading = Reading(cast("IO[bytes]", blob), size, told)
                remarks.update(dict.fromkeys(_unpack(source, layer, blob, layer_reading, staging)))
                before += size
    except ArchiveError as error:
        raise UserError(f"{source.path} can't be imported: {error.message}", error.hint) from error
    return tuple(remarks)


@dataclass(frozen=True, slots=True)
class _Share:
    """Tells how far a layer has come as a share of all of them."""

    progress: Progress
    before: int
    total: int

    def __call__(self, step: str, done: int, total: int | None) -> None:
        self.progress("unpacking layers", self.before + done, self.total)


def _unpack(
    source: Source, layer: Layer, blob: "_Blob", reading: Reading, staging: Staging
) -> tuple[str, ...]:
    packed = packing(blob.head)
    with unpacked(f"{source.path}, layer {layer.name},", staging.root, staging, "layer") as unpacking:
        pour(source.path, packed, reading, unpacking.sink)
        remarks = unpacking.finish()
    expected = layer.sha256 or (layer.unpacked_sha256 if packed is None else "")
    if expected and reading.sha256() != expected:
        raise ArchiveError(f"its layer {layer.name} isn't what its digest says", "download it again")
    return remarks


@dataclass(slots=True)
class _Contents:
    """What is in the archive: its JSON files, and where everything else lies in it, once it is unpacked."""

    texts: dict[str, bytes] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def place(self, name: str) -> tuple[int, int]:
        """Offset and size of a member. Raises ArchiveError where it isn't there."""
        name = normpath(name)
        found = self.places.get(self.links.get(name, name))
        if found is None:
            raise ArchiveError(
                f"it lacks its layer {name[:100]!a}",
                "copy the image into an archive anew, as in: skopeo copy docker://IMAGE oci-archive:FILE",
            )
        return found


def _contents(source: Source) -> _Contents:
    contents = _Contents()
    kept = 0
    with _Forward(source) as forward:
        archive = TarStream(cast("BinaryIO", forward))
        for member in archive.members():
            name = normpath(member.name)
            if len(contents.places) > _MOST_MEMBERS:
                raise ArchiveError(f"it has more than {_MOST_MEMBERS} files, which no container image has")
            if member.issym() or member.islnk():  # Docker of long ago, for a layer that is there twice
                outer = name.rpartition("/")[0] if member.issym() else ""
                contents.links[name] = normpath(f"{outer}/{member.linkname}").lstrip("/")
            if not member.isreg():
                continue
            contents.places[name] = (member.offset_data, member.size)
            if member.size <= _LARGEST_JSON:
                content = b"".join(archive.data(member.size))
                if content[:1] in (b"{", b"["):
                    kept += len(content)
                    contents.texts[name] = content
            if kept > _MOST_JSON:
                raise ArchiveError(f"it has more than {_MOST_JSON} octets of JSON")
    return contents


class _Forward:
    """The archive, unpacked: read forward, and begun anew where something behind is wanted."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stack = ExitStack()
        self._stream: IO[bytes] | None = None
        self._position = 0

    def __enter__(self) -> "_Forward":
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, size: int) -> bytes:
        """The next `size` octets, or as many as there are."""
        assert self._stream is not None  # noqa: S101 - opened
        chunk = self._stream.read(size)
        self._position += len(chunk)
        return chunk

    def go_to(self, offset: int) -> None:
        """Have the next octet be the one at `offset`. Raises ArchiveError where the archive ends before."""
        assert self._stream is not None  # noqa: S101 - opened
        if self._source.in_place:
            self._position = self._stream.seek(offset)
            return
        if offset < self._position:
            self._open()
        while self._position < offset:
            if not self.read(min(offset - self._position, _CHUNK)):
                raise ArchiveError("it is cut short")

    def _open(self) -> None:
        self._stack.close()
        self._position = 0
        self._stream = self._stack.enter_context(_opened(self._source))


@contextmanager
def _opened(source: Source) -> Iterator[IO[bytes]]:
    """The file's octets, unpacked."""
    with source.path.open("rb") as file:
        if source.packed is None:
            yield file
            return
        command = [*source.packed.command]
        with program(command, source.packed.package, stdin=file, stdout=subprocess.PIPE) as (process, said):
            assert process.stdout is not None  # noqa: S101 - asked for
            try:
                yield process.stdout
            except ArchiveError as error:
                process.stdout.close()
                if ended_by_itself(process, said):
                    raise ArchiveError(
                        f"it is damaged or cut short: {said()}", "download it again"
                    ) from error
                raise


class _Blob:
    """One member of the archive as a stream of its own."""

    def __init__(self, forward: _Forward, begin: int, size: int) -> None:
        forward.go_to(begin)
        self._forward = forward
        self._left = size
        self.head = forward.read(min(_MAGIC, size))
        self._pending = self.head

    def read(self, size: int) -> bytes:
        """The next octets, `size` at most. Raises ArchiveError where the archive ends before the member."""
        if self._pending:
            chunk, self._pending = self._pending, b""
        else:
            chunk = self._forward.read(min(size, self._left))
        self._left -= len(chunk)
        if not chunk and self._left:
            raise ArchiveError("it is cut short", "download it again")
        return chunk
