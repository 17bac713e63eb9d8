"""Container images: layers laid over each other, with what they take away, and digests that have to fit."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.images.importer import import_image
from netbootd.images.store import ImageStore
from tests.images.roots import RELEASE, small_root
from tests.images.test_importer import assert_nothing_published, assert_special_files, special_files, tar_of

pytestmark = pytest.mark.as_root("an image's files belong to many users")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


@pytest.fixture
def base(tmp_path: Path) -> bytes:
    """The lowest layer: a small system with everything that a root may have."""
    root = small_root(tmp_path / "source")
    special_files(root)
    for name in ("opaque", "late", "changed"):
        (root / name / "deep").mkdir(parents=True)
        (root / name / "deep/below").write_text("below")
        (root / name / "below").write_text("below")
    (root / "link").symlink_to("changed")
    return tar_of(root, tmp_path / "base.tar", "--xattrs", "--xattrs-include=*", "-S").read_bytes()


def layer(*members: tuple[str, bytes | None]) -> bytes:
    """An archive of files, and of directories where there is no content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
    return buffer.getvalue()


SECOND = layer(
    ("opaque", None),
    ("opaque/.wh..wh..opq", b""),
    ("opaque/ours", b"ours"),
    ("late/deep/ours", b"ours"),
    ("late/.wh..wh..opq", b""),
    ("changed/.wh.below", b""),
    ("changed/deep", b"a file where a directory was"),
    ("link", None),
    ("link/here", b"a directory where a link was"),
    ("srv/.wh.other", b""),
    (".wh..wh.plnk", b"AUFS's own"),
    ("etc/.wh.nothing", b""),
)
THIRD = layer(("opaque/.wh.ours", b""), ("opaque/again", b"third"))


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def oci(path: Path, layers: list[bytes], kinds: str = "tar") -> Path:
    """An OCI image layout, as its specification has it, the layers' JSON behind them."""
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{sha(each)}" for each in layers]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs})
    blobs = [gzip.compress(each, 1) if kinds == "tar+gzip" else each for each in layers]
    files = {f"blobs/sha256/{sha(blob)}": blob for blob in blobs}
    files[f"blobs/sha256/{sha(config.encode())}"] = config.encode()
    manifest = json.dumps({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": f"sha256:{sha(config.encode())}", "size": len(config)},
        "layers": [{"mediaType": f"application/vnd.oci.image.layer.v1.{kinds}",
                    "digest": f"sha256:{sha(blob)}", "size": len(blob)} for blob in blobs],
    }).encode()  # fmt: skip
    files[f"blobs/sha256/{sha(manifest)}"] = manifest
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["index.json"] = json.dumps({
        "schemaVersion": 2,
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
                       "digest": f"sha256:{sha(manifest)}", "size": len(manifest)}],
    }).encode()  # fmt: skip
    return archive(path, files)


def docker(path: Path, layers: list[bytes]) -> Path:
    """As `docker save` wrote it for years; the layers in another order than they lie over each other."""
    config = json.dumps(
        {"os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(each)}" for each in layers]}}
    ).encode()
    names = [f"{sha(b'%d' % number)}/layer.tar" for number, _ in enumerate(layers)]
    files = dict(reversed(list(zip(names, layers, strict=True))))
    files[f"{sha(config)}.json"] = config
    files["manifest.json"] = json.dumps(
        [{"Config": f"{sha(config)}.json", "RepoTags": ["golden:1"], "Layers": names}]
    ).encode()
    return archive(path, files)


def assert_layers(root: Path) -> None:
    assert [path.name for path in (root / "opaque").iterdir()] == ["again"]
    assert sorted(str(path.relative_to(root)) for path in (root / "late").rglob("*")) == [
        "late/deep",
        "late/deep/ours",
    ]
    assert [path.name for path in (root / "changed").iterdir()] == ["deep"]
    assert (root / "changed/deep").read_text() == "a file where a directory was"
    assert not (root / "link").is_symlink()
    assert (root / "link/here").is_file()
    assert not (root / "srv/other").exists()
    assert (root / "srv/one").read_text() == "linked"
    assert not list(root.rglob(".wh.*"))


FORMS = {
    "an OCI archive": oci,
    "an OCI archive of packed layers": lambda path, layers: oci(path, layers, "tar+gzip"),
    "a docker save archive": docker,
}


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_layers_become_an_image(
    store: ImageStore, base: bytes, tmp_path: Path, form: str, is_packed: bool
) -> None:
    path = FORMS[form](tmp_path / "golden.tar", [base, SECOND, THIRD])
    if is_packed:
        subprocess.run(["gzip", "-1", path], check=True)
        path = path.with_name("golden.tar.gz")
    generation = import_image(store, "golden", path, sha256=sha(path.read_bytes()))
    assert_layers(generation.root)
    assert generation.kernel_release == RELEASE
    assert generation.sha256 == sha(path.read_bytes())


