"""One file from a farm, whole or not at all: it goes on where it broke off, now or the next time.

What has arrived lies beside the file that it will be, with the server's name for its bytes (an
ETag): only the same bytes are gone on with.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from renderonline.client.errors import Unreachable
from renderonline.client.transport import Transport
from renderonline.client.upload import Progress

PATIENCE_S = 120.0
"""How long a farm may be away in the midst of a file: long enough to restart a machine."""

LONGEST_PAUSE_S = 5.0

WORTH_KEEPING_BYTES = 1 << 20
"""What is smaller is sent anew."""

NO_RETRY = ("untrusted",)
"""Codes of Unreachable that waiting does not mend."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch: a route with its query, and when it was changed last (ns since 1970), if the
    file is to have that time."""

    route: str
    query: Mapping[str, str]
    modified_ns: int | None = None


class Patience:
    """How long a farm is waited for that was there and is away. One for what belongs together."""

    def __init__(self, notice: Callable[[str], None] | None = None) -> None:
        """`notice` is told once of each time that it is away."""
        self._notice = notice
        self._there_s: float | None = None
        self._is_told = False

    def is_there(self) -> None:
        """Something has come from it."""
        self._there_s, self._is_told = time.monotonic(), False

    def wait(self, error: Unreachable) -> None:
        """Wait a moment before it is tried again. Raises `error` where that would be in vain: it
        never was there, or is away for too long."""
        if self._there_s is None or error.code in NO_RETRY:
            raise error
        away_s = time.monotonic() - self._there_s
        if away_s > PATIENCE_S:
            raise error
        if self._notice is not None and not self._is_told:
            self._is_told = True
            self._notice(f"{error} Trying again.")
        time.sleep(min(LONGEST_PAUSE_S, 0.2 + away_s / 4))


def fetch(
    transport: Transport,
    wanted: Wanted,
    target: Path,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> None:
    """Save it as `target`, which appears when it is complete and replaces what was there.

    Where something came before, a connection that breaks is made again, as `patience` has it. What
    there is when that ends stays for the next time. Raises the errors of `Transport.check`,
    Unreachable and OSError.
    """
    patience = patience or Patience()
    part = _Part(target)
    try:
        while True:
            before = part.size_bytes
            try:
                if _attempt(transport, wanted, part, progress):
                    break
            except Unreachable as error:
                if part.size_bytes > before:
                    patience.is_there()
                    if part.etag is None:  # nothing says that the rest would be of the same bytes
                        raise
                patience.wait(error)
        patience.is_there()
        part.finish(wanted.modified_ns)
    finally:
        part.put_aside()


def _attempt(transport: Transport, wanted: Wanted, part: _Part, progress: Progress | None) -> bool:
    """One request for what is missing; whether all is there then. Raises Unreachable if it broke off."""
    headers = {"Accept-Encoding": "identity"}
    if part.size_bytes and part.etag is not None:
        headers |= {"Range": f"bytes={part.size_bytes}-", "If-Range": part.etag}
    response = transport.send(
        "GET", wanted.route, params=dict(wanted.query), headers=headers, stream=True
    )
    with response:
        if response.status_code == 416:
            if response.headers.get("Content-Range") == f"bytes */{part.size_bytes}":
                return True  # it had ended just when we did
            part.begin(None, None)
            return False
        transport.check(response)
        if "json" in response.headers.get("Content-Type", ""):
            raise transport.another_kind(response)
        if response.status_code != 206:
            part.begin(response.headers.get("ETag"), _length(response))
        elif not _goes_on(response, part):
            part.begin(None, None)
            return False
        _save(transport, response, part, progress)
    return True


def _goes_on(response: requests.Response, part: _Part) -> bool:
    """Whether a part that was sent is the one that follows what is there."""
    told = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    is_next = told is not None and int(told[1]) == part.size_bytes
    return is_next and response.headers.get("ETag") == part.etag


def _save(
    transport: Transport, response: requests.Response, part: _Part, progress: Progress | None
) -> None:
    length = _length(response)
    total_bytes = None if length is None else part.size_bytes + length
    with part.path.open("r+b") as file:
        file.seek(part.size_bytes)
        for piece in transport.pieces(response):
            file.write(piece)
            part.size_bytes += len(piece)
            if progress is not None:
                progress(part.size_bytes, total_bytes)
        if part.size_bytes >= WORTH_KEEPING_BYTES:
            file.flush()
            os.fsync(file.fileno())


def _length(response: requests.Response) -> int | None:
    """How many bytes the body is to have; None if that was not promised."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


class _Part:
    """What has arrived of a file, on disk beside it, and of which bytes it is the beginning."""

    def __init__(self, target: Path) -> None:
        name = hashlib.sha256(target.name.encode("utf-8", "replace")).hexdigest()[:16]
        self._target = target
        self.path = target.with_name(f".renderonline-{name}.part")
        self._tag_file = target.with_name(f".renderonline-{name}.etag")
        self.etag: str | None = None  # None: it cannot be gone on with
        self.size_bytes = 0
        try:
            self.etag = self._tag_file.read_text(encoding="ascii")
            self.size_bytes = self.path.stat().st_size
        except (OSError, ValueError):
            self.etag = None

    def begin(self, etag: str | None, total_bytes: int | None) -> None:
        """Nothing has arrived yet of the bytes that the server calls `etag`."""
        self._tag_file.unlink(missing_ok=True)
        self.path.write_bytes(b"")
        self.etag, self.size_bytes = etag, 0
        if etag is not None and (total_bytes or 0) >= WORTH_KEEPING_BYTES:
            self._tag_file.write_text(
                etag, encoding="ascii"
            )  # also for the case that we are killed

    def finish(self, modified_ns: int | None) -> None:
        """All is there."""
        if modified_ns is not None:
            with contextlib.suppress(OSError, OverflowError):  # a time that this disk cannot have
                os.utime(self.path, ns=(modified_ns, modified_ns))
        self.path.replace(self._target)
        self._tag_file.unlink(missing_ok=True)

    def put_aside(self) -> None:
        """Keep what is there for another time, if it is worth it and can be gone on with."""
        if not self.path.exists():
            return
        if self.etag is None or self.size_bytes < WORTH_KEEPING_BYTES:
            self.path.unlink(missing_ok=True)
            self._tag_file.unlink(missing_ok=True)
