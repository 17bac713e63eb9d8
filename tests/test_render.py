"""Templates: the admin's stand in place of ours, and what is wrong with one is said with file and line."""

from collections.abc import Callable
from pathlib import Path, PurePath

import pytest

from netbootd.errors import UserError
from netbootd.render import LARGEST_OUTPUT, Renderer, Served


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "nfs").mkdir()
    return tmp_path


def _render(directory: Path, text: str, **variables: object) -> str:
    (directory / "nfs" / "mine.j2").write_text(text)
    return Renderer(directory).render("nfs/mine.j2", **variables)


def test_an_override_counts_from_the_moment_it_is_there_until_it_is_gone(directory: Path) -> None:
    renderer = Renderer(directory)
    ours = renderer.render("nfs/exports.j2", exports=())
    (directory / "nfs" / "exports.j2").write_text("mine\n")
    assert renderer.render("nfs/exports.j2", exports=()) == "mine\n"
    (directory / "nfs" / "exports.j2").unlink()
    assert renderer.render("nfs/exports.j2", exports=()) == ours != "mine\n"
    assert "nfs/exports.j2" in renderer.names("nfs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n{{ nothing }}\n", "mine.j2, line 2: 'nothing' is undefined"),
        ("a\n{% if %}\n", "mine.j2, line 2: Expected an expression"),
        ("{{ 1 / 0 }}", "mine.j2, line 1: division by zero"),
        ("{{ 'x'.upper(1) }}", "mine.j2, line 1: "),
        ("{{ ''.__class__.__mro__ }}", "mine.j2, line 1: access to attribute '__class__'"),
        ("{{ things.append(1) }}", "mine.j2, line 1: "),
        ("\n{% include 'nfs/none.j2' %}", "mine.j2, line 2: there is no template 'nfs/none.j2' in "),
        ("{{ path.nmae }}", "mine.j2, line 1: a pureposixpath has no 'nmae'; did you mean 'name'?"),
        ("{{ path.zzz }}", "mine.j2, line 1: a pureposixpath has no 'zzz'; `netbootctl template vars NODE`"),
        ("{{ nobody.name }}", "mine.j2, line 1: nothing (None) has no 'name'"),
        ("{% include 'nfs/mine.j2' %}", "mine.j2, line 1: maximum recursion depth"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "mine.j2, line 1: maximum recursion depth"),
        ("{% for _ in range(99999) %}" + "x" * 999 + "{% endfor %}", "renders to more than 8 MiB"),
        ("{% include '../../etc/passwd' %}", "there is no template '../../etc/passwd'"),
    ],
)
def test_what_is_wrong_with_a_template_is_said_in_a_line(directory: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        _render(directory, text, things=[], path=PurePath("x"), nobody=None)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_template_that_is_not_text_or_no_file_is_an_error_in_words(directory: Path) -> None:
    (directory / "nfs" / "exports.j2").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="utf-8"):
        Renderer(directory).render("nfs/exports.j2", exports=())
    (directory / "nfs" / "exports.j2").unlink()
    (directory / "nfs" / "exports.j2").mkdir()
    assert Renderer(directory).render("nfs/exports.j2", exports=()), "ours is taken"


def test_output_up_to_the_bound_is_rendered(directory: Path) -> None:
    assert len(_render(directory, "x" * LARGEST_OUTPUT)) == LARGEST_OUTPUT


def serve(renderer: Renderer, packing: Callable[[str], bytes] = str.encode) -> Served:
    return renderer.serve("boot/uboot/uEnv-first.txt.j2", {}, packing)


def test_who_boots_gets_what_a_broken_override_last_made_else_what_the_packaged_one_makes(
    directory: Path,
) -> None:
    override = directory / "boot/uboot/uEnv-first.txt.j2"
    override.parent.mkdir(parents=True)
    override.write_text("{{ nothing }}")
    ours = serve(Renderer())
    assert ours.fault == ""
    renderer = Renderer(directory)
    served = serve(renderer)
    assert served.content == ours.content
    assert f"{override}, line 1: 'nothing' is undefined" in served.fault
    assert served.fault.endswith("until then the packaged template is served")
    override.write_text("good")
    assert serve(renderer) == Served(b"good", "good")
    for broken in ("{% if %}", "{{ nothing }}", "{% include 'none' %}"):
        override.write_text(broken)
        served = serve(renderer)
        assert served.content == b"good" and f"{override}, line 1" in served.fault
        assert served.fault.endswith("until then it is served as it was when it was last whole")
    override.unlink()
    assert serve(renderer) == ours


def test_a_text_that_a_firmware_couldnt_read_is_a_fault_too(directory: Path) -> None:
    def ascii_only(text: str) -> bytes:
        if not text.isascii():
            raise UserError("not ASCII")
        return text.encode()

    override = directory / "boot/uboot/uEnv-first.txt.j2"
    override.parent.mkdir(parents=True)
    override.write_text("für")
    served = serve(Renderer(directory), ascii_only)
    assert served.content == serve(Renderer()).content and served.fault.startswith("not ASCII")

    def nothing(_: str) -> bytes:
        raise UserError("never right")

    with pytest.raises(UserError, match="never right"):
        serve(Renderer(directory), nothing)
