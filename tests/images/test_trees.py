"""Trees of files, and what is mounted in them."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.as_root("it mounts")
@pytest.mark.needs("unshare")
def test_whatever_line_end_a_mount_points_name_has_it_is_found_and_others_are(tmp_path: Path) -> None:
    names = ["a\x0cb", "a\u2028b", "a\x85b", "a\rb", "a\nb", "plain"]
    script = (
        "import subprocess, sys; from pathlib import Path; from netbootd.images.trees import mounts_under\n"
        "points = [Path(sys.argv[1], name) for name in sys.argv[2:]]\n"
        "for point in points:\n"
        "    point.mkdir()\n"
        "    subprocess.run(['mount', '-t', 'tmpfs', 'none', point], check=True)\n"
        "assert mounts_under(Path(sys.argv[1])) == points[::-1], mounts_under(Path(sys.argv[1]))\n"
    )
    command = ["unshare", "--mount", sys.executable, "-c", script, str(tmp_path.resolve()), *names]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
