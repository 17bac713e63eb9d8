"""The rules of the house, read off the syntax trees: who may import whom, and what no pure module touches."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "netbootd"
MODULES = sorted(PACKAGE.rglob("*.py"))

LIBRARY_OWNERS = {
    "scapy": {"netbootd.dhcp.wire"},
    "tftpy": {"netbootd.tftp.wire"},
    "jinja2": {"netbootd.render"},
    "pyroute2": {"netbootd.links"},
    "systemd": {"netbootd.service_manager"},
    "pydantic": {"netbootd.config"},
    "pydantic_core": {"netbootd.config"},
    "aiohttp": {"netbootd.web"},
    "yaml": {"netbootd.exchange.yaml_file"},
    "typer": {"netbootd.ctl"},
    "click": {"netbootd.ctl"},
    "rich": {"netbootd.ctl"},
}
MODEL = {
    "errors",
    "node",
    "network",
    "image",
    "lease",
    "settings",
    "contents",
    "stage",
    "asset",
    "toml_lines",
    "variables",
}
SIMULATED = {
    *(
        "play",
        "frames",
        "station",
        "dhcp",
        "tftp",
        "tcp",
        "http",
        "contents",
        "kernel",
        "discovers",
        "boards",
    ),
    *(
        "raspberrypi",
        "pi_config",
        "pi_dhcp",
        "uboot",
        "parallella",
        "extlinux",
        "edk2",
        "bios",
        "shim",
        "pxelinux",
    ),
    *("grub", "grub_script", "grub_run", "ipxe", "ipxe_script", "linux"),
}
PURE = {
    *(f"netbootd.{name}" for name in MODEL),
    "netbootd.boot",
    "netbootd.dhcp.option_table",
    "netbootd.dhcp.option_types",
    "netbootd.dhcp.options",
    "netbootd.dhcp.parameters",
    "netbootd.dhcp.reservation",
    "netbootd.dhcp.leasebook",
    "netbootd.dhcp.destination",
    "netbootd.dhcp.selection",
    "netbootd.dhcp.proxy",
    "netbootd.dhcp.paste",
    "netbootd.dhcp.throttle",
    "netbootd.tftp.options",
    "netbootd.tftp.session",
    "netbootd.exchange",
    "netbootd.nfs.exports",
    "netbootd.roots.accounts",
    "netbootd.roots.desired",
    "netbootd.roots.identity",
    "netbootd.roots.mountinfo",
    "netbootd.roots.overlay",
    "netbootd.roots.summary",
    "netbootd.files.tree",
    "netbootd.files.block",
    "netbootd.files.cluster",
    "netbootd.images.apt",
    "netbootd.images.build_log",
    "netbootd.images.openpgp",
    "netbootd.images.progress",
    "netbootd.images.recipe",
    *(f"netbootd.images.suites.{name}" for name in ("choose", "debian", "distribution", "raspios", "ubuntu")),
    "netbootd.images.cards",
    "netbootd.images.disks.elevator",
    "netbootd.images.disks.ext4",
    "netbootd.images.disks.ext4_reader",
    "netbootd.images.disks.fat",
    "netbootd.images.disks.filesystems",
    "netbootd.images.disks.journal",
    "netbootd.images.disks.partitions",
    "netbootd.images.disks.parts",
    "netbootd.images.driver_tables",
    "netbootd.images.elf",
    "netbootd.images.checksums",
    "netbootd.images.iso9660",
    "netbootd.images.layers",
    "netbootd.images.tar_stream",
    *(f"netbootd.simulate.{name}" for name in SIMULATED),
}
IMPURE_LIBRARIES = {
    *("socket", "os", "sqlite3", "logging", "time", "asyncio", "subprocess", "threading", "select", "fcntl"),
    *("random", "secrets", "shutil", "tempfile", "signal", "ctypes", "urllib", "http"),
}


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> Iterator[str]:
    """Every module that the file imports, also inside functions, but not for type checking alone."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if _is_module(inner) else module


def _is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return name.startswith("netbootd.") and (path.with_suffix(".py").exists() or path.is_dir())


def _within(name: str, owners: set[str]) -> bool:
    return any(name == owner or name.startswith(owner + ".") for owner in owners)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_each_library_has_one_importer(path: Path) -> None:
    for imported in _imports(path):
        owners = LIBRARY_OWNERS.get(imported.partition(".")[0])
        assert owners is None or _within(_name(path), owners), f"{_name(path)} imports {imported}"


@pytest.mark.parametrize("path", [p for p in MODULES if _within(_name(p), PURE)], ids=_name)
def test_a_pure_module_touches_nothing_outside(path: Path) -> None:
    for imported in _imports(path):
        assert imported.partition(".")[0] not in IMPURE_LIBRARIES, f"{_name(path)} imports {imported}"
        assert not imported.endswith(".server"), f"{_name(path)} imports {imported}"
        if imported.startswith("netbootd."):
            known_pure = _within(imported, PURE | {"netbootd.dhcp.wire", "netbootd.tftp.wire"})
            assert known_pure, f"pure {_name(path)} imports {imported}, which isn't"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_point_one_way(path: Path) -> None:
    name = _name(path)
    for imported in _imports(path):
        if _within(name, {f"netbootd.{m}" for m in MODEL}) and imported.startswith("netbootd."):
            assert _within(imported, {f"netbootd.{m}" for m in MODEL}), (
                f"the model, {name}, imports {imported}"
            )
        if not _within(name, {"netbootd.ctl"}):
            assert not _within(imported, {"netbootd.ctl"}), f"{name} imports {imported}"
        if not _within(name, {"netbootd.ctl", "netbootd.simulate"}):
            assert not _within(imported, {"netbootd.simulate"}), f"{name} imports {imported}"
        if imported in ("netbootd.daemon", "netbootd.__main__"):
            assert name == "netbootd.__main__", f"{name} imports {imported}"
        for door, others in (("dhcp", ("tftp", "web")), ("tftp", ("dhcp", "web")), ("web", ("dhcp", "tftp"))):
            if _within(name, {f"netbootd.{door}"}):
                assert not _within(imported, {f"netbootd.{o}" for o in others}), f"{name} imports {imported}"
        if _within(name, {"netbootd.boot"}):
            assert not _within(imported, {"netbootd.dhcp", "netbootd.tftp", "netbootd.web"}), (
                f"{name} imports {imported}"
            )


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_nothing_is_caught_wholesale(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            reraises = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
            assert reraises or caught not in ("everything", "Exception", "BaseException"), (
                f"{_name(path)}:{node.lineno}"
            )


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    """A rule that finds nothing anywhere would pass too."""
    assert "netbootd.tftp.wire" in {
        _name(p) for p in MODULES if "tftpy" in {i.partition(".")[0] for i in _imports(p)}
    }
    sample = tmp_path / "sample.py"
    sample.write_text("def f() -> None:\n    import socket\n    from netbootd import daemon\n")
    assert set(_imports(sample)) == {"socket", "netbootd.daemon"}
