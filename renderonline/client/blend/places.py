"""Where the files of a project lie in its bundle. Nothing here but names.

What lies in the project's folder keeps its place; the rest goes below `_outside_project`, by its
whole path, so that what lies side by side stays side by side. Names that some platform refuses are
changed, and so is the second of two that would be one file where case does not count: whoever
names such a file is rewritten anyway.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path, PurePath, PurePosixPath

from renderonline.client.archive import RESULTS_FOLDER
from renderonline.names import MAX_NAME_BYTES, BadName, checked, has_control

OUTSIDE = "_outside_project"

_STAND_IN = "\ue000"  # no name has it: it is nobody's letter


class Places:
    """The places that are taken. Asked in the same order it gives the same answers."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, str] = {}  # as case does not count → as it is spelled first
        self._taken: dict[str, tuple[str, Path]] = {}

    def folder(self, path: Path) -> str:
        """The place of a folder, "" for the project's own."""
        try:
            parts = path.relative_to(self._root).parts
        except ValueError:
            parts = (OUTSIDE, *_without_root(path))
        place = ""
        for part in parts:
            # On the farm, results lie beside the project's files.
            is_taken = not place and part.casefold() == RESULTS_FOLDER
            place = f"{place}/{usable(part)}{'_' * is_taken}".lstrip("/")
            place = self._folders.setdefault(_folded(place), place)
        return place

    def file(self, folder: str, name: str, source: Path) -> str:
        """The place of a file; the same file named twice has one, however it is spelled."""
        wanted = str(PurePosixPath(folder, usable(name)))
        stem, dot, ending = wanted.rpartition(".")
        number, place = 1, wanted
        while True:
            other, owner = self._taken.setdefault(_folded(place), (place, source))
            if owner == source or _is_same(owner, source):
                return other
            number += 1
            place = f"{stem}~{number}.{ending}" if dot else f"{wanted}~{number}"

    def series(self, folder: str, name: str, marks: tuple[str, ...] = ()) -> str:
        """The place of one of many files that belong together: it is not numbered anew.

        `name` may hold "/", and one of `marks`, which stays. Two files at one place are for the
        check of the manifest to find.
        """
        kept = next((mark for mark in marks if mark in name), _STAND_IN)
        parts = (usable(part) for part in name.replace(kept, _STAND_IN).split("/"))
        return str(PurePosixPath(folder, *(part.replace(_STAND_IN, kept) for part in parts)))


def usable(name: str) -> str:
    """`name`, or one like it that every platform can hold."""
    name = re.sub(r"[\\/]", "_", name)
    try:
        return checked(name)
    except BadName:
        pass
    changed = re.sub(r'[<>:"|?*]', "_", "".join("_" if has_control(c) else c for c in name))
    changed = re.sub(r"[. ]+$", lambda ending: "_" * len(ending[0]), changed)
    if len(changed.encode()) > MAX_NAME_BYTES:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        suffix = PurePath(changed).suffix[:16]
        kept = changed.encode()[: MAX_NAME_BYTES - 40].decode("utf-8", "ignore")
        changed = f"{kept}-{digest}{suffix}"
    try:
        return checked(changed)
    except BadName:  # reserved on Windows
        return f"_{changed}"


def _without_root(path: Path) -> tuple[str, ...]:
    r"""The parts of an absolute path as names: "C:\a" is C, a; "\\nas\film\a" is nas, film, a."""
    anchor = re.sub(r"[:\\/]+", "/", path.anchor).strip("/")
    return (*(part for part in anchor.split("/") if part), *path.parts[1:])


def _folded(place: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", place).casefold())


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
