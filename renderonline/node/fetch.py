"""Fetches what a project lacks on this machine: by hash, several files at once, resumed where it
broke off, and verified."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from renderonline import sizes
from renderonline.lifecycle import Clock
from renderonline.node.api_client import ApiClient, NotTold, pieces, refusal
from renderonline.node.cache import Cache, digest, is_full
from renderonline.node.orders import ReportTo
from renderonline.wire import Cause, Content, Reason

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Files that are fetched side by side: small ones wait for the network, large ones for the disk."""

STOP_EVERY_S = 0.1
"""How often whoever waits looks whether it still has to."""

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


class _Errand:
    """Files that one attempt fetches side by side: until all are there, one cannot be had, or it is
    stopped. What its threads wait for ends then, also a server that says nothing any more."""

    def __init__(self, to: ReportTo, contents: Sequence[Content]) -> None:
        self.to = to
        self.given_up = threading.Event()
        self._left = deque(contents)
        self._unfinished = len(contents)
        self._fault: Exception | None = None
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._open: set[requests.Response] = set()

    def run(self, one: Callable[[_Errand, Content], None], stop: threading.Event) -> None:
        """Call `one` for each file. Raises what it raises, and NotFetched when `stop` is set.

        A thread that cannot end at once (its server has not begun to answer) is not waited for.
        """
        for _ in range(min(AT_ONCE, self._unfinished)):
            threading.Thread(target=self._work, args=(one,), name="fetch", daemon=True).start()
        while not self._is_over.wait(STOP_EVERY_S) and not stop.is_set():
            pass
        self._give_up()
        check_stop(stop)
        if self._fault is not None:
            raise self._fault

    def check(self) -> None:
        """Raises NotFetched when it is over."""
        check_stop(self.given_up)

    @contextmanager
    def reading(self, response: requests.Response) -> Iterator[None]:
        """The body of this answer is read in the block."""
        with self._lock:
            self._open.add(response)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._open.discard(response)

    def _work(self, one: Callable[[_Errand, Content], None]) -> None:
        while not self.given_up.is_set():
            try:
                content = self._left.popleft()
            except IndexError:
                return
            try:
                one(self, content)
            except Exception as error:  # the edge of the thread: raised where the errand began
                if not isinstance(error, NotFetched):
                    log.exception("fetching %s failed", content.sha256)
                self._fault = self._fault or error
                self._is_over.set()
                return
            with self._lock:
                self._unfinished -= 1
                if not self._unfinished:
                    self._is_over.set()

    def _give_up(self) -> None:
        self.given_up.set()
        with self._lock:
            for response in self._open:
                with contextlib.suppress(OSError, RuntimeError, ValueError):  # at its end already
                    response.raw.shutdown()


