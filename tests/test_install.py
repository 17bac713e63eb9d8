"""`make install` and `make uninstall`, for real, into a staging directory."""

import shutil
import subprocess
from pathlib import Path

import pytest

from netbootd.config import load
from netbootd.errors import ConfigError

CHECKOUT = Path(__file__).parent.parent
CONFIG = "etc/netbootd/netbootd.toml"

pytestmark = [pytest.mark.slow, pytest.mark.needs("make")]


def make(target: str, destination: Path, *words: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", target, f"DESTDIR={destination}", *words],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(directory: Path) -> set[str]:
    """All but directories, as paths below `directory`."""
    return {
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def outside(found: set[str]) -> set[str]:
    """What doesn't lie in the virtual environment."""
    return {path for path in found if not path.startswith("usr/local/lib/netbootd/")}


def in_environment(environment: Path, script: str) -> str:
    """Run Python of the virtual environment; -I: the checkout that we stand in doesn't count."""
    command = [f"{environment}/bin/python", "-I", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make install` makes; the virtual environment takes its time, so once for all tests."""
    destination = tmp_path_factory.mktemp("made")
    make("install", destination)
    return destination


@pytest.fixture
def installed(made_once: Path, tmp_path: Path) -> Path:
    """A copy of it for this test."""
    return shutil.copytree(made_once, tmp_path / "installed", symlinks=True)


def test_all_that_is_put_in_place_is_taken_away_again_and_the_state_is_kept(installed: Path) -> None:
    assert outside(files(installed)) == {
        "etc/fish/completions/netbootctl.fish",
        "etc/netbootd/netbootd.toml",
        "usr/local/bin/netbootctl",
        "usr/local/bin/netbootd",
        "usr/local/lib/systemd/system/netbootd-apply.path",
        "usr/local/lib/systemd/system/netbootd-apply.service",
        "usr/local/lib/systemd/system/netbootd-ganesha.service",
        "usr/local/lib/systemd/system/netbootd-roots.service",
        "usr/local/lib/systemd/system/netbootd.service",
        "usr/local/lib/sysusers.d/netbootd.conf",
        "usr/local/lib/tmpfiles.d/netbootd.conf",
        "usr/local/share/bash-completion/completions/netbootctl",
        "usr/local/share/zsh/site-functions/_netbootctl",
    }
    state = installed / "var/lib/netbootd/registry/registry.db"
    state.parent.mkdir(parents=True)
    state.write_text("the nodes")
    said = make("uninstall", installed)
    assert files(installed) == {"var/lib/netbootd/registry/registry.db"}
    assert state.read_text() == "the nodes"
    assert "kept: /var/lib/netbootd" in said


def test_the_commands_are_whole_and_name_no_staging_directory(made_once: Path) -> None:
    assert (made_once / "usr/local/bin/netbootd").readlink() == Path("/usr/local/lib/netbootd/bin/netbootd")
    environment = made_once / "usr/local/lib/netbootd"
    for name in ("bin/netbootd", "bin/netbootctl", "bin/activate", "pyvenv.cfg"):
        assert str(made_once) not in (environment / name).read_text(), name
    assert (environment / "bin/netbootd").read_text().startswith("#!/usr/local/lib/netbootd/bin/python")
    ask = "import sys; from netbootd.ctl import main; sys.exit(main(['--version']))"
    assert in_environment(environment, ask).startswith("netbootd ")
    ask = "from netbootd.render import packaged_templates; print(packaged_templates())"
    templates = Path(in_environment(environment, ask).strip())
    assert templates.is_relative_to(environment), "its own copy, not the checkout's"
    assert {path.name for path in templates.iterdir()} == {p.name for p in (CHECKOUT / "templates").iterdir()}


def test_the_configuration_put_in_place_lacks_an_interface_and_nothing_else(made_once: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(made_once / CONFIG)
    assert len(caught.value.problems) == 1
    assert "[[network]]" in caught.value.problems[0]


@pytest.mark.needs("bash")
def test_tab_completes_commands_in_bash(made_once: Path, tmp_path: Path) -> None:
    """With a command of that name in PATH, as it will be once the tree lies at its place."""
    command = tmp_path / "netbootctl"
    python = made_once / "usr/local/lib/netbootd/bin/python"
    command.write_text(f"#!/bin/sh\nexec {python} -I -c 'from netbootd.ctl import main; main()' \"$@\"\n")
    command.chmod(0o755)
    script = (
        f"PATH={tmp_path}:$PATH; . {made_once}/usr/local/share/bash-completion/completions/netbootctl;"
        'COMP_WORDS=(netbootctl ap); COMP_CWORD=1; _netbootctl_completion netbootctl; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "apply\n", done.stderr


def test_tab_completes_commands_in_zsh(made_once: Path) -> None:
    """compinit looks for the name of the command in the first line of a file and nowhere else."""
    text = (made_once / "usr/local/share/zsh/site-functions/_netbootctl").read_text()
    assert text.startswith("#compdef netbootctl\n")


def test_installing_again_follows_a_new_version_where_nothing_was_edited(installed: Path) -> None:
    config = installed / CONFIG
    fresh = config.read_text()
    for path in (config, installed / "usr/local/lib/netbootd/netbootd.toml.installed"):
        path.write_text("# of an older version\n")
    before = files(installed)
    make("install", installed)
    assert config.read_text() == fresh
    assert outside(files(installed)) == outside(before)


def test_what_was_edited_stays_at_an_upgrade_and_when_netbootd_goes(installed: Path) -> None:
    config = installed / CONFIG
    config.write_text('[[network]]\ninterface = "eth1"\n')
    override = installed / "etc/netbootd/templates/boot.ipxe"
    override.write_text("mine")
    assert "stays as it is" in make("install", installed)
    assert "kept: /etc/netbootd" in make("uninstall", installed)
    assert files(installed) == {CONFIG, "etc/netbootd/templates/boot.ipxe"}
    assert config.read_text() == '[[network]]\ninterface = "eth1"\n'


def test_with_a_prefix_of_ones_own_the_units_name_it_and_lie_where_systemd_looks(tmp_path: Path) -> None:
    make("install", tmp_path, "PREFIX=/opt/netbootd")
    unit = (tmp_path / "etc/systemd/system/netbootd.service").read_text()
    assert "\nExecStart=/opt/netbootd/bin/netbootd\n" in unit
    make("uninstall", tmp_path, "PREFIX=/opt/netbootd")
    assert files(tmp_path) == set()


def test_uninstalling_what_was_never_installed_is_no_fault(tmp_path: Path) -> None:
    make("uninstall", tmp_path)
    assert files(tmp_path) == set()


def test_ganeshas_configuration_goes_too_unless_somebody_includes_it(tmp_path: Path) -> None:
    """NFS-Ganesha refuses to start where a file that it shall include isn't there."""
    ganesha = tmp_path / "etc/ganesha"
    ganesha.mkdir(parents=True)
    for own, left in (('%include "/etc/ganesha/netbootd.conf"\n', 2), ("EXPORT {}\n", 1)):
        (ganesha / "ganesha.conf").write_text(own)
        (ganesha / "netbootd.conf").write_text("# nothing to export\n")
        make("uninstall", tmp_path)
        assert len(list(ganesha.iterdir())) == left
