"""Running a grub.cfg until something boots. Pure.

Commands that decide what is fetched are carried out, tests are judged where they can be, all others succeed.
A function's, loop's and condition's outcome is its last command's, as in GRUB.
"""

import re
from dataclasses import dataclass, field
from typing import Protocol

from netbootd.simulate.grub_script import Block, Command, GrubSyntaxError, If, Loop, Node, expand, parse
from netbootd.simulate.play import Loaded, Play, WontBoot
from netbootd.simulate.tftp import Missing

MOST_COMMANDS = 2000
MOST_CONFIGS = 16
MOST_ROUNDS = 3
"""Rounds of a loop that are played: what fails three times fails a fourth."""
_KERNEL = ("linux", "linuxefi", "linux16")
_INITRD = ("initrd", "initrdefi", "initrd16")


class Fetch(Protocol):
    """A path with or without a device, what it is wanted for, whether GRUB does without."""

    def __call__(self, path: str, does: str, *, optional: bool) -> Play[Loaded | Missing]:
        """Fetch it."""


@dataclass(slots=True)
class Outcome:
    """What `boot` would start: a kernel with its words and initrd, or another program."""

    kernel: Loaded | None = None
    words: str = ""
    initrd: Loaded | None = None
    program: Loaded | None = None


class _BootError(Exception):
    """`boot` was reached."""


@dataclass(slots=True)
class Run:
    """One configuration and what it leads to. `variables` are GRUB's environment."""

    fetch: Fetch
    variables: dict[str, str]
    outcome: Outcome = field(default_factory=Outcome)
    failed: str = ""
    _functions: dict[str, list[Node]] = field(default_factory=dict)
    _entries: list[tuple[str, str, list[Node]]] = field(default_factory=list)
    _left: int = MOST_COMMANDS
    _configs: int = 0

    def play(self, text: str) -> Play[Outcome]:
        """Run it, then the entry that boots by itself. Raises WontBoot."""
        try:
            yield from self._text(text)
            yield from self._nodes(self._default())
        except _BootError:
            return self.outcome
        if self.outcome.program is None and self.outcome.kernel is None:
            raise WontBoot(self.failed or "grub.cfg names no kernel", "see the template boot/grub")
        return self.outcome

    def _text(self, text: str) -> Play[bool]:
        try:
            nodes = parse(text)
        except GrubSyntaxError as error:
            raise WontBoot(f"grub.cfg has a fault: {error}", "mend it") from None
        return (yield from self._nodes(nodes))

    def _default(self) -> list[Node]:
        wanted = self.variables.get("default", "0")
        if wanted.isdigit() and int(wanted) < len(self._entries):
            return self._entries[int(wanted)][2]
        named = [body for title, ident, body in self._entries if wanted in (title, ident)]
        return (named or [body for _, _, body in self._entries] or [[]])[0]

    def _nodes(self, nodes: list[Node]) -> Play[bool]:
        good = True
        for node in nodes:
            good = yield from self._node(node)
        return good

    def _node(self, node: Node) -> Play[bool]:
        match node:
            case Command(words):
                return (yield from self._command([expand(word, self.variables) for word in words]))
            case If(branches):
                for condition, body in branches:
                    if not condition or (yield from self._nodes(condition)):
                        return (yield from self._nodes(body))
                return True
            case Loop():
                return (yield from self._loop(node))
            case Block(kind, words, body):
                self._define(kind, [expand(word, self.variables) for word in words], body)
        return True

    def _loop(self, loop: Loop) -> Play[bool]:
        rounds = [expand(word, self.variables) for word in loop.words] if loop.name else [""] * MOST_ROUNDS
        good = True
        for value in rounds[:MOST_ROUNDS]:
            if loop.name:
                self.variables[loop.name] = value
            elif (yield from self._nodes(loop.condition)) == loop.until:
                break
            good = yield from self._nodes(loop.body)
        return good

    def _define(self, kind: str, words: list[str], body: list[Node]) -> None:
        if kind == "function" and words:
            self._functions[words[0]] = body
        elif kind == "menuentry" and words:
            ident = words[words.index("--id") + 1] if "--id" in words[:-1] else ""
            self._entries.append((words[0], ident, body))

    def _command(self, words: list[str]) -> Play[bool]:  # noqa: C901, PLR0911 (a table of commands)
        self._left -= 1
        if self._left < 0:
            raise WontBoot(self.failed or "grub.cfg runs in circles", "see the template boot/grub")
        match words:
            case [name, *arguments] if name in self._functions:
                return (yield from self._call(self._functions[name], arguments))
            case ["set", assignment, *_] if "=" in assignment:
                name, _, value = assignment.partition("=")
                self.variables[name] = value
            case ["unset", name, *_]:
                self.variables.pop(name, None)
            case ["[" | "test", *test]:
                return (yield from self._test([word for word in test if word != "]"]))
            case ["false" | "exit", *_]:
                return False
            case ["boot"]:
                if self.outcome.kernel or self.outcome.program:
                    raise _BootError
                return False
            case [name, path, *rest] if name in (*_KERNEL, *_INITRD, "chainloader"):
                return (yield from self._load(name, path, rest))
            case ["configfile" | "source" | "." | "normal", path]:
                return (yield from self._config(path))
        return True

    def _call(self, body: list[Node], arguments: list[str]) -> Play[bool]:
        saved = dict(self.variables)
        given = {str(number): word for number, word in enumerate(arguments, 1)}
        self.variables.update(given)
        good = yield from self._nodes(body)
        for name in given:
            self.variables.pop(name, None)
            if name in saved:
                self.variables[name] = saved[name]
        return good

    def _load(self, name: str, path: str, rest: list[str]) -> Play[bool]:
        what = "the kernel" if name in _KERNEL else "the initrd" if name in _INITRD else "chainloads it"
        found = yield from self.fetch(path, what, optional=False)
        if isinstance(found, Missing):
            self.failed = self.failed or f"{path}: {found.why}"
            return False
        if name in _KERNEL:
            self.outcome = Outcome(kernel=found, words=" ".join(map(_quoted, rest)))
        elif name in _INITRD:
            self.outcome.initrd = found
        else:
            self.outcome.program = found
        return True

    def _config(self, path: str) -> Play[bool]:
        self._configs += 1
        if self._configs > MOST_CONFIGS:
            raise WontBoot("configurations name one another without end", "see grub.cfg")
        found = yield from self.fetch(path, "goes on with it", optional=True)
        if isinstance(found, Missing):
            return False
        good = yield from self._text(found.content.decode("utf-8", "replace"))
        return good

    def _test(self, words: list[str]) -> Play[bool]:  # noqa: PLR0911 (a table of tests)
        match words:
            case ["!", *rest]:
                return not (yield from self._test(rest))
            case ["-e" | "-f" | "-s", path]:
                return isinstance(
                    (yield from self.fetch(path, "looks whether it is there", optional=True)), Loaded
                )
            case ["-z", text]:
                return not text
            case ["-n", text] | [text]:
                return bool(text)
            case [left, "=" | "==", right]:
                return left == right
            case [left, "!=", right]:
                return left != right
        return True


def _quoted(word: str) -> str:
    """An argument as it comes to the kernel: a backslash before each quote, quotes around one with a space.

    lib/cmdline.c, which leaves a backslash before xNN as it is.
    """
    escaped = re.sub(r"\\(?!x[0-9A-Fa-f]{2})|['\"]", r"\\\g<0>", word)
    return f'"{escaped}"' if " " in word else escaped
