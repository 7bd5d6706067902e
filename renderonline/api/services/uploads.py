"""Uploads that may break off and go on: begun, continued from where the bytes end, finished, dropped.

An upload is its sender's alone. Its bytes become a content when the last one has come, and only if
they are what was said; the SHA-256 runs along while they come, and is made anew from the file where
a restart has lost it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from renderonline.api.domain.model import User
from renderonline.api.services.contents import Contents
from renderonline.api.services.pieces import Incoming, Piece, RunningHash, too_long
from renderonline.api.services.refusal import Refused
from renderonline.api.services.room import Room
from renderonline.api.storage.uploads import Upload, UploadStore
from renderonline.config import ApiSettings

ABANDONED_AFTER = timedelta(hours=48)
"""How long an upload waits for its next bytes."""

FORGOTTEN_AFTER = timedelta(hours=1)
"""How long a finished upload still answers that it is finished."""

CHECKSUM_MISMATCH = 460
"""tus' own status."""

ALGORITHMS = ("sha1", "sha256")


@dataclass(frozen=True, slots=True)
class Status:
    """How far an upload is. `expires_at` None: it is finished."""

    offset: int
    upload: Upload
    expires_at: datetime | None


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
        self._hashers = ThreadPoolExecutor(2, thread_name_prefix="hash")
        self._flushers = ThreadPoolExecutor(2, thread_name_prefix="flush")
        self._flushes: dict[str, Future[None]] = {}
        self._hashes: dict[str, RunningHash] = {}

    def check_length(self, length: int) -> None:
        """Raises Refused 413 for a file that is not taken at all."""
        if length > self._limit_bytes:
            raise Refused(
                413,
                "too_large",
                f"The file is larger than this server's limit of {self._limit_bytes} bytes.",
            )

    def create(self, user: User, upload: Upload, piece: Piece | None = None) -> tuple[str, int]:
        """A new upload, perhaps with its first bytes; its id, and how many have come.

        One that comes whole with its creation leaves nothing but its content.
        """
        self.check_length(upload.length)
        if piece is not None and (piece.length or 0) > upload.length:
            raise too_long(upload.length)
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
        if self.store.mark(upload_id).exists():
            with suppress(Refused), self._alone(upload_id):
                pass  # which cuts off what a dead program left unchecked
        offset = self.store.offset(upload_id)
        if offset is not None and offset >= upload.length:
            with self._alone(upload_id):
                if self.store.offset(upload_id) is not None:
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
                raise too_long(left)
            self._room.check_disk(left if piece.length is None else piece.length)
            if left:
                offset += self._write(upload_id, piece, left)
            if offset < upload.length:
                self._flush_soon(upload_id)
                return Status(offset, upload, self._expiry(upload_id))
            if self.store.offset(upload_id) is not None:
                self._finish(upload_id, upload)
            return Status(upload.length, upload, None)

    def drop(self, user: User, upload_id: str) -> None:
        """It is not wanted any more. A content that it has become stays."""
        self._own(user, upload_id)
        with self._alone(upload_id):
            self._remove(upload_id)

    def drop_abandoned(self, now: datetime) -> tuple[int, int]:
        """Remove those for which nothing has come for long, and what is left of finished ones; how
        many bytes that frees, and how many were not finished."""
        freed_bytes = count = 0
        self.store.refresh()
        for upload_id in self.store.all():
            offset, changed_at = self.store.offset(upload_id), self.store.last_change(upload_id)
            after = FORGOTTEN_AFTER if offset is None else ABANDONED_AFTER
            if changed_at is None or now - changed_at < after:
                continue
            try:
                with self._alone(upload_id):
                    self._remove(upload_id)
            except Refused:
                continue  # something comes just now
            if offset is not None:
                freed_bytes, count = freed_bytes + offset, count + 1
        self.store.drop_strays(now)
        return freed_bytes, count

    def close(self) -> None:
        """Nothing comes any more."""
        for pool in (self._hashers, self._flushers):
            pool.shutdown(wait=False, cancel_futures=True)
        self.store.close()

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
        if not self.store.take(upload_id):
            raise Refused(
                423,
                "busy",
                "Something is being written to this upload just now.",
                "Wait for that to end, then ask with HEAD where to go on.",
            )
        try:
            yield
        finally:
            self.store.free(upload_id)

    def _flush_soon(self, upload_id: str) -> None:
        """Let the disk write while more comes, so that little is left to wait for at the end."""
        last = self._flushes.get(upload_id)
        if last is None or last.done():
            self._flushes[upload_id] = self._flushers.submit(_flush, self.store.data(upload_id))

    def _forget(self, upload_id: str) -> RunningHash:
        """Nothing comes any more, and no thread of ours has its file open; its hash so far."""
        flush = self._flushes.pop(upload_id, None)
        if flush is not None:
            flush.result()
        running = self._hashes.pop(upload_id, None)
        if running is None:
            return RunningHash(self.store.data(upload_id), self._hashers)
        running.settle()
        return running

    def _write(self, upload_id: str, piece: Piece, left: int) -> int:
        """Append the piece; how many bytes of it came. Of one with a checksum all stays, or nothing."""
        file, mark = self.store.data(upload_id), self.store.mark(upload_id)
        running = self._hashes.get(upload_id) or RunningHash(file, self._hashers)
        self._hashes[upload_id] = running
        incoming = Incoming(file, piece, left, running)
        is_right = False
        if piece.algorithm:
            mark.write_text(str(piece.offset), encoding="ascii")
        try:
            is_right = incoming.receive() and incoming.digest() == piece.digest
        except Refused:
            self._hashes.pop(upload_id).settle()  # it may have followed what goes now
            _truncate(file, piece.offset)
            raise
        finally:
            if piece.algorithm and not is_right:
                self.store.go_back(upload_id)
            mark.unlink(missing_ok=True)
        if not incoming.is_whole:
            raise _broke_off()
        if not is_right:
            raise _mismatch("The piece is not what its checksum says. Send it again.")
        if incoming.came < left:
            running.follow(piece.offset + incoming.came)
        return incoming.came

    def _finish(self, upload_id: str, upload: Upload) -> None:
        """All has come. Raises Refused 460, and the upload is gone, if it is not what was said."""
        file = self.store.data(upload_id)
        running = self._forget(upload_id)
        with file.open("r+b") as whole:
            digest = running.of_whole(whole)
            os.fsync(whole.fileno())
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
        self._forget(upload_id)
        self.store.remove(upload_id)

    def _expiry(self, upload_id: str) -> datetime | None:
        changed_at = self.store.last_change(upload_id)
        return None if changed_at is None else changed_at + ABANDONED_AFTER


def _flush(file: Path) -> None:
    try:
        with file.open("r+b") as opened:
            os.fsync(opened.fileno())
    except OSError:
        pass  # gone meanwhile; what matters is flushed, and told, at the end


def _truncate(file: Path, length: int) -> None:
    with file.open("r+b") as writer:
        writer.truncate(length)


def _gone() -> Refused:
    return Refused(404, "no_such_upload", "You have no such upload, or it was dropped.")


def _broke_off() -> Refused:
    return Refused(400, "bad_request", "The body broke off. Ask with HEAD where to go on.")


def _mismatch(message: str) -> Refused:
    return Refused(CHECKSUM_MISMATCH, "bad_hash", message)
