"""What the content store holds: files by their hash, whole, and known to the database.

A content is there if it has a row and its file still looks as when it was taken in. One that was
changed in its place (a task's folder may be hard links) is dropped the moment that is seen, and has
to be sent again. Files are moved and removed inside the transaction that writes their row.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from renderonline.api.db import contents, storage
from renderonline.api.db.connection import Database, DatabaseError
from renderonline.api.storage.contents import ContentStore, Stamp
from renderonline.api.storage.durable import sha256_of
from renderonline.lifecycle import Clock

log = logging.getLogger(__name__)

KEPT_FOR = timedelta(hours=1)
"""How long a content stays, at least, that somebody was told is there."""


class Contents:
    """The contents of one api. Safe from any thread. Its methods raise DatabaseError and OSError."""

    def __init__(self, database: Database, store: ContentStore, clock: Clock) -> None:
        self.store = store
        self._database = database
        self._clock = clock

    def path(self, sha256: str) -> Path | None:
        """The file with these bytes, to be read; None if it is not there."""
        return None if self.missing([sha256]) else self.store.place(sha256)

    def missing(self, hashes: Iterable[str], keep: bool = False) -> list[str]:
        """Those of these that are not there, each once, in the order given.

        `keep`: the others are not removed within KEPT_FOR.
        """
        asked = list(dict.fromkeys(hashes))
        with self._database.reading():
            known = contents.known(asked)
        there = [sha256 for sha256 in asked if self._fits(sha256, known.get(sha256))]
        for sha256 in known.keys() - set(there):
            self.drop_if_changed(sha256)
        if keep and there:
            until = self._clock.now() + KEPT_FOR
            self._database.transact(lambda _tx: contents.want(there, until))
        present = set(there)
        return [sha256 for sha256 in asked if sha256 not in present]

    def stamps(self, hashes: Sequence[str]) -> dict[str, Stamp]:
        """How those of these that are known should look; whether they do is not looked at."""
        with self._database.reading():
            return {sha256: Stamp(*known) for sha256, known in contents.known(hashes).items()}

    def drop_if_changed(self, sha256: str) -> None:
        """Forget the content if its file is not what was taken in any more."""

        def write(_tx: object) -> None:
            known = contents.lock(sha256, self._clock.now())
            if known is not None and self._fits(sha256, known):
                return
            contents.forget(sha256)
            with suppress(PermissionError):  # Windows: somebody is reading it; it goes with time
                self.store.remove(sha256)
            if known is not None:
                log.warning("content %s was changed in its place; it is dropped", sha256)

        self._database.transact(write)

    def add(self, sha256: str, file: Path, user_id: int | None) -> None:
        """Take in a file that has this hash and is on the disk: it is there when this returns, and
        `file` is not any more. A second copy is not kept."""
        self._database.transact(lambda _tx: self.put(sha256, file, user_id))
        if file != self.store.place(sha256):
            file.unlink(missing_ok=True)
        self.store.secure([sha256])

    def recover(self, sha256: str, user_id: int | None) -> bool:
        """Take in what a crash left in its place without a row; whether it is there now."""
        place = self.store.place(sha256)
        try:
            if sha256_of(place) != sha256:
                return False
            self.add(sha256, place, user_id)
        except FileNotFoundError:
            return False
        return True

    def drop_unused(
        self, hashes: Sequence[str], stored_before: datetime, unwanted_since: datetime
    ) -> list[int]:
        """Remove those of these that no project needs, by the storekeeper's measure; their sizes."""

        def write(_tx: object) -> list[int]:
            sizes = []
            for sha256, (size_bytes, _mtime_ns) in contents.known(hashes, lock=True).items():
                if not storage.is_unused(sha256, stored_before, unwanted_since):
                    continue
                try:
                    self.store.remove(sha256)
                except PermissionError:  # Windows: somebody is reading it; the next time
                    continue
                contents.forget(sha256)
                sizes.append(size_bytes)
            return sizes

        return self._database.transact(write)

    # ------------------------------------------------------------------ inside a transaction

    def put(self, sha256: str, file: Path, user_id: int | None) -> None:
        """`add`, as a part of the caller's transaction. `store.secure` follows it, or, if it fails,
        `abandon`."""
        now = self._clock.now()
        if self._fits(sha256, contents.lock(sha256, now)):
            contents.want([sha256], now + KEPT_FOR)
            return
        stamp = self.store.take_in(sha256, file)
        contents.keep(sha256, *stamp, now, user_id)

    def abandon(self, hashes: Iterable[str]) -> None:
        """The transaction that was to take these in has failed: no file of theirs stays."""
        for sha256 in hashes:
            try:
                self.drop_if_changed(sha256)
            except DatabaseError as error:
                log.warning("content %s may be left over; it goes with time: %s", sha256, error)

    def _fits(self, sha256: str, known: contents.Known | None) -> bool:
        return known is not None and self.store.stamp(sha256) == known
