"""Taking a task's ZIP apart: which of its entries are results, and writing them into a folder.

An archive is data from elsewhere: nothing in it may land outside the folder that was named. `plan`
decides that from the names alone, before the first byte is written; `extract` then writes.
"""

from __future__ import annotations

import shutil
import stat
import sys
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

RESULTS_FOLDER = "output"
"""Where a task's folder has what was rendered; beside it lies the project."""


class ArchiveError(Exception):
    """A ZIP that is damaged, or that would write where it must not. Its text is a sentence."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to write: `info` of the archive goes to `target`, relative to the folder."""

    info: zipfile.ZipInfo
    target: PurePosixPath


def extract(
    archive: Path, folder: Path, scratch: Path, *, project: str, whole: bool = False
) -> list[Path]:
    """Write an archive's results below `folder` and return their paths, in the archive's order.

    Each file is written in `scratch` (an existing folder on the same disk) and renamed into place,
    so nobody ever sees half a frame; a file that was there is replaced. `project` is the name of
    the project file; see `plan`. Raises ArchiveError and OSError.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = plan(opened.infolist(), project, whole, windows=sys.platform == "win32")
            return [_write(opened, entry, folder, scratch) for entry in entries]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ArchiveError(f"The archive is damaged ({error}).") from None


def plan(infos: Iterable[zipfile.ZipInfo], project: str, whole: bool, windows: bool) -> list[Entry]:
    """Which entries are written, and where to. Raises ArchiveError for a name that must not be.

    `whole`: everything, as it lies in the archive. Otherwise the results: what is in `output/`,
    without that folder's name. A task made by the original has no such folder: its results are all
    but the project file.
    """
    files = [(info, safe_name(info, windows)) for info in infos if not info.is_dir()]
    if whole:
        return [Entry(info, name) for info, name in files]
    results = [
        Entry(info, PurePosixPath(*name.parts[1:]))
        for info, name in files
        if name.parts[0] == RESULTS_FOLDER and len(name.parts) > 1
    ]
    if results:
        return results
    return [Entry(info, name) for info, name in files if str(name) != project]


def safe_name(info: zipfile.ZipInfo, windows: bool) -> PurePosixPath:
    """The entry's path, relative and free of tricks. Raises ArchiveError.

    `windows`: it must also be one that Windows can have.
    """
    shown = repr(info.filename)
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ArchiveError(f"The archive holds the link {shown}; only files are taken from it.")
    if info.flag_bits & 1:
        raise ArchiveError(f"The archive's entry {shown} is encrypted.")
    # ZipInfo has turned this platform's separators into "/"; a "\\" left over is one elsewhere.
    parts = info.filename.split("/")
    if "\\" in info.filename or any(part in ("", ".", "..") for part in parts):
        raise ArchiveError(f"The archive holds {shown}, which would leave its folder.")
    if PureWindowsPath(info.filename).drive:
        raise ArchiveError(f"The archive holds {shown}, which names a drive.")
    if windows and any(not _allowed_on_windows(part) for part in parts):
        raise ArchiveError(f"The archive holds {shown}, a name that Windows cannot have.")
    return PurePosixPath(*parts)


def _allowed_on_windows(part: str) -> bool:
    """Whether Windows takes `part` as a file's name and means a file by it."""
    if part[-1] in " ." or any(c < " " or c in '<>:"|?*' for c in part):
        return False
    stem = part.split(".")[0].rstrip().upper()
    devices = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    numbered = len(stem) == 4 and stem[:3] in ("COM", "LPT") and stem[3] in "0123456789¹²³"
    return stem not in devices and not numbered


def _write(opened: zipfile.ZipFile, entry: Entry, folder: Path, scratch: Path) -> Path:
    target = folder / entry.target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = scratch / "entry.part"
    with opened.open(entry.info) as source, temporary.open("wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    temporary.replace(target)
    return target