def test_what_a_root_consists_of_survives_a_layer(store: ImageStore, base: bytes, tmp_path: Path) -> None:
    assert_special_files(import_image(store, "golden", oci(tmp_path / "a.tar", [base])).root)


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_what_skopeo_writes_is_read(store: ImageStore, base: bytes, tmp_path: Path, form: str) -> None:
    ours = oci(tmp_path / "ours.tar", [base, SECOND, THIRD], "tar+gzip")
    theirs = tmp_path / "theirs.tar"
    command = ["skopeo", "--insecure-policy", "copy", f"oci-archive:{ours}", f"{form}:{theirs}:golden:1"]
    subprocess.run(command, check=True, capture_output=True)
    assert_layers(import_image(store, "golden", theirs).root)


# What is wrong with it


def changed(path: Path, name: str, content: bytes | None) -> Path:
    """The archive with one of its files, the first whose name has `name` in it, changed or left out."""
    with tarfile.open(path) as tar:
        files = {member.name: (tar.extractfile(member) or io.BytesIO()).read() for member in tar}
    hit = next(key for key in files if name in key)
    del files[hit]
    return archive(path, files if content is None else {hit: content, **files})


def test_a_layer_that_is_not_what_its_digest_says_publishes_nothing(
    store: ImageStore, base: bytes, tmp_path: Path
) -> None:
    for path in (oci(tmp_path / "a.tar", [base, THIRD]), docker(tmp_path / "b.tar", [base, THIRD])):
        name = sha(base) if path.name == "a.tar" else f"{sha(b'0')}/layer.tar"
        other = layer(("bin", None), ("bin/sh", b"another"))
        with pytest.raises(UserError, match="isn't what its digest says"):
            import_image(store, "golden", changed(path, name, other))
        assert_nothing_published(store)


DAMAGES = {
    "a layer is missing": (sha(THIRD), None, "lacks its layer 'blobs/sha256/"),
    "the index is no JSON": ("index.json", b"{", "index.json is damaged"),
    "the index is deep": ("index.json", b"[" * 200_000, "index.json is damaged"),
    "the index lists nothing": ("index.json", b'{"manifests": []}', "leads to no image"),
    "the index lists what is no digest": (
        "index.json",
        b'{"manifests": [{"digest": "sha256:../../etc/shadow"}]}',
        "a digest that is none",
    ),
    "there is no index": ("index.json", None, "neither an index.json nor a manifest.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_container_publishes_nothing(store: ImageStore, tmp_path: Path, damage: str) -> None:
    name, content, why = DAMAGES[damage]
    path = oci(tmp_path / "a.tar", [SECOND, THIRD])
    with pytest.raises(UserError, match=why):
        import_image(store, "golden", changed(path, name, content))
    assert_nothing_published(store)


def test_a_layer_can_not_take_away_what_is_outside(store: ImageStore, base: bytes, tmp_path: Path) -> None:
    target = tmp_path / "head"
    target.mkdir()
    (target / "kept").write_text("kept")
    for evil in (layer(("../.wh.kept", b"")), layer(("a/.wh...", b"")), layer(("/.wh.kept", b""))):
        with pytest.raises(UserError, match="can't be imported"):
            import_image(store, "golden", oci(tmp_path / "a.tar", [base, evil]))
        assert_nothing_published(store)
    through = tarfile.TarInfo("out")
    through.type, through.linkname = tarfile.SYMTYPE, str(target)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(through)
        tar.addfile(tarfile.TarInfo("out/.wh.kept"))
    import_image(store, "golden", oci(tmp_path / "a.tar", [base, buffer.getvalue()]))
    assert (target / "kept").exists()


def test_an_image_without_a_kernel_says_so(store: ImageStore, tmp_path: Path, base: bytes) -> None:
    away = layer((f"boot/.wh.vmlinuz-{RELEASE}", b""))
    with pytest.raises(UserError, match="no kernel found in the image"):
        import_image(store, "golden", oci(tmp_path / "a.tar", [base, away]))
    assert_nothing_published(store)


def test_it_is_cut_short(store: ImageStore, tmp_path: Path, base: bytes) -> None:
    path = oci(tmp_path / "a.tar", [base, THIRD])
    subprocess.run(["gzip", "-1k", path], check=True)
    for each in (path, path.with_name("a.tar.gz")):
        os.truncate(each, each.stat().st_size // 2)
        with pytest.raises(UserError, match="cut short"):
            import_image(store, "golden", each)
        assert_nothing_published(store)
