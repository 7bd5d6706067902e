"""Which files on the disk a link means. Only looks; opens none."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from renderonline.client.blend.links import Link, Shape

_FOLDS_CASE = sys.platform in ("win32", "darwin")
_DIGITS = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)
_UDIM, _UVTILE = "<UDIM>", "<UVTILE>"


@dataclass(frozen=True, slots=True)
class Found:
    """What a link means here.

    `anchor` is what its path names; of a FOLDER and of a CACHE `members` lie in it, of everything
    else beside it, or are it. Their names are as the .blend spells them, however the disk does.
    """

    anchor: Path
    members: tuple[tuple[str, Path], ...] = ()  # name (with "/"), and the file
    lacking: tuple[Path, ...] = ()  # what should be there and is not


def absolute(path: str, blend: Path) -> Path:
    """What a path of `blend` (itself absolute) names, `..` resolved by the letters as Blender does."""
    is_unc = path.startswith("\\\\")
    text = path.replace("\\", "/")
    if sys.platform != "win32" and re.match(r"[A-Za-z]:/", text):
        text = text[2:]  # what Blender makes of a drive where there are none
    if text.startswith("//") and not is_unc:
        text = text[2:]
        return Path(os.path.normpath(blend.parent / text.lstrip("/")))
    return Path(os.path.normpath(blend.parent / text))


class Finder:
    """Finds files; each folder is listed once."""

    def __init__(self) -> None:
        self._listed: dict[Path, list[str]] = {}

    def find(self, link: Link, blend: Path) -> Found:
        """What `link` of the file `blend` means."""
        anchor = absolute(link.path, blend)
        if link.shape in (Shape.FILE, Shape.LIBRARY):
            members = [(anchor.name, anchor)] if anchor.is_file() else []
        elif link.shape is Shape.PACKED:
            members = []
        elif link.shape is Shape.FOLDER:
            members = list(_everything(anchor))
        elif link.shape is Shape.CACHE:
            pattern = re.escape(anchor.name) + r"[-0-9]+(_[0-9]+)?\.(bphys|vdb)"
            members = list(self._matching(anchor.parent, pattern))
            anchor = anchor.parent
        elif link.shape is Shape.TILES:
            return self._tiles(link, anchor)
        else:
            members = self._sequence(anchor)
        lacking = () if members or not link.is_required else (anchor,)
        return Found(anchor, tuple(sorted(members)), lacking)

    def _sequence(self, anchor: Path) -> list[tuple[str, Path]]:
        """All numbers of a name; Blender counts with its last digits, and pads to their width."""
        end = len(anchor.name) - len(anchor.suffix)
        parts = _DIGITS.fullmatch(anchor.name[:end])
        if parts is None:
            return [(anchor.name, anchor)] if anchor.is_file() else []
        head, digits, tail = parts[1], parts[2], parts[3] + anchor.suffix
        return list(self._numbered(anchor.parent, head, rf"[0-9]{{{len(digits)},}}", tail))

    def _tiles(self, link: Link, anchor: Path) -> Found:
        mark = next((mark for mark in (_UDIM, _UVTILE) if mark in anchor.name), None)
        if mark is None:  # as Blender 2.8 wrote it
            mark = next((m for m in re.findall(r"(?<![0-9])1[0-9]{3}(?![0-9])", anchor.name)), "")
        if not mark:
            members = [(anchor.name, anchor)] if anchor.is_file() else []
            return Found(anchor, tuple(members), () if members else (anchor,))
        head, _, tail = anchor.name.partition(mark)
        pattern = r"u[0-9]+_v[0-9]+" if mark == _UVTILE else r"[0-9]{4}"
        members = sorted(self._numbered(anchor.parent, head, pattern, tail))
        there = {name for name, _ in members}
        wanted = [f"{head}{_tile_text(tile, mark)}{tail}" for tile in link.tiles or (1001,)]
        lacking = tuple(anchor.with_name(name) for name in wanted if name not in there)
        return Found(anchor, tuple(members), lacking)

    def _numbered(
        self, folder: Path, head: str, number: str, tail: str
    ) -> Iterator[tuple[str, Path]]:
        """Files `head` number `tail`, spelled as head and tail are."""
        pattern = f"{re.escape(head)}({number}){re.escape(tail)}"
        for found, path in self._matches(folder, pattern):
            yield f"{head}{found[1]}{tail}", path

    def _matching(self, folder: Path, pattern: str) -> Iterator[tuple[str, Path]]:
        for _, path in self._matches(folder, pattern):
            yield path.name, path

    def _matches(self, folder: Path, pattern: str) -> Iterator[tuple[re.Match[str], Path]]:
        compiled = re.compile(
            unicodedata.normalize("NFC", pattern), re.IGNORECASE if _FOLDS_CASE else 0
        )
        for name in self._names(folder):
            found = compiled.fullmatch(unicodedata.normalize("NFC", name))
            if found is not None and (path := folder / name).is_file():
                yield found, path

    def _names(self, folder: Path) -> list[str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = sorted(path.name for path in folder.iterdir())
            except OSError:
                self._listed[folder] = []
        return self._listed[folder]


def _tile_text(tile: int, mark: str) -> str:
    if mark != _UVTILE:
        return str(tile)
    row, column = divmod(tile - 1001, 10)
    return f"u{column + 1}_v{row + 1}"


def _everything(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files below a folder; links to folders are not followed, they may lead in circles."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in names:
            path = Path(place) / name
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path
