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
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from renderonline import paths

log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Upload(msgspec.Struct, frozen=True):
    """What was said of an upload when it began."""

    user_id: int
    length: int  # in bytes, of the whole
    sha256: str | None  # what the whole must be; None: whatever it is
    metadata: str = ""  # as it was sent


class UploadStore:
    """The uploads below one folder. Safe from any thread; who writes into one sees to it that nobody
    else does."""

    def __init__(self, root: Path) -> None:
        self.root = paths.private_dir(root)
        self._lock = threading.Lock()
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

    def mark(self, upload_id: str) -> Path:
        """A file that says to which length to go back: what follows was not checked yet."""
        return self.root / f"{upload_id}.mark"

    def repair(self) -> None:
        """At the start, when nobody sends anything: finish what a crash left."""
        for file in self.root.iterdir():
            if file.suffix == ".mark" and file.stem in self._uploads:
                self.go_back(file.stem)
            elif file.name.partition(".")[0] not in self._uploads:
                file.unlink(missing_ok=True)

    def go_back(self, upload_id: str) -> None:
        """Cut off what came behind the mark, and remove it. Raises OSError."""
        mark = self.mark(upload_id)
        text, data = mark.read_text(encoding="ascii"), self.data(upload_id)
        if text.isdigit() and data.exists() and data.stat().st_size > int(text):
            with data.open("r+b") as file:
                file.truncate(int(text))
        mark.unlink(missing_ok=True)

    def forget_gone(self) -> None:
        """Another program may have removed some."""
        with self._lock:
            for upload_id in list(self._uploads):
                if not self._note(upload_id).exists():
                    del self._uploads[upload_id]

    def _note(self, upload_id: str) -> Path:
        return self.root / f"{upload_id}.json"

    def _ids(self) -> Iterator[str]:
        return (file.stem for file in self.root.glob("*.json"))
