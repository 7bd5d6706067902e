"""The plain files below a folder that renderers write into: finding them, and opening one safely.

A renderer runs what is in a scene, and may put a link in any place at any moment: nothing is read
that does not lie, as a plain file, below the folder itself. What lies in a folder for unfinished
work is no result yet.
"""

from __future__ import annotations

import io
import logging
import os
import re
import stat
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from renderonline.names import has_control
from renderonline.paths import UNFINISHED

log = logging.getLogger(__name__)

PIECE_BYTES = 256 * 1024
"""Size of what is handed to the HTTP server at once. Measured: half the work of 64 KiB, and larger
pieces save little more."""

_JUNCTION_TAG = 0xA0000003
"""IO_REPARSE_TAG_MOUNT_POINT: Windows' other kind of link, which S_ISLNK does not know."""

_OPEN = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # of a pipe that took the file's place: do not wait
    | getattr(os, "O_NOINHERIT", 0)
)


class Changed(OSError):
    """A file is not any more what was promised of it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, as it was when it was looked at."""

    root: Path  # below it, no link is on the way to the file
    name: str  # what it is called: relative, "/" between its parts, fit for UTF-8
    place: str  # its path; a text, since there may be a hundred thousand
    size_bytes: int
    mtime_ns: int

    @property
    def path(self) -> Path:
        return Path(self.place)

    @property
    def file_name(self) -> str:
        """The last part of its name."""
        return self.name.rpartition("/")[2]


def entries(root: Path, inside: str = "", but: Collection[Path] = ()) -> list[Entry]:
    """Every plain file below the folder `inside` of `root` ("output/exr"), by its name there; not
    those in folders of `but`.

    A name that is no UTF-8 (which neither a ZIP nor JSON can hold) has � for what is none. Empty
    if there is no such folder, or a link.
    """
    folder = _folder(root, inside)
    if folder is None:
        return []
    found = [
        Entry(root, shown(name), path, status.st_size, status.st_mtime_ns)
        for name, path, status in _files(folder, {str(path) for path in but})
    ]
    return sorted(found, key=lambda entry: entry.name)


def find(root: Path, inside: str, name: str) -> Entry | None:
    """The plain file that `entries` calls `name`; None if there is none."""
    *above, last = parts = name.split("/")
    is_finished = not any(part.startswith(UNFINISHED) for part in parts)
    folder = _folder(root, "/".join([*filter(None, [inside]), *above])) if is_finished else None
    if folder is not None and _is_usable(last) and "" not in above:
        status = _plain_file(folder / last)
        if status is not None:
            return Entry(root, name, str(folder / last), status.st_size, status.st_mtime_ns)
    if "�" not in name:
        return None
    return next((entry for entry in entries(root, inside) if entry.name == name), None)


def opened(entry: Entry) -> io.FileIO:
    """The file, open for reading, if it is still the one that `entry` was made of. Raises Changed."""
    file = opened_as_it_is(entry)
    try:
        check(file, entry)
    except Changed:
        file.close()
        raise
    return file


def opened_as_it_is(entry: Entry) -> io.FileIO:
    """The plain file that is there now, with any content. Raises Changed if none is, or not below
    the root."""
    try:
        descriptor = os.open(entry.place, _OPEN)
    except OSError as error:
        raise changed(entry, error.strerror or "it cannot be opened") from None
    file = io.FileIO(descriptor)
    # Looked at once it is open: nothing that is put in its place later matters.
    if not _is_in_place(entry, os.fstat(descriptor)):
        file.close()
        raise changed(entry, "there is no such plain file any more")
    return file


def read(file: io.FileIO, entry: Entry, start: int, stop: int) -> Iterator[bytes]:
    """The file's bytes from `start` up to `stop`, cut at multiples of PIECE_BYTES. Raises Changed."""
    file.seek(start)
    place = start
    while place < stop:
        try:
            piece = file.read(min(PIECE_BYTES - place % PIECE_BYTES, stop - place))
        except OSError as error:
            raise changed(entry, error.strerror or "it cannot be read") from None
        if not piece:
            raise changed(entry, "it became shorter")
        place += len(piece)
        yield piece


def check(file: io.FileIO, entry: Entry) -> None:
    """Raise Changed if the open file has another size or time than `entry`."""
    status = os.fstat(file.fileno())
    if (status.st_size, status.st_mtime_ns) != (entry.size_bytes, entry.mtime_ns):
        raise changed(entry, "it was written to")


def shown(name: str) -> str:
    """A file's name as it is told."""
    return os.fsencode(name).decode("utf-8", "replace")


def changed(entry: Entry, why: str) -> Changed:
    log.warning("%s is not handed out as promised: %s", entry.place, why)
    return Changed(f"{entry.name}: {why}")


def _files(root: Path, but: Collection[str]) -> Iterator[tuple[str, str, os.stat_result]]:
    """Name, path and status of each. Strings and the plain calls of `os`: there may be many."""
    pending = [("", str(root))]
    while pending:
        inside, folder = pending.pop()
        try:
            with os.scandir(folder) as listed:
                names = [entry.name for entry in listed]
        except OSError as error:
            log.warning("%s cannot be listed: %s", folder, error.strerror)
            continue
        for name in names:
            if name.startswith(UNFINISHED):
                continue
            path = os.path.join(folder, name)  # noqa: PTH118
            try:
                status = os.lstat(path)
            except OSError:
                continue  # gone between listing and looking
            if stat.S_ISREG(status.st_mode) and not _leads_elsewhere(status):
                yield inside + name, path, status
            elif _is_real_folder(status) and path not in but:
                pending.append((f"{inside}{name}/", path))


def _is_in_place(entry: Entry, status: os.stat_result) -> bool:
    """Whether an opened file is the plain one at the entry's path, with no link on the way."""
    if not stat.S_ISREG(status.st_mode):
        return False
    folder = entry.path.parent
    while folder != entry.root:
        if not _is_folder(folder):
            return False
        folder = folder.parent
    there = _plain_file(entry.path)
    return _is_folder(entry.root) and there is not None and os.path.samestat(there, status)


def _folder(root: Path, inside: str) -> Path | None:
    """A folder below `root`, if it is one and no link is on the way; "" is the root itself."""
    path = root
    if not _is_folder(path):
        return None
    for part in inside.split("/") if inside else ():
        path = path / part
        if not _is_usable(part) or not _is_folder(path):
            return None
    return path


def _is_usable(part: str) -> bool:
    """Whether a part of a path means a file's own name on this platform."""
    if part in ("", ".", "..") or "\0" in part:
        return False
    if sys.platform != "win32":
        return True
    return not (re.search(r'[<>:"|?*\\]', part) or part[-1] in ". " or has_control(part))


def _is_folder(path: Path) -> bool:
    try:
        return _is_real_folder(path.lstat())
    except (OSError, ValueError):  # ValueError: a name that no disk can have
        return False


def _plain_file(path: Path) -> os.stat_result | None:
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) and not _leads_elsewhere(status) else None


def _is_real_folder(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and not _leads_elsewhere(status)


def _leads_elsewhere(status: os.stat_result) -> bool:
    return bool(getattr(status, "st_reparse_tag", 0) == _JUNCTION_TAG)
