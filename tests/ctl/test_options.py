"""Values that several commands take."""

import pytest

from netbootd.errors import UserError
from netbootd.settings import kernel_arguments


def test_kernel_arguments_are_carried_as_they_are() -> None:
    assert kernel_arguments(None) is None
    assert kernel_arguments("") == ""
    line = 'console=ttyS0,115200n8 dyndbg="module nfs +p" ds=nocloud;s=http://10.77.0.1/ a=b|c&d#e $x'
    assert kernel_arguments(f"  {line} ") == line


@pytest.mark.parametrize(
    "text",
    [
        *("quiet\nboot", "quiet || shell", "a && b", "a ; b", "a # b", "x=${net0/mac}", "ä", "x" * 1001),
        *("a=b\\x20c", "quiet\\", "init='/bin/sh -i'", "a=$(fdtfile)", 'dyndbg="module nfs +p'),
    ],
)
def test_what_a_boot_script_cannot_carry_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="kernel arguments"):
        kernel_arguments(text)
