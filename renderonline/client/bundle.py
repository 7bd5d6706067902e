"""What a project is made of: its files, each with its place, and the one that is rendered.

A bundle is made without a network and without reading more of the files than must be: of a .blend
what it links to, of a folder or a ZIP the names. `check` then says whether every platform could
hold it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from renderonline import blendfile, manifests, paths, wire
from renderonline.blendfile import WHOLE, BlendFacts, Choices, View
from renderonline.client import zips
from renderonline.client.archive import RESULTS_FOLDER
from renderonline.client.errors import Unusable
from renderonline.client.sources import DiskFile, Source

if TYPE_CHECKING:
    from renderonline.client.blend import Gathered


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a project."""

    place: str  # in the bundle, with "/"
    source: Source
    size_bytes: int
    is_executable: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """A file that the project names and that is not there."""

    path: str
    users: tuple[str, ...]  # who uses it, for people: 'image "wood" in props/chair.blend'


@dataclass(frozen=True, slots=True)
class Bundle:
    """A project that can be sent."""

    origin: Path  # what was named: a file, a folder, a ZIP
    main: str  # the place of the file that is rendered
    parts: tuple[Part, ...]  # by their places
    facts: BlendFacts = blendfile.UNKNOWN
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()  # sentences: what was left out

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    @property
    def main_part(self) -> Part:
        return next(part for part in self.parts if part.place == self.main)

    def choices(self) -> Choices | None:
        """Which cameras and view layers there are; None where that cannot be told. Reads the file."""
        if not self.facts.scenes:
            return None
        with self.main_part.source.open() as file:
            return blendfile.choices_in(file, self.main_part.size_bytes)


def of(
    path: Path, main: str | None = None, project: Path | None = None, follow_links: bool = True
) -> Bundle:
    """The bundle of a file, a folder or a ZIP. Raises Unusable.

    `main`: which file of a folder or a ZIP is rendered. `project`: the folder that a .blend's
    project lies in, by default its own. `follow_links`: take what a .blend links to as well.
    """
    try:
        if path.is_dir():
            return _of_folder(path, _chosen(path, main), follow_links)
        check_file(path)
        if main is not None:
            return check(_of_zip(path, main.replace("\\", "/")))
        return _of_file(path, project, follow_links)
    except OSError as error:
        raise Unusable(f"{error.filename or path}: {error.strerror or error}.") from None


def check(bundle: Bundle) -> Bundle:
    """The bundle, if a farm can take it: a file where each needs one, on every platform. Raises
    Unusable."""
    files = [wire.ManifestFile(p.place, "0" * 64, p.size_bytes) for p in bundle.parts]
    try:
        manifests.check(wire.Manifest(main=bundle.main, files=files))
    except manifests.BadManifest as error:
        raise Unusable(f"{bundle.origin} cannot be sent. {error}") from None
    if not bundle.main_part.size_bytes:
        raise Unusable(f"{bundle.main_part.source.path} is empty.", "Save the project again.")
    return bundle


def complete(bundle: Bundle) -> Bundle:
    """The bundle, if nothing is missing. Raises Unusable, naming each file with its users."""
    if not bundle.missing:
        return bundle
    count = len(bundle.missing)
    what = "1 file that it names is" if count == 1 else f"{count} files that it names are"
    shown = [f"{missing.path} ({', '.join(missing.users)})" for missing in bundle.missing[:20]]
    more = [f"and {count - 20} more"] if count > 20 else []
    raise Unusable(
        f"{bundle.origin} was not sent, since {what} not there: {'; '.join((*shown, *more))}.",
        "Put it where it is looked for, or render without it (`--allow-missing`).",
        "missing_files",
    )


def warnings(bundle: Bundle, view: View = WHOLE) -> list[str]:
    """Sentences about what will be other than was meant, where `view` is rendered of it."""
    said = [
        f"{missing.path} is not there; {', '.join(missing.users)} will be without it."
        for missing in bundle.missing
    ]
    scene = bundle.facts.scene(view.scene)
    if scene is not None and scene.has_camera is False and view.camera is None:
        said.append(
            f'The scene "{scene.name}" has no camera; only its sequencer or compositor can be rendered.'
        )
    return [*said, *bundle.notes]


def check_file(file: Path) -> None:
    """Raise Unusable unless `file` is a file with something in it that we may read."""
    try:
        if not file.is_file():
            raise Unusable(f"There is no file {file}.", "Check its name and its folder.")
        with file.open("rb") as opened:
            if not opened.read(1):
                raise Unusable(f"{file} is empty.", "Save the project again.")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unusable(f"{file} cannot be read: {reason}.") from None


# --------------------------------------------------------------------------- one file, and its links


