"""Templates: the packaged ones, and the admin's that stand in their place. The only importer of jinja2.

A template is looked up and rendered when it is asked for: an override that was just written counts at once.
"""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateNotFound
from jinja2.exceptions import TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from netbootd.errors import UserError

LARGEST_OUTPUT = 8 << 20
"""Octets; known_hosts of ten thousand nodes is about two million."""
MOST_PARSED = 200
_FAULTS = (
    *(TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, OSError),
    *(RecursionError, MemoryError),  # it includes itself; it multiplies a string by a million
)
"""What a template's own expressions can raise; UndefinedError and SecurityError are TemplateErrors."""


class Renderer:
    """Renders templates from `template_dir` where they exist there, else the packaged ones."""

    def __init__(self, template_dir: Path | None = None) -> None:
        self._directories = [d for d in (template_dir, packaged_templates()) if d is not None]
        self._environment = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader([_Fresh(directory) for directory in self._directories]),
            undefined=StrictUndefined,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            cache_size=MOST_PARSED,
        )

    def render(self, name: str, **variables: object) -> str:
        """The template `name` with `variables`. Raises UserError: the file, the line, what is wrong."""
        try:
            pieces, size = [], 0
            for piece in self._environment.get_template(name).generate(**variables):
                pieces.append(piece)
                size += len(piece)
                if size > LARGEST_OUTPUT:
                    raise UserError(f"template {name} renders to more than {LARGEST_OUTPUT >> 20} MiB")
            return "".join(pieces)
        except TemplateNotFound as error:
            where = " or ".join(map(str, self._directories))
            raise UserError(f"there is no template {error.name!r} in {where}") from error
        except TemplateSyntaxError as error:
            raise UserError(
                f"template {error.filename or name}, line {error.lineno}: {error.message}"
            ) from error
        except _FAULTS as error:
            raise UserError(f"template {self._place(name, error)}: {error}") from error

    def names(self, below: str) -> list[str]:
        """The names of all templates under `below/`, overrides and packaged ones together, sorted."""
        prefix = below.rstrip("/") + "/"
        return sorted(name for name in self._environment.list_templates() if name.startswith(prefix))

    def _place(self, name: str, error: BaseException) -> str:
        """File and line of the innermost frame of a template's code; jinja2 gives these frames its lines."""
        place, trace = name, error.__traceback__
        directories = tuple(str(directory) for directory in self._directories)
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
        return any((Path(directory) / template).is_file() for directory in self.searchpath)
