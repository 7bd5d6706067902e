"""Taking a task's ZIP apart: where its entries belong, and writing them into a folder.

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
from pathlib import Path, PurePosixPath

from renderonline.client.safe_paths import UnsafePath, relative

try:
    from lzma import LZMAError
except ImportError:  # a Python that was built without it: it reads no archive that needs it, either
    LZMAError = EOFError  # type: ignore[misc,assignment]

RESULTS_FOLDER = "output"
"""Where a task's folder has what was rendered; beside it lies the project."""


DAMAGE: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    NotImplementedError,
    KeyError,
    IndexError,  # of an empty name
    UnicodeDecodeError,
)
"""What zipfile raises for an archive that is none, or not what it was; besides OSError."""


class ArchiveError(Exception):
    """A ZIP that is damaged, or that would write where it must not. Its text is a sentence."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to write: `info` of the archive goes to `target`, relative to the folder."""

    info: zipfile.ZipInfo
    target: PurePosixPath


def extract(archive: Path, folder: Path, scratch: Path) -> list[Path]:
    """Write an archive's files below `folder` and return their paths, in the archive's order.

    Each file is written in `scratch` (an existing folder on the same disk) and renamed into place,
    so nobody ever sees half a frame; a file that was there is replaced. Raises ArchiveError and
    OSError.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = plan(opened.infolist(), windows=sys.platform == "win32")
            return [_write(opened, entry, folder, scratch) for entry in entries]
    except DAMAGE as error:
        raise ArchiveError(f"The archive is damaged ({error}).") from None


def plan(infos: Iterable[zipfile.ZipInfo], windows: bool) -> list[Entry]:
    """Where each file goes. Raises ArchiveError for a name that must not be."""
    return [Entry(info, safe_name(info, windows)) for info in infos if not info.is_dir()]


def safe_name(info: zipfile.ZipInfo, windows: bool) -> PurePosixPath:
    """The entry's path, relative and free of tricks. Raises ArchiveError.

    `windows`: it must also be one that Windows can have.
    """
    shown = repr(info.filename)
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ArchiveError(f"The archive holds the link {shown}; only files are taken from it.")
    if info.flag_bits & 1:
        raise ArchiveError(f"The archive's entry {shown} is encrypted.")
    try:
        # ZipInfo has turned this platform's separators into "/"; a "\\" left over is one elsewhere.
        return relative(info.filename, windows)
    except UnsafePath as error:
        raise ArchiveError(f"The archive holds {shown}, which {error}.") from None


def _write(opened: zipfile.ZipFile, entry: Entry, folder: Path, scratch: Path) -> Path:
    target = folder / entry.target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = scratch / "entry.part"
    with opened.open(entry.info) as source, temporary.open("wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    temporary.replace(target)
    return target
