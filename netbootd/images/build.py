"""`image build`: a Debian, Ubuntu or Raspberry Pi OS made here, from its packages, by mmdebstrap.

    order -> suites/ (archives, keys, kernel) -> checks -> mmdebstrap, hooks -> debian.set_up -> publish

What can be known to fail is found before anything is downloaded; what fails later leaves a log and nothing
else.
"""

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from netbootd.errors import HostError, UserError
from netbootd.image import Generation, image_name
from netbootd.images import apt, assemble, debian, edit, foreign, mmdebstrap, package_cache, recipe, trees
from netbootd.images.apt import Source
from netbootd.images.build_log import explanation
from netbootd.images.package_cache import PackageCache
from netbootd.images.progress import Progress, silent
from netbootd.images.recipe import Keyring, Order, Recipe
from netbootd.images.rooted import resolve
from netbootd.images.store import ImageStore, Staging
from netbootd.images.suites import choose
from netbootd.images.suites.distribution import Distribution, Used, used

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,100}")
_MIRROR = re.compile(r"(https?|ftp|file)://?[!-~]{1,500}")
LOG_NAME = "build.log"
_ARCHIVES = "var/cache/apt/archives"
_LARGEST_STATUS = 64 << 20
_TOOLS = (("mmdebstrap", "mmdebstrap"), ("setpriv", "util-linux"), ("unshare", "util-linux"))


@dataclass(frozen=True, slots=True)
class _Plan:
    """An order that was found good: nothing of it is unknown."""

    order: Order
    distribution: Distribution
    archives: tuple[Used, ...]
    keys: tuple[tuple[Path, ...], ...]
    """For each archive the keyrings of this machine that it may be signed by."""


def build(
    store: ImageStore,
    name: str,
    order: Order,
    *,
    note: str = "",
    cache: PackageCache | None = None,
    progress: Progress = silent,
) -> Generation:
    """Make what was ordered the next generation of the image `name`, with an admin's `note` on it.

    Packages come from `cache` and are left there. Without mirrors in the order they come from where this
    machine has its own. Raises UserError for what can't be built as ordered (unknown suite, package, failing
    hook …), HostError where this machine can't do it. Root only.
    """
    image_name(name)
    began = time.monotonic()
    plan = _plan(order)
    _check_host(plan)
    with store.staging(name) as staging, trees.explained(store.directory):
        sources, remarks = _make(store, staging, plan, cache, progress)
        progress("setting up", 0, None)
        debian.set_up(staging.root, plan.distribution.sources_file, _image_sources(staging.root, plan))
        beside = f" with {' '.join(order.packages)}" if order.packages else ""
        made = Recipe(
            plan.order,
            sources=tuple(sources),
            tools=_versions(),
            seconds=round(time.monotonic() - began),
            installed=_installed(staging.root),
        )
        mirror = apt.public(plan.archives[0].url)
        return assemble.publish(
            store,
            staging,
            origin=f"{plan.distribution.label} from {mirror}{beside}",
            progress=progress,
            remarks=remarks,
            recipe=made.to_json(),
            note=note,
        )


def machine_sources(directory: Path) -> list[Source]:
    """The package sources of this machine: `directory`/sources.list and sources.list.d."""
    sources: list[Source] = []
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    for path in files:
        if path.suffix in (".list", ".sources") and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            sources += apt.parse(text) if path.suffix == ".list" else apt.parse_deb822(text)
    return sources


def _plan(order: Order) -> _Plan:
    """Raises UserError for what no distribution has, HostError where its keys are missing here."""
    wanted = order.architecture or platform.machine()
    architecture = apt.architecture(wanted)
    if architecture is None:
        known = ", ".join(dict.fromkeys(apt.ARCHITECTURES.values()))
        raise UserError(f"there is no architecture {wanted[:40]!r}", f"there are {known}")
    distribution = choose.distribution(order.suite, architecture)
    for url in order.mirrors.values():
        if not _MIRROR.fullmatch(url):
            raise UserError(
                f"{apt.public(url)[:100]!r} isn't a mirror's URL",
                "write http://deb.debian.org/debian or the like",
            )
    for package in order.packages:
        if not _PACKAGE.fullmatch(package):
            raise UserError(f"{package[:100]!r} can't name a package", "small letters, digits, + - .")
    main = distribution.archives[0].name
    mirrors = {archive or main: url for archive, url in order.mirrors.items()}
    archives = used(distribution, machine_sources(mmdebstrap.APT_DIR), mirrors)
    public = {archive: apt.public(url) for archive, url in mirrors.items()}
    return _Plan(
        replace(order, architecture=architecture, mirrors=public),
        distribution,
        archives,
        tuple(_keys(archive, order.keyrings) for archive in archives),
    )


def _keys(used_archive: Used, given: Sequence[Keyring]) -> tuple[Path, ...]:
    keys = used_archive.archive.keys
    found = next((Path(file) for file in keys.files if Path(file).is_file()), None)
    if found is None and not given:
        raise HostError(
            f"this machine has no key to check what {apt.public(used_archive.url)} serves", keys.remedy
        )
    return () if found is None else (found,)


def _trusted(plan: _Plan, archive: Used, own: Sequence[object], given: Iterable[object]) -> str:
    """The keyrings for `archive`: its `own`; those given where it has none, or a mirror of it was given too.

    A key that was given for one archive must not vouch for what another one brings.
    """
    counts = not own or archive.archive.name in plan.order.mirrors
    return " ".join(map(str, (*own, *(given if counts else ()))))


def _check_host(plan: _Plan) -> None:
    if os.geteuid() != 0:
        raise HostError("only root can build an image: its files belong to many users", "run it with sudo")
    for command, package in _TOOLS:
        if shutil.which(command) is None:
            raise HostError(f"{command} is missing", f"apt install {package}")
    foreign.check(plan.distribution.architecture)


