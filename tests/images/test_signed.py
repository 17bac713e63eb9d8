"""The loaders that an image brings, wherever its distribution puts them."""

import os
from pathlib import Path

import pytest

from netbootd.images import signed

DEBIAN = {
    "usr/lib/shim/shimx64.efi.signed": "shim",
    "usr/lib/shim/shimx64.efi": "shim without a signature",
    "usr/lib/shim/mmx64.efi.signed": "mm",
    "usr/lib/shim/mmx64.efi": "mm without a signature",
    "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed": "grub",
    "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed": "the disk's grub",
    "usr/lib/grub/x86_64-efi/monolithic/grubnetx64.efi": "grub without a signature",
}
UBUNTU = {
    "usr/lib/shim/shimx64.efi.signed.latest": "shim",
    "usr/lib/shim/shimx64.efi.signed.previous": "old",
    "usr/lib/shim/mmx64.efi": "mm",
    "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed": "grub",
}
FEDORA = {
    "boot/efi/EFI/BOOT/BOOTX64.EFI": "shim under another name",
    "boot/efi/EFI/fedora/shimx64.efi": "shim",
    "boot/efi/EFI/fedora/mmx64.efi": "mm",
    "boot/efi/EFI/fedora/grubx64.efi": "grub",
}
CHAIN = {"shimx64.efi": "shim", "mmx64.efi": "mm", "grubx64.efi": "grub"}


def _made(tmp_path: Path, files: dict[str, str]) -> tuple[Path, Path]:
    root, boot = tmp_path / "root", tmp_path / "boot"
    boot.mkdir()
    root.mkdir()
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root, boot


def _brought(boot: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in boot.glob("loaders/*")}


@pytest.mark.parametrize("files", [DEBIAN, UBUNTU, FEDORA], ids=["Debian", "Ubuntu", "Fedora"])
def test_the_signed_chain_comes_under_the_names_that_shim_asks_for(
    tmp_path: Path, files: dict[str, str]
) -> None:
    root, boot = _made(tmp_path, files)
    assert signed.collect(root, "x86_64", boot) == tuple(sorted(CHAIN))
    assert _brought(boot) == CHAIN


def test_an_arm64_image_brings_what_an_amd64_head_node_has_no_package_for(tmp_path: Path) -> None:
    root, boot = _made(
        tmp_path,
        {
            "usr/lib/grub/arm64-efi/monolithic/grubnetaa64.efi": "grub",
            "usr/lib/ipxe/ipxe-arm64.efi": "ipxe",
            "usr/lib/ipxe/ipxe-amd64.efi": "not for this machine",
        },
    )
    assert signed.collect(root, "aarch64", boot) == ("grubaa64.efi", "ipxe-arm64.efi")
    assert _brought(boot) == {"grubaa64.efi": "grub", "ipxe-arm64.efi": "ipxe"}


def test_shim_stays_where_the_grub_beside_it_is_not_signed(tmp_path: Path) -> None:
    """It would start nothing."""
    files = {name: text for name, text in DEBIAN.items() if "efi-signed" not in name}
    root, boot = _made(tmp_path, files)
    assert signed.collect(root, "x86_64", boot) == ("grubx64.efi",)


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64", "s390x", ""])
def test_an_image_without_any_brings_none(tmp_path: Path, architecture: str) -> None:
    root, boot = _made(tmp_path, {"usr/lib/os-release": "x"})
    assert signed.collect(root, architecture, boot) == ()
    assert not (boot / "loaders").exists()


def test_links_and_pipes_of_an_image_lead_nowhere(tmp_path: Path) -> None:
    root, boot = _made(tmp_path, {"usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed": "grub"})
    (tmp_path / "secret").write_text("the head node's")
    (root / "usr/lib/shim").mkdir()
    (root / "usr/lib/shim/shimx64.efi.signed").symlink_to("../../../../../../secret")
    os.mkfifo(root / "usr/lib/shim/mmx64.efi.signed")
    assert signed.collect(root, "x86_64", boot) == ("grubx64.efi",)


def test_what_is_too_large_to_be_a_loader_is_left(tmp_path: Path) -> None:
    root, boot = _made(tmp_path, DEBIAN)
    with (root / "usr/lib/shim/mmx64.efi.signed").open("ab") as file:
        file.truncate(100 << 20)
    assert signed.collect(root, "x86_64", boot) == ("grubx64.efi", "shimx64.efi")
