"""Fetches what a project lacks on this machine: by hash, several files at once, resumed where it
broke off, and verified."""

from __future__ import annotations

import errno
import hashlib
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import requests

from renderonline.lifecycle import Clock
from renderonline.node.api_client import ApiClient, NotTold
from renderonline.node.cache import Cache
from renderonline.node.orders import ReportTo
from renderonline.wire import Cause, Content, Reason

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Files that are fetched side by side: small ones wait for the network, large ones for the disk."""

PIECE_BYTES = 1 << 20
PATIENCE_S = 600.0
"""How long an api may be away before an attempt is given back that still needs something of it."""

RETRY_FIRST_S, RETRY_LONGEST_S = 0.25, 10.0
UNKNOWN_SIZE = -1
"""Of a manifest: the length of the answer says it."""

LARGEST_MANIFEST_BYTES = 128 << 20
"""More is no list of 200,000 files."""

DAMAGED_TRIES = 3
"""How often a file is fetched that comes with another hash than it should."""


class NotFetched(Exception):
    """The project cannot be had. Its text is a sentence, the rest what it means for the attempt."""

    def __init__(self, message: str, cause: Cause, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.reason = reason


class _Again(Exception):
    """Not yet; what has come is kept. Its text says why in a few words."""


@dataclass(frozen=True, slots=True)
class Fetcher:
    """One node's. Any thread."""

    client: ApiClient
    cache: Cache
    clock: Clock
    _taken: set[str] = field(default_factory=set)  # what somebody is fetching just now
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def fetch(self, to: ReportTo, contents: Sequence[Content], stop: threading.Event) -> None:
        """Have all of `contents` in the cache. Blocks. Raises NotFetched, also when `stop` is set."""
        wanted = {content.sha256: content for content in contents}
        missing = [c for c in wanted.values() if self.cache.find(c.sha256) is None]
        if not missing:
            return
        self.cache.make_room(sum(content.size for content in missing), wanted.keys())
        log.info("fetching %d files for attempt %d", len(missing), to.attempt_id)
        given_up = threading.Event()
        pool = ThreadPoolExecutor(min(AT_ONCE, len(missing)), thread_name_prefix="fetch")
        try:
            work = [pool.submit(self._one, to, content, stop, given_up) for content in missing]
            for done in as_completed(work):
                done.result()
        finally:
            given_up.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def fetch_manifest(self, to: ReportTo, sha256: str, stop: threading.Event) -> None:
        """The same for one file whose size nobody has said. Raises NotFetched."""
        if self.cache.find(sha256) is None:
            self._one(to, Content(sha256=sha256, size=UNKNOWN_SIZE), stop, threading.Event())

    def _one(
        self, to: ReportTo, content: Content, stop: threading.Event, given_up: threading.Event
    ) -> None:
        """Fetch one file, unless another attempt of this node is just doing so: then wait for it."""
        with self._changed:
            while content.sha256 in self._taken:
                _check(stop, given_up)
                self._changed.wait(RETRY_FIRST_S)
            if self.cache.find(content.sha256) is not None:
                return
            self._taken.add(content.sha256)
        try:
            self._insist(to, content, stop, given_up)
        finally:
            with self._changed:
                self._taken.discard(content.sha256)
                self._changed.notify_all()

    def _insist(
        self, to: ReportTo, content: Content, stop: threading.Event, given_up: threading.Event
    ) -> None:
        pause_s, damaged = RETRY_FIRST_S, 0
        since = self.clock.monotonic()
        had_bytes = -1
        while True:
            _check(stop, given_up)
            try:
                self._load(to, content, stop, given_up)
                if self._is_right(content):
                    return
                damaged += 1
                if damaged == DAMAGED_TRIES:
                    raise NotFetched(_damaged(content), Cause.MACHINE)
                why = "it came damaged"
            except (_Again, NotTold) as error:
                why = str(error)
            except OSError as error:
                raise _disk(error) from None
            has_bytes = _size(self.cache.part(content.sha256))
            if has_bytes > had_bytes:
                had_bytes, since, pause_s = has_bytes, self.clock.monotonic(), RETRY_FIRST_S
            elif self.clock.monotonic() - since > PATIENCE_S:
                message = f"The project cannot be fetched from {to.api.url} ({why})."
                raise NotFetched(message, Cause.INTERRUPTED)
            stop.wait(pause_s)
            pause_s = min(pause_s * 2, RETRY_LONGEST_S)

    def _load(
        self, to: ReportTo, content: Content, stop: threading.Event, given_up: threading.Event
    ) -> None:
        """Load what is missing of a file into its part. Raises NotTold, _Again, NotFetched, OSError."""
        part = self.cache.part(content.sha256)
        if content.size == UNKNOWN_SIZE:
            part.unlink(missing_ok=True)  # nobody could tell whether it is the whole
        have = _size(part)
        if have >= content.size >= 0 and part.exists():
            return
        headers = {"X-Attempt-Key": to.key}
        if have:
            headers["Range"] = f"bytes={have}-"
        with self.client.get(to.api, to.content(content.sha256), headers) as response:
            mode = _mode(response, content, have)
            with part.open(mode) as file:
                for piece in response.iter_content(PIECE_BYTES):
                    _check(stop, given_up)
                    file.write(piece)
                    if file.tell() > _most(content):
                        raise NotFetched(_damaged(content), Cause.MACHINE)

    def _is_right(self, content: Content) -> bool:
        """Whether the part is what it should be; then it is in the cache. Raises _Again, OSError."""
        part = self.cache.part(content.sha256)
        if _size(part) < content.size:
            raise _Again("the connection broke off")
        with part.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != content.sha256:
            part.unlink(missing_ok=True)
            return False
        self.cache.take(content.sha256)
        return True


def _mode(response: requests.Response, content: Content, have: int) -> str:
    """How the part is opened for what comes. Raises _Again, NotFetched."""
    status = response.status_code
    if status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        return "ab"
    if status == 200:
        return "wb"
    if status in (401, 410):
        message = "The api works with another attempt by now."
        raise NotFetched(message, Cause.INTERRUPTED)
    if status == 404:
        raise NotFetched(
            f"The server does not have a file of the project any more ({content.sha256[:12]}…). "
            "Submit the project again.",
            Cause.ASSET_MISSING,
        )
    raise _Again(f"it answered {status}")


def _most(content: Content) -> int:
    return LARGEST_MANIFEST_BYTES if content.size == UNKNOWN_SIZE else content.size


def _check(stop: threading.Event, given_up: threading.Event) -> None:
    if stop.is_set() or given_up.is_set():
        raise NotFetched("Stopped while the project was being fetched.", Cause.INTERRUPTED)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _damaged(content: Content) -> str:
    return (
        f"A file of the project ({content.sha256[:12]}…) comes damaged from the server. Check the "
        "disk there, and submit the project again."
    )


def _disk(error: OSError) -> NotFetched:
    is_full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    if is_full:
        message = "The disk of the machine has no room for the project. Free some space there."
        return NotFetched(message, Cause.MACHINE, Reason.DISK_FULL)
    message = f"The project cannot be kept on this machine: {error.strerror or error}."
    return NotFetched(message, Cause.MACHINE)
