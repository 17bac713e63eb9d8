"""Which roots must be mounted, and what that takes, as a table of situations."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netbootd.node import Booted, Mac, Node, RootMode
from netbootd.roots.desired import (
    Difference,
    Discard,
    Kept,
    Make,
    MountRoot,
    Present,
    UnmountRoot,
    difference,
    overlay_of,
    users,
)
from netbootd.roots.mountinfo import Mount
from netbootd.roots.overlay import FLAGS, SOURCE

ROOTS = Path("/state/roots")
ONE, TWO = Path("/state/images/debian/1/root"), Path("/state/images/debian/2/root")
GENERATIONS = {("debian", 1): ONE, ("debian", 2): TWO}
DEFAULTS = {"index": "off", "nfs_export": "off"}


def node(number: int, *, image: str | None = "debian", root: RootMode = RootMode.PERSISTENT) -> Node:
    return Node(
        name=f"n{number}",
        macs=(Mac.from_octets(bytes([0x52, 0x54, 0, 0, 0, number])),),
        address=IPv4Address("10.77.0.0") + number,
        machine_id=f"{number:032x}",
        image=image,
        root=root,
    )


N1 = node(1)
HOME = ROOTS / N1.machine_id


def mounted(lower: Path = ONE, machine_id: str = N1.machine_id, **changed: str) -> Mount:
    overlay = overlay_of(ROOTS, machine_id, lower)
    options = {"rw": "", **overlay.options, "uuid": "on", **changed}
    return Mount(overlay.point, "overlay", SOURCE, FLAGS | {"rw", "relatime"}, options)


def found(
    needed: Mapping[str, Node] | None = None,
    *,
    kept: Mapping[str, Kept] | None = None,
    mounts: tuple[Mount, ...] = (),
    current: Mapping[str, int] | None = None,
    failed: tuple[str, ...] = (),
) -> Difference:
    present = Present(
        kept=kept or {},
        mounts=mounts,
        generations=GENERATIONS,
        current={"debian": 2} if current is None else current,
        defaults=DEFAULTS,
    )
    return difference({N1.machine_id: N1} if needed is None else needed, present, ROOTS, failed)


OVER_ONE = {N1.machine_id: Kept(over=("debian", 1))}


def test_a_first_root_is_made_over_the_current_generation_and_mounted() -> None:
    make, mount = found().before
    assert make == Make(HOME, N1.machine_id, ("debian", 2), TWO)
    assert mount == MountRoot(N1.machine_id, overlay_of(ROOTS, N1.machine_id, TWO))
    assert found().serving == {N1.machine_id: HOME / "root"}


def test_a_root_stays_over_its_generation_though_another_is_current() -> None:
    (mount,) = found(kept=OVER_ONE).before
    assert mount == MountRoot(N1.machine_id, overlay_of(ROOTS, N1.machine_id, ONE))


def test_nothing_is_done_where_all_is_mounted() -> None:
    done = found(kept=OVER_ONE, mounts=(mounted(),))
    assert (done.before, done.after) == ((), ())
    assert done.serving == {N1.machine_id: HOME / "root"}


def test_settings_that_are_the_kernels_default_needn_t_be_shown() -> None:
    mount = mounted()
    shown = {key: value for key, value in mount.options.items() if key not in ("index", "nfs_export")}
    silent = replace(mount, options=shown)
    overlay = overlay_of(ROOTS, N1.machine_id, ONE)
    assert not overlay.is_mounted_as(silent, DEFAULTS)
    assert overlay.is_mounted_as(silent, {"index": "on", "nfs_export": "on"})


def test_a_view_of_the_file_systems_in_which_it_is_read_only_is_no_reason_to_export_nothing() -> None:
    """ReadOnlyPaths= makes it so for netbootd-apply.service."""
    view = replace(mounted(), flags=FLAGS | {"ro"})
    assert found(kept=OVER_ONE, mounts=(view,)).serving == {N1.machine_id: HOME / "root"}


@pytest.mark.parametrize(
    "stranger",
    [
        mounted(TWO),
        mounted(index="off"),
        mounted(redirect_dir="on"),
        replace(mounted(), kind="tmpfs"),
        replace(mounted(), flags=frozenset({"rw", "relatime"})),
        replace(mounted(), options={k: v for k, v in mounted().options.items() if k != "rw"} | {"ro": ""}),
    ],
    ids=["another-generation", "no-index", "redirects", "no-overlay", "setuid", "read-only"],
)
def test_what_is_mounted_otherwise_is_not_served_and_goes_first(stranger: Mount) -> None:
    done = found(kept=OVER_ONE, mounts=(stranger,))
    assert (done.before, done.serving) == ((), {})
    assert done.after == (UnmountRoot(HOME / "root"),)


def test_a_root_that_could_not_be_mounted_is_neither_tried_again_nor_served() -> None:
    done = found(kept=OVER_ONE, failed=(N1.machine_id,))
    assert (done.before, done.serving) == ((), {})


def test_a_reset_takes_the_root_away_and_the_next_look_makes_it_anew() -> None:
    ordered = {N1.machine_id: Kept(over=("debian", 1), resetting=True)}
    done = found(kept=ordered, mounts=(mounted(),))
    assert (done.before, done.serving) == ((), {})
    assert done.after == (UnmountRoot(HOME / "root"), Discard(HOME))
    assert isinstance(found().before[0], Make)


def test_what_nobody_uses_is_unmounted_and_kept_unless_it_is_empty() -> None:
    assert found({}, kept=OVER_ONE, mounts=(mounted(),)).after == (UnmountRoot(HOME / "root"),)
    empty = {N1.machine_id: Kept(over=("debian", 1), empty=True)}
    assert found({}, kept=empty).after == (Discard(HOME),)
    assert found(kept=empty, mounts=(mounted(),)).after == ()


def test_of_two_mounts_at_one_place_the_upper_one_goes_first() -> None:
    over = replace(mounted(), point=HOME / "root" / "dev")
    assert found({}, kept=OVER_ONE, mounts=(mounted(), over)).after == (
        UnmountRoot(HOME / "root" / "dev"),
        UnmountRoot(HOME / "root"),
    )


def test_a_mount_elsewhere_is_nobodys_business() -> None:
    elsewhere = replace(mounted(), point=Path("/state/rootsandmore/x"))
    assert found({}, mounts=(elsewhere, replace(elsewhere, point=ROOTS))).after == ()


@pytest.mark.parametrize("place", [HOME, HOME / "changes", HOME / "changes/root"])
def test_a_disk_that_an_admin_mounted_for_a_nodes_changes_stays(place: Path) -> None:
    disk = Mount(place, "ext4", "/dev/sdb1", frozenset({"rw"}), {})
    assert found(kept=OVER_ONE, mounts=(disk, mounted())).after == ()
    assert found({}, kept=OVER_ONE, mounts=(disk, mounted())).after == (UnmountRoot(HOME / "root"),)


def test_a_node_without_an_image_has_no_root_yet() -> None:
    bare = node(2, image=None)
    assert found({bare.machine_id: bare}) == Difference()
    assert found(current={}) == Difference()


def test_a_root_whose_generation_is_gone_is_named_with_what_to_do() -> None:
    done = found(kept={N1.machine_id: Kept(over=("debian", 7))})
    assert (done.before, done.serving) == ((), {})
    assert "debian@7" in done.warnings[0] and "netbootctl node reset n1" in done.warnings[0]
    assert "generation" in found(kept={N1.machine_id: Kept(over=None)}).warnings[0]


def test_roots_are_for_persistent_nodes_and_those_that_still_run_on_theirs() -> None:
    nodes = [node(1), *(node(number, root=RootMode.OVERLAY) for number in (2, 3)), node(4, root=RootMode.RAM)]
    booted = {
        "n2": Booted("debian", 1, RootMode.PERSISTENT),
        "n3": Booted("debian", 1, RootMode.OVERLAY),
        "n4": Booted("debian", 1, RootMode.PERSISTENT),
    }
    assert [each.name for each in users(nodes, booted).values()] == ["n1", "n2", "n4"]
