"""Uploads that may break off and go on: begun, continued from where the bytes end, finished, dropped.

An upload is its sender's alone. Its bytes become a content when the last one has come, and only if
they are what was said; the SHA-256 runs along while they come, and is made anew from the file where
a restart has lost it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from renderonline.api.domain.model import User
from renderonline.api.services.contents import Contents
from renderonline.api.services.refusal import Refused
from renderonline.api.services.room import Room
from renderonline.api.storage.uploads import Upload, UploadStore
from renderonline.config import ApiSettings

log = logging.getLogger(__name__)

BLOCK_BYTES = 64 << 10
"""How much is read and written at once. cheroot hands out a block when all of it has come: what of
a larger one had come when the connection broke would be lost."""

ABANDONED_AFTER = timedelta(hours=48)
"""How long an upload waits for its next bytes."""

CHECKSUM_MISMATCH = 460
"""tus' own status."""

ALGORITHMS = ("sha1", "sha256")

Read = Callable[[int], bytes]
"""Gives at most so many of the request's bytes, none at its end. Raises OSError when it breaks off."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far an upload is. `expires_at` None: it is finished."""

    offset: int
    upload: Upload
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Piece:
    """What a request brings: from which offset on, how much if that is known, and its checksum."""

    offset: int
    length: int | None
    read: Read
    algorithm: str = ""
    digest: bytes = b""


class Uploads:
    """The uploads of one api. Safe from any thread. Its methods raise Refused, OSError and
    DatabaseError."""

    def __init__(
        self, store: UploadStore, contents: Contents, room: Room, settings: ApiSettings
    ) -> None:
        self.store = store
        self._contents = contents
        self._room = room
        self._limit_bytes = settings.upload_limit_bytes
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._hashes: dict[str, _Running] = {}

    def create(self, user: User, upload: Upload, piece: Piece | None = None) -> tuple[str, int]:
        """A new upload, perhaps with its first bytes; its id, and how many have come.

        One that comes whole with its creation leaves nothing but its content.
        """
        if upload.length > self._limit_bytes:
            raise Refused(
                413,
                "too_large",
                f"The file is larger than this server's limit of {self._limit_bytes} bytes.",
            )
        if piece is not None and (piece.length or 0) > upload.length:
            raise _too_long(upload.length)
        self._room.check(user, upload.length)
        upload_id = self.store.new_id()
        try:
            with self._alone(upload_id):
                self.store.data(upload_id).touch(mode=0o600)
                came = self._write(upload_id, piece, upload.length) if piece is not None else 0
                if piece is None or came < upload.length:
                    self.store.create(upload_id, upload)
                if came == upload.length:
                    self._finish(upload_id, upload)
        except BaseException:
            self._remove(upload_id)
            raise
        return upload_id, came

    def status(self, user: User, upload_id: str) -> Status:
        """How far it is; one that is whole, but was not finished because of a crash, is so now."""
        upload = self._own(user, upload_id)
        offset = self.store.offset(upload_id)
        if offset is not None and offset >= upload.length:
            with self._alone(upload_id):
                self._finish(upload_id, upload)
            offset = None
        if offset is None:
            self._check_finished(upload_id, upload)
            return Status(upload.length, upload, None)
        return Status(offset, upload, self._expiry(upload_id))

    def append(self, user: User, upload_id: str, piece: Piece) -> Status:
        """Write what the request brings; what came before it broke off stays."""
        upload = self._own(user, upload_id)
        with self._alone(upload_id):
            offset = self.store.offset(upload_id)
            if offset is None:
                self._check_finished(upload_id, upload)
                offset = upload.length
            if piece.offset != offset:
                raise Refused(
                    409,
                    "wrong_offset",
                    f"The upload goes on at byte {offset}, not at {piece.offset}.",
                    "Ask with HEAD where to go on.",
                )
            left = upload.length - offset
            if piece.length is not None and piece.length > left:
                raise _too_long(left)
            self._room.check_disk(left if piece.length is None else piece.length)
            if left:
                offset += self._write(upload_id, piece, left)
            if offset < upload.length:
                return Status(offset, upload, self._expiry(upload_id))
            if self.store.offset(upload_id) is not None:
                self._finish(upload_id, upload)
            return Status(upload.length, upload, None)

    def drop(self, user: User, upload_id: str) -> None:
        """It is not wanted any more. A content that it has become stays."""
        self._own(user, upload_id)
        with self._alone(upload_id):
            self._remove(upload_id)

    def drop_abandoned(self, now: datetime, after: timedelta = ABANDONED_AFTER) -> int:
        """Remove those for which nothing has come for so long; how many bytes that frees."""
        freed_bytes = 0
        for upload_id in self.store.all():
            changed_at = self.store.last_change(upload_id)
            if changed_at is None or now - changed_at < after:
                continue
            size_bytes = self.store.offset(upload_id) or 0
            try:
                with self._alone(upload_id):
                    self._remove(upload_id)
            except Refused:
                continue  # something comes just now
            freed_bytes += size_bytes
        self.store.forget_gone()
        return freed_bytes

    # ------------------------------------------------------------------ inside

    def _own(self, user: User, upload_id: str) -> Upload:
        """Raises Refused 404, also of somebody else's: whether that is there is nobody's business."""
        upload = self.store.get(upload_id)
        if upload is None or upload.user_id != user.user_id:
            raise _gone()
        return upload

    @contextmanager
    def _alone(self, upload_id: str) -> Iterator[None]:
        """One writer at a time. Raises Refused 423 for another."""
        with self._lock:
            if upload_id in self._busy:
                raise Refused(
                    423,
                    "busy",
                    "Something is being written to this upload just now.",
                    "Wait for that to end, then ask with HEAD where to go on.",
                )
            self._busy.add(upload_id)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(upload_id)

    def _write(self, upload_id: str, piece: Piece, left: int) -> int:
        """Append the piece; how many bytes of it came. Of one with a checksum all stays, or nothing."""
        file, mark = self.store.data(upload_id), self.store.mark(upload_id)
        running = (self._hashes.get(upload_id) or _Running()).copy()
        incoming = _Incoming(file, piece, left, running)
        is_right = False
        if piece.algorithm:
            mark.write_text(str(piece.offset), encoding="ascii")
        try:
            is_right = incoming.receive() and incoming.digest() == piece.digest
        except Refused:
            _truncate(file, piece.offset)
            raise
        finally:
            if piece.algorithm and not is_right:
                self.store.go_back(upload_id)
            mark.unlink(missing_ok=True)
        if not incoming.is_whole:
            if not piece.algorithm:
                self._hashes[upload_id] = running  # of what came before
            raise _broke_off()
        if not is_right:
            raise _mismatch("The piece is not what its checksum says. Send it again.")
        self._hashes[upload_id] = running
        return incoming.came

    def _finish(self, upload_id: str, upload: Upload) -> None:
        """All has come. Raises Refused 460, and the upload is gone, if it is not what was said."""
        file = self.store.data(upload_id)
        running = self._hashes.pop(upload_id, None) or _Running()
        with file.open("r+b") as whole:
            running.catch_up(whole)
            os.fsync(whole.fileno())
        digest = running.hash.hexdigest()
        if upload.sha256 is not None and digest != upload.sha256:
            self._remove(upload_id)
            raise _mismatch("The file is not what its SHA-256 says. It is gone; send it anew.")
        if upload.sha256 is None and upload_id in self.store.all():
            said = Upload(upload.user_id, upload.length, digest, upload.metadata)
            self.store.create(upload_id, said)
        self._contents.add(digest, file, upload.user_id)

    def _check_finished(self, upload_id: str, upload: Upload) -> None:
        """An upload without bytes of its own has become a content. Raises Refused 404 if not."""
        said = upload.sha256 or getattr(self.store.get(upload_id), "sha256", None)
        if said is not None:
            if self._contents.path(said) is not None:
                return
            if self._contents.recover(said, upload.user_id):
                return
        self._remove(upload_id)
        raise _gone()

    def _remove(self, upload_id: str) -> None:
        self._hashes.pop(upload_id, None)
        self.store.remove(upload_id)

    def _expiry(self, upload_id: str) -> datetime | None:
        changed_at = self.store.last_change(upload_id)
        return None if changed_at is None else changed_at + ABANDONED_AFTER


