"""The initrd's tools, taken from roots made of this machine's own programs, and run where they were put."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from netbootd.errors import UserError
from netbootd.images import programs
from tests.images import elf_files
from tests.images.roots import put, small_root

PLAIN = ("dash", "mount", "umount", "mkdir", "rm", "cp", "mv", "cat", "readlink", "sleep", "ip", "chroot")


def with_tools(root: Path, *names: str) -> Path:
    """A root with these programs of this machine, and the libraries that ldd finds for them."""
    for name in names:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} isn't installed")
        put(root, f"usr/bin/{name}", Path(found).resolve().read_bytes(), 0o755)
        for library in libraries(found):
            put(root, library.lstrip("/"), Path(library).read_bytes(), 0o755)
    return root


def libraries(program: str) -> list[str]:
    said = subprocess.run(
        ["ldd", shutil.which(program) or program], capture_output=True, text=True, check=False
    ).stdout
    return re.findall(r"(/\S+) \(0x", said)


def without_busybox(root: Path) -> Path:
    """A root with the tools of util-linux, coreutils, kmod and iproute2; sh is dash."""
    with_tools(root, *PLAIN, "kmod", "switch_root")
    (root / "usr/sbin").mkdir()
    (root / "bin").symlink_to("usr/bin")
    (root / "sbin").symlink_to("usr/sbin")
    (root / "usr/bin/sh").symlink_to("dash")
    (root / "usr/sbin/insmod").symlink_to("/bin/kmod")
    return root


def unpack(found: programs.Programs, where: Path) -> Path:
    for path, content in found.files.items():
        put(where, path, content, 0o755)
    for path, target in found.links.items():
        (where / path).symlink_to(target)
    for name in ("lib", "lib64"):
        (where / f"usr/{name}").mkdir(exist_ok=True)
        (where / name).symlink_to(f"usr/{name}")
    return where


def run(where: Path, *command: str) -> subprocess.CompletedProcess[str]:
    words = ["unshare", "--user", "--map-root-user", "chroot", str(where), *command]
    return subprocess.run(words, capture_output=True, text=True, check=False)


needs_user_namespaces = pytest.mark.skipif(
    subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode != 0,
    reason="user namespaces aren't allowed here",
)


def test_busybox_is_all_that_is_taken_where_there_is_one(tmp_path: Path) -> None:
    found = programs.collect(small_root(tmp_path))
    assert found.shell == "busybox"
    assert found.reports
    assert set(found.links.values()) == {"busybox"}
    assert {f"usr/bin/{tool}" for tool in programs.TOOLS} <= set(found.links)


@needs_user_namespaces
@pytest.mark.needs("chroot")
def test_busybox_runs_from_the_initrd(tmp_path: Path) -> None:
    where = unpack(programs.collect(small_root(tmp_path / "root")), tmp_path / "initrd")
    assert (
        run(where, "/usr/bin/sh", "-c", "mkdir /a && cp /usr/bin/sh /a && readlink /lib").stdout
        == "usr/lib\n"
    )


@needs_user_namespaces
def test_without_busybox_every_tool_runs_from_the_initrd_with_its_libraries(tmp_path: Path) -> None:
    found = programs.collect(without_busybox(tmp_path / "root"))
    assert found.shell == "dash"
    where = unpack(found, tmp_path / "initrd")
    for tool in (tool for tool in programs.TOOLS if tool not in ("sh", "sleep", "cp")):
        said = run(where, f"/usr/bin/{tool}", "--help")
        assert "error while loading" not in said.stderr, tool
        assert said.returncode != 127, tool
    assert run(where, "/usr/bin/sh", "-c", "cp /usr/bin/ip /copy && sleep 0 && echo done").stdout == "done\n"


def test_the_libraries_are_those_that_ldd_finds(tmp_path: Path) -> None:
    found = programs.collect(without_busybox(tmp_path))
    expected = {Path(path).name for tool in (*PLAIN, "kmod", "switch_root") for path in libraries(tool)}
    assert {Path(path).name for path in found.files if ".so" in Path(path).name} == expected


def test_all_missing_tools_are_named_at_once(tmp_path: Path) -> None:
    root = without_busybox(tmp_path)
    (root / "usr/bin/ip").unlink()
    (root / "usr/bin/mount").unlink()
    with pytest.raises(UserError, match=r"no mount, no ip; install busybox"):
        programs.collect(root)


def test_what_busybox_lacks_comes_from_the_images_other_programs(tmp_path: Path) -> None:
    root = small_root(tmp_path)
    busybox = root / "bin/busybox"
    busybox.write_bytes(busybox.read_bytes().replace(b"\0switch_root\0", b"\0switch_rxxt\0"))
    with pytest.raises(UserError, match="no switch_root"):
        programs.collect(root)
    with_tools(root, "switch_root")
    found = programs.collect(root)
    assert "usr/bin/switch_root" in found.files
    assert "usr/bin/switch_root" not in found.links


def test_bash_comes_along_where_nothing_else_fetches(tmp_path: Path) -> None:
    plain = with_tools(without_busybox(tmp_path / "plain"), "bash")
    found = programs.collect(plain)
    assert "usr/bin/bash" in found.files
    assert found.reports
    where = unpack(found, tmp_path / "initrd")
    assert (where / "usr/bin/bash").read_bytes() == (plain / "usr/bin/bash").read_bytes()
    with_busybox = with_tools(small_root(tmp_path / "small"), "bash")
    assert "usr/bin/bash" not in programs.collect(with_busybox).files


def test_a_missing_library_is_named_with_its_user(tmp_path: Path) -> None:
    root = small_root(tmp_path)
    libc = next(path for path in root.rglob("libc.so.6"))
    libc.unlink()
    with pytest.raises(UserError, match=r"busybox needs the library libc\.so\.6"):
        programs.collect(root)


def test_a_library_of_another_machine_is_passed_over(tmp_path: Path) -> None:
    root = small_root(tmp_path)
    put(root, "etc/ld.so.conf", "include ld.so.conf.d/*.conf\n# comment\n")
    put(root, "etc/ld.so.conf.d/other.conf", "/opt/other\n")
    put(root, "opt/other/libc.so.6", elf_files.program(machine=elf_files.ARM, bits=32))
    real = next(path for path in root.rglob("libc.so.6") if "opt" not in path.parts)
    found = programs.collect(root)
    assert real.read_bytes() in found.files.values()


def test_configured_directories_are_searched_first(tmp_path: Path) -> None:
    """As by ld.so with its cache; a library from there lies beside libc, where the initrd's loader looks."""
    root = small_root(tmp_path)
    libc = next(path for path in root.rglob("libc.so.6"))
    put(root, "etc/ld.so.conf", "/opt/own\n")
    libc.parent.joinpath("libresolv.so.2").unlink(missing_ok=True)
    put(
        root,
        "opt/own/libresolv.so.2",
        Path(next(p for p in libraries(BUSYBOX) if "libresolv" in p)).read_bytes(),
    )
    assert "opt/own/libresolv.so.2" not in programs.collect(root).files
    assert any(path.endswith("/libresolv.so.2") for path in programs.collect(root).files)


BUSYBOX = shutil.which("busybox") or "busybox"


def test_nothing_outside_the_image_is_taken(tmp_path: Path) -> None:
    root = small_root(tmp_path / "root")
    put(tmp_path, "outside/ip", "not ours")
    busybox = root / "bin/busybox"
    busybox.write_bytes(busybox.read_bytes().replace(b"\0ip\0", b"\0qq\0"))
    (root / "usr/bin").mkdir()
    (root / "usr/bin/ip").symlink_to("../../../outside/ip")
    with pytest.raises(UserError, match="no ip"):
        programs.collect(root)


def test_a_tool_of_absurd_size_is_refused(tmp_path: Path) -> None:
    root = small_root(tmp_path)
    with (root / "bin/busybox").open("r+b") as busybox:
        busybox.truncate(1 << 40)
    with pytest.raises(UserError, match="no tool for a small initrd"):
        programs.collect(root)


def test_a_script_in_place_of_a_tool_is_refused(tmp_path: Path) -> None:
    root = without_busybox(tmp_path)
    put(root, "usr/bin/ip", "#!/bin/sh\n", 0o755)
    with pytest.raises(UserError, match="no program but a script"):
        programs.collect(root)
