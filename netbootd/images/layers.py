"""Which layers a container image consists of, from the JSON in its archive. Pure; nothing in it is believed.

Three forms: an OCI image layout (index.json), what `docker save` writes (manifest.json), and both in one, as
newer Dockers do it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netbootd.images.tar_stream import ArchiveError

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_DEEPEST_INDEX = 4
_MOST_LAYERS = 500
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "riscv64": "riscv64"}
_INDEXES = ("application/vnd.oci.image.index", "application/vnd.docker.distribution.manifest.list")
_AGAIN = "copy the image into an archive anew, as in: skopeo copy docker://IMAGE oci-archive:FILE"


@dataclass(frozen=True, slots=True)
class Layer:
    """`name` of the archive's member; what its SHA-256 has to be, as it lies there or once it is unpacked."""

    name: str
    sha256: str = ""
    unpacked_sha256: str = ""


def choose(texts: Mapping[str, bytes], machine: str) -> list[Layer]:
    """The layers of the one image in an archive, the lowest first, from its JSON files by name.

    `machine` is as uname -m says it: where there are images for several, that one's is taken. Raises
    ArchiveError.
    """
    if "index.json" in texts:
        return _of_layout(texts, _MACHINES.get(machine, machine))
    if "manifest.json" in texts:
        return _of_docker(texts)
    raise ArchiveError(
        "it has neither an index.json nor a manifest.json: it isn't a whole container image", _AGAIN
    )


def _of_layout(texts: Mapping[str, bytes], machine: str) -> list[Layer]:
    index = _object(texts["index.json"], "index.json")
    manifest = _manifest(texts, index, machine, 0)
    layers = _list(manifest, "layers")
    _blob(texts, _digest(manifest.get("config")))
    for layer in layers:
        kind = layer.get("mediaType") if isinstance(layer, dict) else None
        if isinstance(kind, str) and "encrypted" in kind:
            raise ArchiveError("its layers are encrypted", "decrypt them: skopeo copy --decryption-key")
    digests = [_digest(layer) for layer in layers]
    return [Layer(f"blobs/sha256/{digest}", sha256=digest) for digest in digests]


def _manifest(texts: Mapping[str, bytes], index: dict[str, Any], machine: str, depth: int) -> dict[str, Any]:
    """The manifest of the image that is meant, through indexes of indexes."""
    entries = [entry for entry in _list(index, "manifests") if isinstance(entry, dict)]
    entries = [entry for entry in entries if not _is_attestation(entry)]
    if len(entries) > 1:
        fitting = [entry for entry in entries if _architecture(entry) == machine]
        if len(fitting) != 1:
            there = ", ".join(sorted({_architecture(entry) or "one that is not told" for entry in entries}))
            raise ArchiveError(
                f"it holds {len(entries)} images ({there}), of which {len(fitting)} for this machine",
                "make an archive of one: skopeo copy --override-arch ARCHITECTURE …",
            )
        entries = fitting
    if not entries or depth > _DEEPEST_INDEX:
        raise ArchiveError("its index.json leads to no image", _AGAIN)
    content = _object(_blob(texts, _digest(entries[0])), "a manifest")
    is_index = str(entries[0].get("mediaType", "")).startswith(_INDEXES) or "manifests" in content
    return _manifest(texts, content, machine, depth + 1) if is_index else content


def _of_docker(texts: Mapping[str, bytes]) -> list[Layer]:
    images = _parsed(texts["manifest.json"], "manifest.json")
    if not isinstance(images, list) or not images or not all(isinstance(image, dict) for image in images):
        raise ArchiveError("its manifest.json is damaged", _AGAIN)
    if len(images) > 1:
        tags = ", ".join(
            str(tag) for image in images for tag in image.get("RepoTags") or ["one without a name"]
        )
        raise ArchiveError(f"it holds {len(images)} images: {tags[:200]}", "docker save ONE of them")
    names = _list(images[0], "Layers")
    config_name = images[0].get("Config")
    if not all(isinstance(name, str) for name in names) or not isinstance(config_name, str):
        raise ArchiveError("its manifest.json is damaged", _AGAIN)
    content = texts.get(config_name)
    if content is None:
        raise ArchiveError(f"it lacks its configuration {config_name[:100]!a}", _AGAIN)
    told = re.search(r"[0-9a-f]{64}", config_name)
    if told and hashlib.sha256(content).hexdigest() != told[0]:
        raise ArchiveError("its configuration isn't what its digest says", "download it again")
    rootfs = _object(content, "its configuration").get("rootfs")
    differences = _list(rootfs, "diff_ids") if isinstance(rootfs, dict) else []
    if len(differences) != len(names):
        raise ArchiveError("its manifest.json and its configuration tell of different layers", _AGAIN)
    return [
        Layer(name, unpacked_sha256=_digest({"digest": difference}))
        for name, difference in zip(names, differences, strict=True)
    ]


def _is_attestation(entry: dict[str, Any]) -> bool:
    """BuildKit's notes on how an image was made stand beside it, as if for a machine of their own."""
    return _architecture(entry) == "unknown"


def _architecture(entry: dict[str, Any]) -> str:
    told = entry.get("platform")
    return str(told.get("architecture", "")) if isinstance(told, dict) else ""


def _blob(texts: Mapping[str, bytes], digest: str) -> bytes:
    content = texts.get(f"blobs/sha256/{digest}")
    if content is None:
        raise ArchiveError(f"it lacks blobs/sha256/{digest}", _AGAIN)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ArchiveError(f"blobs/sha256/{digest} isn't what its digest says", "download it again")
    return content


def _digest(descriptor: object) -> str:
    told = descriptor.get("digest") if isinstance(descriptor, dict) else None
    match = _DIGEST.fullmatch(told) if isinstance(told, str) else None
    if match is None:
        raise ArchiveError(f"it has a digest that is none: {str(told)[:80]!a}", _AGAIN)
    return match[1]


def _object(content: bytes, name: str) -> dict[str, Any]:
    found = _parsed(content, name)
    if not isinstance(found, dict):
        raise ArchiveError(f"{name} is damaged: it isn't an object", _AGAIN)
    return found


def _list(found: dict[str, Any], key: str) -> list[Any]:
    value = found.get(key)
    if not isinstance(value, list) or len(value) > _MOST_LAYERS:
        raise ArchiveError(f"its {key} are missing, or too many", _AGAIN)
    return value


def _parsed(content: bytes, name: str) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{name} is damaged: it isn't JSON", _AGAIN) from error
