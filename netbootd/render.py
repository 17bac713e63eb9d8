"""Templates: the packaged ones, and the admin's that stand in their place. The only importer of jinja2.

A template is looked up and rendered when it is asked for: an override that was just written counts at once.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateNotFound
from jinja2 import Template as Compiled
from jinja2.exceptions import TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from netbootd.errors import UserError

LARGEST_OUTPUT = 8 << 20
"""Octets; known_hosts of ten thousand nodes is about two million."""
MOST_PARSED = 200
_FAULTS = (
    *(TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, OSError),
    *(RecursionError, MemoryError),  # it includes itself; it multiplies a string by a million
)
"""What a template's own expressions can raise; UndefinedError and SecurityError are TemplateErrors."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a client gets; `text` is what `content` was made from.

    `fault`: what is wrong with the template that should have made it, and what did in its place.
    """

    content: bytes
    text: str
    fault: str = ""


class Renderer:
    """Renders templates from `template_dir` where they exist there, else the packaged ones."""

    def __init__(self, template_dir: Path | None = None) -> None:
        self._directories = [d for d in (template_dir, packaged_templates()) if d is not None]
        self._environment = _environment([_Fresh(directory) for directory in self._directories])
        self._packaged = _environment([_Fresh(packaged_templates())])
        self._good: dict[str, Compiled] = {}

    def render(self, name: str, **variables: object) -> str:
        """The template `name` with `variables`. Raises UserError: the file, the line, what is wrong."""
        return self._rendered(name, lambda: self._environment.get_template(name), variables)[0]

    def serve(
        self, name: str, variables: Mapping[str, object], packing: Callable[[str], bytes] = str.encode
    ) -> Served:
        """As `render` and `packing` make it, for a client that can't wait until a broken override is mended.

        It gets what the override made when it last was whole, as far as this Renderer remembers, else what
        the packaged template makes. Raises UserError, of the override, where these fail too.
        """
        fault: UserError | None = None
        for which, template in self._candidates(name):
            try:
                text, compiled = self._rendered(name, template, variables)
                content = packing(text)
            except UserError as error:
                fault = fault or error
                continue
            if fault is None:
                self._good[name] = compiled
                return Served(content, text)
            return Served(content, text, f"{fault}; until then {which}")
        assert fault is not None  # noqa: S101 (a candidate has failed, else we weren't here)
        raise fault

    def names(self, below: str) -> list[str]:
        """The names of all templates under `below/`, overrides and packaged ones together, sorted."""
        prefix = below.rstrip("/") + "/"
        return sorted(name for name in self._environment.list_templates() if name.startswith(prefix))

    def files(self, name: str) -> list[Path]:
        """The files of that name: the one that counts first, then what it stands in for."""
        return [directory / name for directory in self._directories if (directory / name).is_file()]

    def _candidates(self, name: str) -> Iterator[tuple[str, Callable[[], Compiled]]]:
        """Whose turn it is to make what `name` should, and how that is told."""
        yield "", lambda: self._environment.get_template(name)
        if (good := self._good.get(name)) is not None:
            yield "it is served as it was when it was last whole", lambda: good
        yield "the packaged template is served", lambda: self._packaged.get_template(name)

    def _rendered(
        self, name: str, template: Callable[[], Compiled], variables: Mapping[str, object]
    ) -> tuple[str, Compiled]:
        try:
            compiled, pieces, size = template(), [], 0
            for piece in compiled.generate(**variables):
                pieces.append(piece)
                size += len(piece)
                if size > LARGEST_OUTPUT:
                    raise UserError(
                        f"template {self._file(name)} renders to more than {LARGEST_OUTPUT >> 20} MiB"
                    )
            return "".join(pieces), compiled
        except TemplateNotFound as error:
            where = " or ".join(map(str, self._directories))
            by = "" if error.name == name else f"template {self._place(name, error)}: "
            raise UserError(f"{by}there is no template {error.name!r} in {where}") from error
        except TemplateSyntaxError as error:
            raise UserError(
                f"template {error.filename or name}, line {error.lineno}: {error.message}"
            ) from error
        except UndefinedError as error:
            hint = "`netbootctl template vars NODE` shows what there is"
            raise UserError(f"template {self._place(name, error)}: {error}", hint) from error
        except _FAULTS as error:
            raise UserError(f"template {self._place(name, error)}: {error}") from error

    def _file(self, name: str) -> str:
        return str(next(iter(self.files(name)), name))

    def _place(self, name: str, error: BaseException) -> str:
        """File and line of the innermost frame of a template's code; jinja2 gives these frames its lines."""
        place, trace = self._file(name), error.__traceback__
        directories = tuple(f"{directory}/" for directory in self._directories)
        while trace is not None:
            filename = trace.tb_frame.f_code.co_filename
            if filename.startswith(directories):
                place = f"{filename}, line {trace.tb_lineno}"
            trace = trace.tb_next
        return place


def packaged_templates() -> Path:
    """Where our own templates are: in the package once installed, beside it in a checkout."""
    package = Path(str(files("netbootd")))
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def _environment(loaders: list["_Fresh"]) -> Environment:
    return ImmutableSandboxedEnvironment(
        loader=ChoiceLoader(loaders),
        undefined=_Missing,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        cache_size=MOST_PARSED,
    )


class _Missing(StrictUndefined):
    """What isn't there is an error that says of what it was asked, and what there is of that name or near."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[Exception] = UndefinedError,
    ) -> None:
        if hint is None and obj is not missing and isinstance(name, str):
            what = "nothing (None)" if obj is None else f"a {type(obj).__name__.lower()}"
            there = [each for each in dir(obj) if not each.startswith("_")]
            near = get_close_matches(name, there, 1)
            hint = f"{what} has no {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        super().__init__(hint, obj, name, exc)  # type: ignore[arg-type]


class _Fresh(FileSystemLoader):
    """A directory whose missing files are looked for again each time, so that a new override is seen.

    jinja2 asks only whether the file that it found has changed, not whether a better one has appeared.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory), followlinks=True)

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """As FileSystemLoader, with a test of freshness that knows of overrides."""
        source, filename, unchanged = super().get_source(environment, template)

        def same() -> bool:
            loader: BaseLoader | None = environment.loader
            if not isinstance(loader, ChoiceLoader):
                return unchanged()
            first = next((d for d in loader.loaders if isinstance(d, _Fresh) and d.has(template)), None)
            return first is self and unchanged()

        return source, filename, same

    def has(self, template: str) -> bool:
        """Whether this directory has the template."""
        # pathlib takes four times as long, and this is asked for each file of each node.
        return any(os.path.isfile(f"{directory}/{template}") for directory in self.searchpath)  # noqa: PTH113
