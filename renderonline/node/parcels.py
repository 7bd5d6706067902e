"""What has been rendered and is not at its api yet: a folder of files, and a list of whose they are.

It outlives the node: a restart, a crash, an api that is away for days. A file is on the list before
it leaves the desk, and it leaves the list when its api has it on its disk. The list holds the keys
of attempts, so only the node's user may read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from renderonline import paths
from renderonline.node.api_client import Api
from renderonline.node.cache import disk_error
from renderonline.node.orders import ReportTo
from renderonline.node.results import move

log = logging.getLogger(__name__)

_TABLE = """
CREATE TABLE IF NOT EXISTS parcels (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    api TEXT NOT NULL, fingerprint TEXT, attempt INTEGER NOT NULL, key TEXT NOT NULL,
    path TEXT NOT NULL, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, frame INTEGER
)
"""
_COLUMNS = "number, api, fingerprint, attempt, key, path, sha256, size_bytes, frame"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One file on its way."""

    number: int  # in the order of their making
    to: ReportTo
    path: str  # relative to the task's output folder, with /
    sha256: str
    size_bytes: int
    frame: int | None  # which is complete with it; None: it completes none


class Parcels:
    """The list and the files. Any thread."""

    def __init__(self, folder: Path) -> None:
        """Creates `folder`; what an interrupted node left half-way is cleared. Raises OSError."""
        self._folder = paths.private_dir(folder)
        self._lock = threading.Lock()
        self._struck: set[int] = set()  # gone, but the list could not be written yet
        file = self._folder / "list.sqlite3"
        file.touch(mode=0o600)
        try:
            self._list = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            self._list.execute("PRAGMA journal_mode = WAL")
            # Without waiting for the disk: what a power cut takes from the list was not acknowledged
            # to anybody, and is rendered or sent again.
            self._list.execute("PRAGMA synchronous = NORMAL")
            self._list.execute(_TABLE)
        except sqlite3.Error as error:
            raise OSError(
                f"The list of results to be sent, {file}, cannot be used: {error}."
            ) from None
        self._count = Counter(parcel.to for parcel in self._read("ORDER BY number"))
        self._clear_up()

    def add(self, to: ReportTo, path: str, file: Path, frame: int | None) -> None:
        """Take a whole file away from where it is. Raises OSError."""
        sha256, size_bytes = _digest(file)
        with self._lock:
            values = (to.api.url, to.api.fingerprint, to.attempt_id, to.key, path, sha256)
            try:
                cursor = self._list.execute(
                    f"INSERT INTO parcels ({_COLUMNS}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*values, size_bytes, frame),
                )
            except sqlite3.Error as error:
                raise disk_error(error) from None
            number = int(cursor.lastrowid or 0)
            try:
                move(file, self._file(number))
            except OSError:
                with contextlib.suppress(sqlite3.Error):
                    self._strike(number)
                raise
            self._count[to] += 1

    def first(self, api: Api, but: Collection[ReportTo] = ()) -> Parcel | None:
        """The oldest that is for this api, and of none of these attempts. Raises sqlite3.Error."""
        with self._lock:
            where = "WHERE api = ? AND fingerprint IS ? ORDER BY number"
            if not but and not self._struck:
                where += " LIMIT 1"
            found = self._read(where, api.url, api.fingerprint)
        return next((parcel for parcel in found if parcel.to not in but), None)

    def file(self, parcel: Parcel) -> Path:
        """Where its bytes are."""
        return self._file(parcel.number)

    def is_whole(self, parcel: Parcel) -> bool:
        """Whether the file still is what it was. Reads it; OSError is a no."""
        try:
            return _digest(self.file(parcel)) == (parcel.sha256, parcel.size_bytes)
        except OSError:
            return False

    def remove(self, parcel: Parcel) -> None:
        """It has arrived, or nobody wants it."""
        with self._lock:
            self._drop([parcel])

    def remove_all(self, to: ReportTo) -> None:
        """Nobody wants anything of this attempt."""
        with self._lock:
            if to not in self._count:
                return
            self._drop([parcel for parcel in self._read("ORDER BY number") if parcel.to == to])

    def count(self, to: ReportTo) -> int:
        """How many of this attempt are on their way."""
        with self._lock:
            return self._count.get(to, 0)

    def waiting_bytes(self) -> int:
        """How much is on its way to anybody."""
        with self._lock:
            if not self._count.total():
                return 0
            try:
                rows = self._list.execute("SELECT COALESCE(SUM(size_bytes), 0) FROM parcels")
                return int(rows.fetchone()[0])
            except sqlite3.Error as error:
                log.warning("the list of results cannot be read: %s", error)
                return 0

    def disk_bytes(self) -> tuple[int, int]:
        """The size of the disk that they lie on, and what is free there. Raises OSError."""
        usage = shutil.disk_usage(self._folder)
        return usage.total, usage.free

    def apis(self) -> set[Api]:
        """Whom any are for."""
        with self._lock:
            return {to.api for to, count in self._count.items() if count}

    def close(self) -> None:
        """What is left stays for the next start."""
        with self._lock:
            self._list.close()

    def _drop(self, parcels: list[Parcel]) -> None:
        """The file first: on a full disk the list can be written only when that has made room."""
        for parcel in parcels:
            with contextlib.suppress(OSError):  # the next start clears it
                self._file(parcel.number).unlink(missing_ok=True)
            self._struck.add(parcel.number)
            self._count[parcel.to] -= 1
            if not self._count[parcel.to]:
                del self._count[parcel.to]
        try:
            for number in sorted(self._struck):
                self._strike(number)
                self._struck.discard(number)
        except sqlite3.Error as error:
            log.warning("The list of results cannot be written yet: %s", error)

    def _strike(self, number: int) -> None:
        self._list.execute("DELETE FROM parcels WHERE number = ?", (number,))

    def _read(self, rest: str, *values: object) -> list[Parcel]:
        rows = self._list.execute(f"SELECT {_COLUMNS} FROM parcels {rest}", values).fetchall()
        rows = [row for row in rows if row[0] not in self._struck]
        return [
            Parcel(number, ReportTo(Api(url, pin), attempt, key), path, sha256, size, frame)
            for number, url, pin, attempt, key, path, sha256, size, frame in rows
        ]

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.file"

    def _clear_up(self) -> None:
        """A row without a file had not left the desk yet; a file without a row has arrived."""
        known = self._read("ORDER BY number")
        lost = [parcel for parcel in known if not self._file(parcel.number).is_file()]
        self._drop(lost)
        numbers = {f"{parcel.number}.file" for parcel in known}
        for file in self._folder.glob("*.file"):
            if file.name not in numbers:
                file.unlink(missing_ok=True)


def _digest(file: Path) -> tuple[str, int]:
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return sha256, stream.tell()