def _of_file(named: Path, project: Path | None, follow_links: bool) -> Bundle:
    path = _plain(named)
    root = path.parent if project is None else _plain(project)
    if not path.is_relative_to(root):
        raise Unusable(f"{named} does not lie in the project's folder {project}.")
    if not follow_links or not _is_blend(path):
        part = _part(path.relative_to(root).as_posix(), path)
        return check(Bundle(named, part.place, (part,), _facts(path)))
    found = _gather(path, root)
    parts = tuple(_part(place, found.files[place]) for place in sorted(found.files))
    facts = _facts(path)
    return check(Bundle(named, found.main, parts, facts, _missing(found), _opaque(found)))


def _plain(path: Path) -> Path:
    """Absolute and without `..`, as the links of a .blend are read."""
    return Path(os.path.normpath(path.absolute()))


def _gather(main: Path, root: Path) -> Gathered:
    """A .blend with its links."""
    try:
        from renderonline.client import blend  # late: a .blend only needs it
    except ImportError:
        raise Unusable(
            "This renderonline was built without what reads the links of a .blend file.",
            "Send the file alone (`--no-links`), or use a build that has it.",
        ) from None
    return blend.gather(main, root, paths.cache_dir() / "scenes")


def _missing(found: Gathered) -> tuple[Missing, ...]:
    return tuple(Missing(path, tuple(users)) for path, users in found.missing.items())


def _opaque(found: Gathered) -> tuple[str, ...]:
    """What to say of files whose own links are not followed."""
    return tuple(
        f"What {path.name} itself refers to is not looked for; submit the folder if it needs more."
        for path in found.opaque
    )


def _is_blend(path: Path) -> bool:
    """Whether it is to be read as one. Raises Unusable for a file that only has the name of one."""
    if path.suffix.lower() != ".blend":
        return False
    with path.open("rb") as file:
        if blendfile.is_blend(file.read(8)):
            return True
    raise Unusable(
        f"{path.name} is called a .blend, but Blender has not written it.",
        "Open it in Blender and save it, or send it just as it is (`--no-links`).",
    )


def _facts(path: Path) -> BlendFacts:
    return blendfile.read(path) if path.suffix.lower() == ".blend" else blendfile.UNKNOWN


def _part(place: str, path: Path) -> Part:
    status = path.stat()
    is_executable = bool(status.st_mode & stat.S_IXUSR) and path.suffix.lower() != ".blend"
    return Part(place, DiskFile(path), status.st_size, is_executable)


# --------------------------------------------------------------------------- a folder


_LEFT_OUT = f"Its folder {RESULTS_FOLDER} is left out: that is where a task's results lie."


def _is_result(place: str) -> bool:
    return place.partition("/")[0].casefold() == RESULTS_FOLDER


_DROPPINGS = frozenset((".ds_store", "thumbs.db", "desktop.ini"))
"""What operating systems leave in folders."""


def _chosen(folder: Path, main: str | None) -> str:
    """The main file of a folder, with "/". Raises Unusable."""
    if main is None:
        raise Unusable(
            f"{folder} is a folder.", "Say which file in it is to be rendered (`--main NAME`)."
        )
    chosen = main.replace("\\", "/")
    if not (folder / chosen).is_file():
        raise Unusable(f"There is no file {main} in {folder}.", "Name it as it lies in there.")
    return chosen


def _of_folder(named: Path, main: str, follow_links: bool) -> Bundle:
    folder = _plain(named)
    files: dict[str, Path] = {}
    notes: list[str] = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        if _is_result(place):
            notes.append(_LEFT_OUT)
        elif path.is_file() and path.name.lower() not in _DROPPINGS:
            files[place] = path
        elif path.is_symlink() or not (path.is_dir() or path.is_file()):
            notes.append(f"{path} is left out: it leads to a folder, to nothing, or is no file.")
    missing: tuple[Missing, ...] = ()
    facts = _facts(folder / main)
    if follow_links and _is_blend(folder / main):
        found = _gather(folder / main, folder)
        main, missing = found.main, _missing(found)
        files |= found.files
    parts = tuple(_part(place, files[place]) for place in sorted(files))
    return check(Bundle(named, main, parts, facts, missing, tuple(dict.fromkeys(notes))))


# --------------------------------------------------------------------------- a ZIP


def _of_zip(path: Path, main: str) -> Bundle:
    found = zips.entries(path)
    entries = [entry for entry in found if not _is_result(entry.name)]
    parts = tuple(
        Part(entry.name, entry, entry.size_bytes, entry.is_executable) for entry in entries
    )
    chosen = next((part for part in parts if part.place == main), None)
    if chosen is None:
        raise Unusable(f"There is no file {main} in {path}.", "Name it as it lies in there.")
    facts = blendfile.UNKNOWN
    if main.lower().endswith(".blend"):
        with chosen.source.open() as file:
            facts = blendfile.read_from(file, chosen.size_bytes)
    notes = (_LEFT_OUT,) if len(entries) < len(found) else ()
    return Bundle(path, main, parts, facts, notes=notes)