def _make(
    store: ImageStore,
    staging: Staging,
    plan: _Plan,
    cache: PackageCache | None,
    progress: Progress,
) -> tuple[list[str], tuple[str, ...]]:
    """Fill the staging root; returns where its packages came from, and remarks.

    Raises UserError, HostError, OSError.
    """
    given = _written_keys(staging, plan.order.keyrings)
    lines = [
        apt.one_line(source)
        for archive, keys in zip(plan.archives, plan.keys, strict=True)
        for source in archive.sources(_trusted(plan, archive, keys, given))
    ]
    public = [apt.one_line(source) for archive in plan.archives for source in archive.sources()]
    public = [apt.public(line) for line in public]
    distribution = plan.distribution
    job = mmdebstrap.Job(
        root=staging.root,
        suite=distribution.suite,
        architecture=distribution.architecture,
        sources=tuple(lines),
        packages=(*distribution.wanted(plan.order.packages), *debian.PACKAGES),
        merged=distribution.merged,
        directories=distribution.directories,
        hooks=_written_hooks(staging, plan.order),
        others=tuple(
            mount
            for mount in trees.mounts_under(store.directory.parent)
            if not staging.root.resolve().is_relative_to(mount)
        ),
    )
    (staging.root / _ARCHIVES).mkdir(parents=True)
    key = package_cache.key(
        f"{distribution.suite}-{distribution.architecture}",
        public,
        [path.read_bytes() for keys in (*plan.keys, given) for path in keys],
    )
    if cache is not None:
        progress("looking through the packages kept", 0, None)
        cache.lend(key, staging.root / _ARCHIVES)
    last = mmdebstrap.run(job, staging.directory / LOG_NAME, staging.lock, progress)
    remarks = () if cache is None else _kept_packages(cache, key, staging.root)
    if last is not None:
        kept = _keep_log(staging.directory / LOG_NAME, store.directory, staging.name)
        main = plan.archives[0]
        raise explanation(last, distribution.label, apt.public(main.url), main.archive.keys.remedy, str(kept))
    (staging.directory / LOG_NAME).chmod(0o644)
    for directory, pattern in ((_ARCHIVES, "*.deb"), (_ARCHIVES, "lock"), ("var/cache/apt", "*.bin")):
        for name in edit.matching(staging.root, f"/{directory}", pattern):
            edit.remove(staging.root, name)
    for part in ("hooks", "keys"):
        trees.remove_tree(staging.directory / part)
    return public, remarks


def _kept_packages(cache: PackageCache, key: str, root: Path) -> tuple[str, ...]:
    """Keep them for the next build. That it can't be done is no reason not to have this one."""
    archives = resolve(root, f"/{_ARCHIVES}")
    try:
        if archives is not None and archives.is_dir():
            cache.take(key, archives)
    except OSError as error:
        return (f"its packages couldn't be kept for the next build: {error.strerror}",)
    return ()


def _written_keys(staging: Staging, keyrings: Iterable[Keyring]) -> tuple[Path, ...]:
    directory = staging.directory / "keys"
    directory.mkdir()
    paths = []
    for number, keyring in enumerate(keyrings, 1):
        path = directory / f"{number}.gpg"
        path.write_bytes(keyring.content)
        path.chmod(0o644)
        paths.append(path)
    return tuple(paths)


def _written_hooks(staging: Staging, order: Order) -> tuple[Path, ...]:
    """What is run is what the recipe remembers."""
    paths = []
    for number, hook in enumerate(order.hooks, 1):
        path = staging.directory / "hooks" / str(number) / hook.name
        path.parent.mkdir(parents=True)
        path.write_text(hook.text, encoding="utf-8")
        path.chmod(0o700)
        paths.append(path)
    return tuple(paths)


def _image_sources(root: Path, plan: _Plan) -> list[Source]:
    """The image's own sources, with the keyrings as they lie in the image.

    Keyrings that were given get into it, but for archives whose own package brought the same one.
    """
    given = {f"/etc/apt/keyrings/{keyring.name}.gpg": keyring.content for keyring in plan.order.keyrings}
    sources: list[Source] = []
    for used_archive in plan.archives:
        found = [(file, resolve(root, file)) for file in used_archive.archive.keys.files]
        own = next(((file, path) for file, path in found if path is not None and path.is_file()), None)
        same = own is not None and own[1].read_bytes() in given.values()
        names = _trusted(plan, used_archive, own[:1] if own else (), () if same else given)
        sources += used_archive.sources(names)
    for name, content in given.items():
        if any(name in source.signed_by for source in sources):
            edit.remove(root, name)
            with edit.place(root, name).open("xb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)
    return sources


def _installed(root: Path) -> dict[str, str]:
    path = resolve(root, "/var/lib/dpkg/status")
    if path is None or not path.is_file() or path.stat().st_size > _LARGEST_STATUS:
        return {}
    return recipe.installed(path.read_text(encoding="utf-8", errors="replace"))


def _versions() -> dict[str, str]:
    found = {"netbootd": version("netbootd")}
    for command in ("mmdebstrap", "apt-get"):
        result = subprocess.run(
            [command, "--version"], capture_output=True, text=True, errors="replace", check=False
        )
        found[command] = (re.findall(r"\d[\w.~+-]+", result.stdout) or ["unknown"])[0]
    return found


def _keep_log(log: Path, directory: Path, name: str) -> Path:
    kept = directory / ".logs" / f"{name}.log"
    kept.parent.mkdir(exist_ok=True)
    shutil.copyfile(log, kept)
    return kept
