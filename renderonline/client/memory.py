"""What the client remembers between submissions: hashes of files, and uploads that were begun.

A small database in the user's cache folder. It may be lost at any time and is then made again;
whatever is wrong with it costs time and nothing else.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from contextlib import suppress
from pathlib import Path

from renderonline.client.sources import Stamp

log = logging.getLogger(__name__)

SETTLED_S = 3.0
"""How old a change must be to be told from the next one by its time: FAT counts in two seconds."""

KEPT_DAYS = 90
"""How long a file that is not submitted any more is remembered."""

_BUSY_S = 5.0  # how long another client's writing is waited for

_TABLES = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = OFF;
    CREATE TABLE IF NOT EXISTS hashes (
        place BLOB PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL, seen REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS uploads (
        farm TEXT, sha256 TEXT, location TEXT NOT NULL, seen REAL NOT NULL,
        PRIMARY KEY (farm, sha256)
    ) WITHOUT ROWID;
"""


class Memory:
    """Opened when it is first asked. Any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._is_usable = True

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def hash_of(self, stamp: Stamp) -> str | None:
        """The hash of a file that is as it was."""
        query = "SELECT sha256 FROM hashes WHERE place = ? AND stamp = ?"
        return self._run(query, os.fsencode(stamp[0]), str(stamp[1:]))

    def keep_hash(self, stamp: Stamp, sha256: str) -> None:
        """Remember a hash, unless a change right now could go unseen."""
        now = time.time()
        if now - stamp[2] / 1e9 > SETTLED_S:
            row = (os.fsencode(stamp[0]), str(stamp[1:]), sha256, now)
            self._run("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?)", *row)

    def upload_of(self, farm: str, sha256: str) -> str | None:
        """Where an upload was begun that can be gone on with. `farm`: which, and whose."""
        return self._run("SELECT location FROM uploads WHERE farm = ? AND sha256 = ?", farm, sha256)

    def keep_upload(self, farm: str, sha256: str, location: str) -> None:
        row = (farm, sha256, location, time.time())
        self._run("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?)", *row)

    def forget_upload(self, farm: str, sha256: str) -> None:
        self._run("DELETE FROM uploads WHERE farm = ? AND sha256 = ?", farm, sha256)

    def _run(self, statement: str, *values: object) -> str | None:
        """The first column of what is found."""
        with self._lock:
            try:
                found = self._opened().execute(statement, values).fetchone()
                return None if found is None else str(found[0])
            except sqlite3.OperationalError as error:  # busy, not writable, the disk is full
                log.debug("The cache %s is not used: %s", self._file, error)
            except (sqlite3.Error, OSError) as error:
                log.debug("The cache %s is made anew: %s", self._file, error)
                self._give_up()
        return None

    def _opened(self) -> sqlite3.Connection:
        if not self._is_usable:
            raise sqlite3.OperationalError("it was found broken")
        if self._connection is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self._file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._connection = connection
            connection.executescript(_TABLES)
            oldest_s = time.time() - KEPT_DAYS * 86400
            for table in ("hashes", "uploads"):
                connection.execute(f"DELETE FROM {table} WHERE seen < ?", (oldest_s,))
        return self._connection

    def _give_up(self) -> None:
        """Without it until the end of this program; the next one finds none, and makes it."""
        self._is_usable = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        with suppress(OSError):
            self._file.unlink()