@dataclass(frozen=True, slots=True)
class Fetcher:
    """One node's. Any thread."""

    client: ApiClient
    cache: Cache
    clock: Clock
    _taken: set[str] = field(default_factory=set)  # what somebody is fetching just now
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def fetch(
        self,
        to: ReportTo,
        contents: Sequence[Content],
        stop: threading.Event,
        on_dropped: Callable[[Set[str]], None] = lambda _: None,
    ) -> None:
        """Have all of `contents` in the cache. Blocks. Raises NotFetched, also when `stop` is set.

        `on_dropped(hashes)`: the cache has dropped these for want of room; called before any comes.
        """
        try:
            wanted = {content.sha256: content for content in contents}
            missing = [c for c in wanted.values() if self.cache.find(c.sha256) is None]
            if not missing:
                return
            coming_bytes = sum(map(self._coming_bytes, missing))
            on_dropped(self.cache.make_room(coming_bytes, wanted.keys()))
            free_bytes = self.cache.free_bytes()
        except OSError as error:
            raise _disk(error) from None
        if coming_bytes > free_bytes:  # not until it is full: that takes it from all others, too
            there = f"{sizes.text(coming_bytes)} are to come, {sizes.text(free_bytes)} are free"
            raise no_room(f": {there}")
        log.info("fetching %d files for attempt %d", len(missing), to.attempt_id)
        _Errand(to, missing).run(self._one, stop)

    def fetch_manifest(
        self,
        to: ReportTo,
        sha256: str,
        stop: threading.Event,
        on_dropped: Callable[[Set[str]], None] = lambda _: None,
    ) -> None:
        """The same for one file whose size nobody has said. Raises NotFetched."""
        self.fetch(to, [Content(sha256=sha256, size=UNKNOWN_SIZE)], stop, on_dropped)

    def _one(self, errand: _Errand, content: Content) -> None:
        """Fetch one file, unless another attempt of this node is just doing so: then wait for it."""
        try:
            if not self._is_mine(errand, content.sha256):
                return
            try:
                self._insist(errand, content)
            finally:
                with self._changed:
                    self._taken.discard(content.sha256)
                    self._changed.notify_all()
        except OSError as error:
            if is_full(error):
                with contextlib.suppress(OSError):
                    self.cache.part(content.sha256).unlink(missing_ok=True)
            raise _disk(error) from None

    def _coming_bytes(self, content: Content) -> int:
        return max(0, content.size - max(0, _size(self.cache.part(content.sha256))))

    def _is_mine(self, errand: _Errand, sha256: str) -> bool:
        """Whether this thread is to fetch the file; False once it is there."""
        with self._changed:
            while sha256 in self._taken:
                errand.check()
                self._changed.wait(STOP_EVERY_S)
            if self.cache.find(sha256) is not None:
                return False
            self._taken.add(sha256)
            return True

    def _insist(self, errand: _Errand, content: Content) -> None:
        """Raises NotFetched, OSError where the disk does not take it."""
        pause_s, damaged = RETRY_FIRST_S, 0
        since = self.clock.monotonic()
        had_bytes = -1
        while True:
            errand.check()
            try:
                self._load(errand, content)
                if self._is_right(content):
                    return
                damaged += 1
                if damaged == DAMAGED_TRIES:
                    raise NotFetched(_damaged(content), Cause.MACHINE)
                why = "it came damaged"
            except (_Again, NotTold) as error:
                why = str(error)
            has_bytes = _size(self.cache.part(content.sha256))
            if has_bytes > had_bytes:
                had_bytes, since, pause_s = has_bytes, self.clock.monotonic(), RETRY_FIRST_S
            elif self.clock.monotonic() - since > PATIENCE_S:
                message = f"The project cannot be fetched from {errand.to.api.url} ({why})."
                raise NotFetched(message, Cause.INTERRUPTED)
            errand.given_up.wait(pause_s)
            pause_s = min(pause_s * 2, RETRY_LONGEST_S)

    def _load(self, errand: _Errand, content: Content) -> None:
        """Load what is missing of a file into its part. Raises NotTold, _Again, NotFetched, OSError."""
        to, part = errand.to, self.cache.part(content.sha256)
        if content.size == UNKNOWN_SIZE:
            part.unlink(missing_ok=True)  # nobody could tell whether it is the whole
        have = _size(part)
        if have >= content.size >= 0 and part.exists():
            return
        # As it is: of a file that somebody on the way compresses, a range would be another one.
        headers = {"X-Attempt-Key": to.key, "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with self.client.get(to.api, to.content(content.sha256), headers) as response:
            mode = _mode(response, have)
            with errand.reading(response), part.open(mode) as file:
                for piece in pieces(response):
                    errand.check()
                    file.write(piece)
                    if file.tell() > _most(content):
                        raise NotFetched(_damaged(content), Cause.MACHINE)

    def _is_right(self, content: Content) -> bool:
        """Whether the part is what it should be; then it is in the cache. Raises _Again, OSError."""
        part = self.cache.part(content.sha256)
        if _size(part) < content.size:
            raise _Again("the connection broke off")
        if digest(part) != content.sha256:
            part.unlink(missing_ok=True)
            return False
        self.cache.take(content.sha256)
        return True


def _mode(response: requests.Response, have: int) -> str:
    """How the part is opened for what comes. Raises _Again, NotFetched.

    Only what the api itself says counts: a proxy before it may answer anything while that is away.
    """
    status = response.status_code
    if status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        return "ab"
    if status == 200:
        return "wb"
    error = None if status < 400 else refusal(response)
    if error is not None and status in (401, 410):
        message = "The api works with another attempt by now."
        raise NotFetched(message, Cause.INTERRUPTED)
    if error is not None and error.error == "no_such_file":
        raise NotFetched(
            "The server does not have a file of the project any more. Submit the project again.",
            Cause.ASSET_MISSING,
        )
    raise _Again(f"it answered {status}")


def _most(content: Content) -> int:
    return LARGEST_MANIFEST_BYTES if content.size == UNKNOWN_SIZE else content.size


def check_stop(stop: threading.Event) -> None:
    """Raises NotFetched when it is set."""
    if stop.is_set():
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
    if is_full(error):
        return no_room()
    message = f"The project cannot be kept on this machine: {error.strerror or error}."
    return NotFetched(message, Cause.MACHINE)


def no_room(figures: str = "") -> NotFetched:
    """The disk is full."""
    message = (
        f"The disk of the machine has no room for the project{figures}. Free some space there."
    )
    return NotFetched(message, Cause.MACHINE, Reason.DISK_FULL)
