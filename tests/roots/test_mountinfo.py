"""/proc/self/mountinfo, as the kernel writes it."""

from pathlib import Path

from netbootd.roots.mountinfo import holding, parse, top

LINES = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
48 27 0:41 / /srv/a\\040b/root rw,nosuid,nodev,noexec,relatime shared:9 - overlay netbootd-root rw,\
lowerdir=/l,upperdir=/srv/a\\040b/upper,index=on,nfs_export=on
49 48 0:42 / /srv/a\\040b/root rw,relatime - tmpfs tmp\\134fs rw,size=1k
odd
50 27 0:43 / /short rw - tmpfs
51 27 0:44 / /srv/comma rw,relatime - fuse.sshfs me@host:/x\\054y rw,user_id=0
"""


def test_points_kinds_and_options_are_read_with_their_octal_escapes() -> None:
    mounts = parse(LINES)
    assert [str(mount.point) for mount in mounts] == [
        *("/proc", "/", "/srv/a b/root", "/srv/a b/root", "/srv/comma")
    ]
    overlay = mounts[2]
    assert (overlay.kind, overlay.source) == ("overlay", "netbootd-root")
    assert overlay.flags == {"rw", "nosuid", "nodev", "noexec", "relatime"}
    assert overlay.options["upperdir"] == "/srv/a b/upper"
    assert overlay.options["index"] == "on"
    assert overlay.options["rw"] == ""
    assert mounts[3].source == "tmp\\fs"


def test_of_two_at_one_point_the_later_is_seen() -> None:
    mounts = parse(LINES)
    seen = top(mounts, Path("/srv/a b/root"))
    assert seen is not None and seen.kind == "tmpfs"
    assert top(mounts, Path("/srv/a b")) is None


def test_a_path_lies_on_the_deepest_mount_above_it() -> None:
    mounts = parse(LINES)
    for path, kind in (
        ("/srv/a b/root/x", "tmpfs"),
        ("/srv/a b/upper", "ext4"),
        ("/srv/comma", "fuse.sshfs"),
    ):
        found = holding(mounts, Path(path))
        assert found is not None and found.kind == kind


def test_this_machines_own_is_read_whole() -> None:
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    assert len(parse(text)) == len(text.splitlines())


def test_a_line_end_in_the_name_of_a_mount_point_begins_no_line() -> None:
    mounts = parse("50 27 0:43 / /home/u/a\x0cb\u2028c\x85d\re rw - fuse.x 1 rw\n" + LINES)
    assert mounts[0].point == Path("/home/u/a\x0cb\u2028c\x85d\re")
    assert mounts[1:] == parse(LINES)
