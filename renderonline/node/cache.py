"""Files of projects on this machine, by what is in them: each is fetched once, whoever needs it.

The least recently used ones go when the cache is larger than it may be. A file is verified when it
comes; afterwards its size and its time of change say whether it still is what it was, since the
folders in which a task is rendered share it (hard links), and a renderer may write into it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from renderonline import paths

log = logging.getLogger(__name__)

SHARE_OF_DISK = 0.25
"""How much of the disk the cache may take, unless a setting says how much."""

PARTS_KEPT_S = 7 * 24 * 3600
"""How long the beginning of a file stays that nobody has gone on fetching."""

READ_ONLY = 0o444

_TABLE = """
CREATE TABLE IF NOT EXISTS files (
    sha256 TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    used_at REAL NOT NULL
)
"""


class Cache:
    """The files below one folder. Any thread; the folder belongs to one node."""

    def __init__(self, folder: Path, limit_bytes: int | None) -> None:
        """Creates `folder`. `limit_bytes` None: a share of the disk. Raises OSError."""
        self._folder = paths.private_dir(folder)
        self._parts = paths.private_dir(folder / "parts")
        self._limit_bytes = limit_bytes or int(shutil.disk_usage(folder).total * SHARE_OF_DISK)
        self._lock = threading.Lock()
        try:
            self._list = self._open()
        except sqlite3.Error:
            # Nothing is lost but time: what the list knew is fetched again.
            log.warning("The list of the cache in %s is damaged; the cache begins anew.", folder)
            self._begin_anew()
            try:
                self._list = self._open()
            except sqlite3.Error as error:
                raise disk_error(error) from None
        self._clear_up()

    def find(self, sha256: str) -> Path | None:
        """The file, if it is here and unchanged; one that was changed is dropped. Raises OSError."""
        with self._lock:
            rows = self._do("SELECT size_bytes, mtime_ns FROM files WHERE sha256 = ?", sha256)
            if not rows:
                return None
            file = self._file(sha256)
            if _stamp(file) != rows[0]:
                log.warning("%s in the cache was changed or is gone; it is fetched again", sha256)
                self._drop(sha256)
                return None
            self._do("UPDATE files SET used_at = ? WHERE sha256 = ?", time.time(), sha256)
            return file

    def part(self, sha256: str) -> Path:
        """Where this file is being fetched to; what lies there already is its beginning."""
        return self._parts / sha256

    def take(self, sha256: str) -> Path:
        """The fetched part is whole and verified: it is a file of the cache now. Raises OSError."""
        part, file = self.part(sha256), self._file(sha256)
        file.parent.mkdir(exist_ok=True)
        if sys.platform != "win32":  # where nothing that is read-only can be deleted
            part.chmod(READ_ONLY)
        with self._lock:
            part.replace(file)
            stamp = _stamp(file)
            assert stamp is not None
            values = (sha256, *stamp, time.time())
            self._do("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", *values)
        return file

    def drop(self, sha256: str) -> None:
        """It is not what it should be. Raises OSError."""
        with self._lock:
            self._drop(sha256)

    def make_room(self, coming_bytes: int, needed: Collection[str]) -> set[str]:
        """Drop the least recently used files until so much more fits, into the limit and onto the
        disk, but none of `needed`; which.

        A file that a task's folder shares takes room until that is removed. Raises OSError.
        """
        dropped: set[str] = set()
        with self._lock:
            ((size,),) = self._do("SELECT COALESCE(SUM(size_bytes), 0) FROM files")
            too_much = max(size - self._limit_bytes, -self.free_bytes()) + coming_bytes
            if too_much <= 0:
                return dropped
            rows = self._do("SELECT sha256, size_bytes FROM files ORDER BY used_at")
            for sha256, size_bytes in rows:
                if too_much <= 0:
                    break
                if sha256 not in needed:
                    self._drop(sha256)
                    dropped.add(sha256)
                    too_much -= size_bytes
        return dropped

    def free_bytes(self) -> int:
        """What the disk has. Raises OSError."""
        return shutil.disk_usage(self._folder).free

    def close(self) -> None:
        """The list is closed; the files stay."""
        with self._lock:
            self._list.close()

    def _open(self) -> sqlite3.Connection:
        file = self._folder / "list.sqlite3"
        opened = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        opened.execute("PRAGMA journal_mode = WAL")
        opened.execute("PRAGMA synchronous = NORMAL")
        opened.execute(_TABLE)
        return opened

    def _begin_anew(self) -> None:
        for file in self._folder.glob("list.sqlite3*"):
            file.unlink(missing_ok=True)

    def _clear_up(self) -> None:
        """What is on no list (the node ended between two lines) or was left half-way long ago."""
        listed = {sha256 for (sha256,) in self._do("SELECT sha256 FROM files")}
        for file in self._folder.glob("??/*"):
            if file.name not in listed:
                with contextlib.suppress(OSError):  # Windows: somebody has it open
                    file.unlink(missing_ok=True)
        for part in self._parts.iterdir():
            if abs(time.time() - part.stat().st_mtime) > PARTS_KEPT_S:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)

    def _drop(self, sha256: str) -> None:
        self._do("DELETE FROM files WHERE sha256 = ?", sha256)
        with contextlib.suppress(OSError):
            self._file(sha256).unlink(missing_ok=True)

    def _do(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Raises OSError: what keeps a list from being written is the disk's fault."""
        try:
            return self._list.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise disk_error(error) from None

    def _file(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256


def disk_error(error: sqlite3.Error) -> OSError:
    """What SQLite says of the disk, as the disk itself would."""
    is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return OSError(errno.ENOSPC if is_full else errno.EIO, str(error))


def is_full(error: OSError) -> bool:
    """No room, or over the user's disk quota."""
    return error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def digest(file: Path) -> str:
    """The SHA-256 of a file. Raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