class _Running:
    """A SHA-256 of the first `offset` bytes of a file."""

    def __init__(self) -> None:
        self.offset = 0
        self.hash = hashlib.sha256()

    def copy(self) -> _Running:
        other = _Running()
        other.offset, other.hash = self.offset, self.hash.copy()
        return other

    def add(self, offset: int, block: bytes) -> None:
        """Bytes that were written at `offset`; a gap before them is left to `catch_up`."""
        if offset == self.offset:
            self.hash.update(block)
            self.offset += len(block)

    def catch_up(self, file: Any) -> None:
        """Read what is behind `offset` from the file itself."""
        file.seek(self.offset)
        while block := file.read(BLOCK_BYTES):
            self.add(self.offset, block)


class _Incoming:
    """Writes a piece into its file while it comes."""

    def __init__(self, file: Path, piece: Piece, left: int, running: _Running) -> None:
        """`left`: more is not to come."""
        self.came = 0
        self.is_whole = False
        self._file = file
        self._piece = piece
        self._left = left
        self._running = running
        self._check = (
            hashlib.new(piece.algorithm, usedforsecurity=False) if piece.algorithm else None
        )

    def digest(self) -> bytes:
        """Of what came, by the piece's algorithm."""
        return b"" if self._check is None else self._check.digest()

    def receive(self) -> bool:
        """Whether all came that was to come. Raises Refused 400 for more than that; OSError when
        the disk does not take it."""
        with self._file.open("r+b", buffering=0) as writer:
            writer.seek(self._piece.offset)
            while block := self._next():
                if len(block) > self._left - self.came:
                    raise _too_long(self._left)
                _write_all(writer, block)
                self._running.add(self._piece.offset + self.came, block)
                if self._check is not None:
                    self._check.update(block)
                self.came += len(block)
        return self.is_whole

    def _next(self) -> bytes:
        """The next bytes; none at the end, and where the connection broke off."""
        length = self._piece.length
        ask = BLOCK_BYTES if length is None else min(BLOCK_BYTES, length - self.came)
        try:
            block = self._piece.read(ask) if ask else b""
        except OSError:
            return b""
        if not block:
            self.is_whole = length is None or self.came == length
        return block


def _write_all(writer: Any, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[writer.write(view) :]


def _truncate(file: Path, length: int) -> None:
    with file.open("r+b") as writer:
        writer.truncate(length)


def _gone() -> Refused:
    return Refused(404, "no_such_upload", "You have no such upload, or it was dropped.")


def _too_long(left: int) -> Refused:
    return Refused(400, "too_long", f"Only {left} bytes of this upload are still to come.")


def _broke_off() -> Refused:
    return Refused(400, "bad_request", "The body broke off. Ask with HEAD where to go on.")


def _mismatch(message: str) -> Refused:
    return Refused(CHECKSUM_MISMATCH, "bad_hash", message)
