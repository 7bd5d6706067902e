"""Uploads on their way: for each its bytes so far, and beside them who sends what.

`<id>` holds the bytes, `<id>.json` the rest; an upload is there if its JSON is. All of it is on the
disk, so that a restart or a kill loses nothing that came. An upload whose bytes are gone while its
JSON stays is finished: they have become a content.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from renderonline import paths
from renderonline.locks import NUMBERS, ByteLocks

log = logging.getLogger(__name__)

STRAY_AFTER = timedelta(hours=1)
"""Bytes come without a note only while a file is sent in one request, and then they keep coming."""

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Upload(msgspec.Struct, frozen=True):
    """What was said of an upload when it began."""

    user_id: int
    length: int  # in bytes, of the whole
    sha256: str | None  # what the whole must be; None: whatever it is
    metadata: str = ""  # as it was sent


class UploadStore:
    """The uploads below one folder, which several programs may share. Safe from any thread; only who
    has an upload by `take` writes into it."""

    def __init__(self, root: Path) -> None:
        """Raises OSError."""
        self.root = paths.private_dir(root)
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._locks = ByteLocks(root.with_name(f"{root.name}.lock"))
        self._uploads = {number: upload for number in self._ids() if (upload := self.get(number))}

    def new_id(self) -> str:
        """Nobody can guess it."""
        return secrets.token_hex(16)

    def data(self, upload_id: str) -> Path:
        """Where its bytes are."""
        return self.root / upload_id

    def create(self, upload_id: str, upload: Upload) -> None:
        """It is there from now on. Raises OSError."""
        self.data(upload_id).touch(mode=0o600)
        paths.write_private(self._note(upload_id), msgspec.json.encode(upload).decode())
        with self._lock:
            self._uploads[upload_id] = upload

    def get(self, upload_id: str) -> Upload | None:
        """None if there is no such upload, whatever the id is."""
        if not _ID.fullmatch(upload_id):
            return None
        try:
            return msgspec.json.decode(self._note(upload_id).read_bytes(), type=Upload)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("the upload %s cannot be read: %s", upload_id, error)
            return None

    def offset(self, upload_id: str) -> int | None:
        """How many bytes have come; None if it is finished, or gone."""
        try:
            return self.data(upload_id).stat().st_size
        except OSError:
            return None

    def last_change(self, upload_id: str) -> datetime | None:
        """When bytes came last, or when it was finished; None if it is gone. Aware, UTC."""
        for file in (self.data(upload_id), self._note(upload_id)):
            try:
                return datetime.fromtimestamp(file.stat().st_mtime, UTC)
            except OSError:
                continue
        return None

    def remove(self, upload_id: str) -> None:
        """It is gone. Raises OSError."""
        with self._lock:
            self._uploads.pop(upload_id, None)
        self._note(upload_id).unlink(missing_ok=True)
        self.data(upload_id).unlink(missing_ok=True)
        self.mark(upload_id).unlink(missing_ok=True)

    def all(self) -> dict[str, Upload]:
        """Every upload, finished or not."""
        with self._lock:
            return dict(self._uploads)

    def take(self, upload_id: str) -> bool:
        """Whether nobody else is writing into it; then it is the caller's until `free`. What a dead
        program had not checked yet is cut off."""
        with self._lock:
            if upload_id in self._taken or not self._locks.take(_number(upload_id)):
                return False
            self._taken.add(upload_id)
        if self.mark(upload_id).exists():
            self.go_back(upload_id)
        return True

    def free(self, upload_id: str) -> None:
        with self._lock:
            self._taken.discard(upload_id)
            self._locks.free(_number(upload_id))

    def mark(self, upload_id: str) -> Path:
        """A file that says to which length to go back: what follows was not checked yet."""
        return self.root / f"{upload_id}.mark"

    def go_back(self, upload_id: str) -> None:
        """Cut off what came behind the mark, and remove it. Raises OSError."""
        mark = self.mark(upload_id)
        text, data = mark.read_text(encoding="ascii"), self.data(upload_id)
        if text.isdigit() and data.exists() and data.stat().st_size > int(text):
            with data.open("r+b") as file:
                file.truncate(int(text))
        mark.unlink(missing_ok=True)

    def refresh(self) -> None:
        """Take notice of what other programs have begun and removed."""
        there = set(self._ids())
        with self._lock:
            known = set(self._uploads)
        begun = {number: upload for number in there - known if (upload := self.get(number))}
        with self._lock:
            self._uploads = {
                number: upload
                for number, upload in (self._uploads | begun).items()
                if number in there or self._note(number).exists()
            }

    def drop_strays(self, now: datetime) -> None:
        """Remove what a crash left of uploads that never were there."""
        for file in self.root.iterdir():
            number = file.name.partition(".")[0]
            if self._note(number).exists():
                continue
            try:
                changed_at = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            except OSError:
                continue
            if now - changed_at > STRAY_AFTER:
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """Nobody here writes any more."""
        self._locks.close()

    def _note(self, upload_id: str) -> Path:
        return self.root / f"{upload_id}.json"

    def _ids(self) -> Iterator[str]:
        return (file.stem for file in self.root.glob("*.json"))


def _number(upload_id: str) -> int:
    """Its lock's. Two uploads that share one wait for each other, which happens to nobody."""
    return int(upload_id[:8], 16) % NUMBERS
