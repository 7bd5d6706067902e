"""Sending files by their hash, resumably: a client of tus 1.0, as docs/api.md has it.

A file goes in pieces, each acknowledged when the server has it on disk. When the connection breaks
or the server is restarted, it is asked how far it got, and the rest is sent. Small files are one
request each. Several files are on their way at once, each thread over a connection of its own.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, local
from typing import IO
from urllib.parse import urlsplit

import requests

from renderonline import wire
from renderonline.client.errors import ClientError, Unreachable
from renderonline.client.hashing import Content, Stopped, Tell, unreadable
from renderonline.client.memory import Memory
from renderonline.client.sources import Source
from renderonline.client.transport import CONNECT_TIMEOUT_S, Transport

AT_A_TIME = 4
"""Files on their way at once: while one waits for the server's disk, another fills the line."""

PIECE_BYTES = 16 << 20
"""Of a file in one request: so many stay in the server's memory, below what it puts aside on disk."""

PATIENCE_S = 120.0
"""How long a farm may be away before an upload is given up: long enough to restart a machine."""

PAUSES_S = (0.1, 0.3, 1.0, 2.0, 5.0)
"""Between attempts; the last one again and again."""

ANSWER_TIMEOUT_S = 120
"""The longest silence after a piece: the server puts it on its disk before it answers."""

ROUTE = "/renderapi/v1/files/uploads"
MISSING_ROUTE = "/renderapi/v1/files/missing"

MOST_BEGINNINGS = 5
"""How often a file is begun on a server that has forgotten it each time."""

LEAST_PIECE_BYTES = 1 << 20
"""On a line that keeps breaking: of a piece that breaks off, the server may have seen nothing."""

_BLOCK_BYTES = 1 << 18
"""What is read and sent at a time: progress still moves on a slow line."""

_VERSION = {"Tus-Resumable": "1.0.0"}
_BINARY = {"Content-Type": "application/offset+octet-stream"}
_AWAY = (423, 429, 500, 502, 503, 504)
"""Answers that may be another in a moment: busy with this upload, or a proxy before a server that
is being restarted."""

_GONE = (404, 410)
_CONFLICT = 409
_WRONG_HASH = 460


class NoProjects(Exception):
    """The farm is an older one, or the original: it takes one file with a submission."""


class Changed(Exception):
    """The file is not what its hash said."""

    def __init__(self, source: Source) -> None:
        super().__init__(str(source.path))
        self.source = source


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that the server lacks."""

    source: Source
    content: Content


class Uploads:
    """Sends files to one farm. `tell` is called on the threads that send."""

    def __init__(self, transport: Transport, memory: Memory, tell: Tell, stop: Event) -> None:
        self._transport, self._memory, self._tell, self._stop = transport, memory, tell, stop
        self._farm = transport.identity
        self._own = local()

    def send(self, files: Sequence[Wanted]) -> None:
        """Send all of them. Raises Changed and ClientError; what was sent by then stays there."""
        transports: list[Transport] = []

        def begin() -> None:
            self._own.transport = self._transport.another()
            transports.append(self._own.transport)

        with ThreadPoolExecutor(AT_A_TIME, initializer=begin) as pool:
            try:
                for _ in pool.map(self._file, files):
                    pass
            except BaseException:
                self._stop.set()
                raise
            finally:
                pool.shutdown(cancel_futures=True)
                for transport in transports:
                    transport.close()

    def _file(self, wanted: Wanted) -> None:
        try:
            with wanted.source.open() as file:
                _Upload(self._own.transport, self._memory, self._tell, self._stop, wanted).run(file)
        except OSError as error:
            raise unreadable(wanted.source, error) from None


class _Upload:
    """One file on its way."""

    def __init__(
        self, transport: Transport, memory: Memory, tell: Tell, stop: Event, wanted: Wanted
    ) -> None:
        self._transport, self._memory, self._tell, self._stop = transport, memory, tell, stop
        self._wanted = wanted
        self._is_large = wanted.content.size_bytes > PIECE_BYTES
        self._piece_bytes = PIECE_BYTES
        self._location: str | None = None  # a path on the server; None: not begun there
        self._must_ask = False  # how far the server is
        self._is_done = False
        self._done_bytes = self._told_bytes = 0
        self._failed_s: float | None = None  # since when nothing got further
        self._failures = 0
        self._beginnings = 0

    def run(self, file: IO[bytes]) -> None:
        """Until the server has all of it. Raises Changed, ClientError, Stopped and OSError."""
        if self._is_large:
            self._location = self._memory.upload_of(self._farm, self._wanted.content.sha256)
            self._must_ask = self._location is not None
        while not self._is_done:
            try:
                if self._location is None:
                    self._create(file)
                elif self._must_ask:
                    self._ask(self._location)
                else:
                    self._patch(self._location, file)
            except Unreachable as error:
                self._be_patient(error)
            except Unreadable as error:
                raise error.reason from None
        if self._is_large:
            self._memory.forget_upload(self._farm, self._wanted.content.sha256)
        self._say(self._wanted.content.size_bytes)

    @property
    def _farm(self) -> str:
        return self._transport.identity

    # ------------------------------------------------------------------ the protocol's requests

    def _create(self, file: IO[bytes]) -> None:
        """Begin it, and send all of a small file at once.

        A large one is announced first: the server may have no room for it.
        """
        names = {"sha256": self._wanted.content.sha256, "name": self._wanted.source.path.name}
        headers = {
            "Upload-Length": str(self._wanted.content.size_bytes),
            "Upload-Metadata": ",".join(f"{name} {_base64(text)}" for name, text in names.items()),
        }
        if not 0 < self._wanted.content.size_bytes <= self._piece_bytes:
            answer = self._send("POST", ROUTE, headers)
        else:
            answer = self._send("POST", ROUTE, headers | _BINARY, self._piece(file))
        self._check(answer)
        self._location = _path(answer.headers.get("Location", ""))
        if self._is_large:
            self._memory.keep_upload(self._farm, self._wanted.content.sha256, self._location)
        self._advance(answer)

    def _ask(self, location: str) -> None:
        answer = self._send("HEAD", location, {})
        if answer.status_code in _GONE:
            self._begin_again()
        elif answer.status_code == 200:
            self._must_ask = False
            self._advance(answer)
        else:
            raise Unreachable(f"{self._transport.server} does not tell how far an upload is.")

    def _patch(self, location: str, file: IO[bytes]) -> None:
        headers = {"Upload-Offset": str(self._done_bytes), **_BINARY}
        answer = self._send("PATCH", location, headers, self._piece(file))
        if answer.status_code in _GONE:
            self._begin_again()
        elif answer.status_code == _CONFLICT:
            raise Unreachable(f"{self._transport.server} takes the upload for another one.")
        else:
            self._check(answer)
            self._advance(answer)

    def _begin_again(self) -> None:
        """The server has no such upload: it has the file by now, or threw away what it had."""
        self._location, self._must_ask = None, False
        self._memory.forget_upload(self._farm, self._wanted.content.sha256)
        if self._wanted.content.sha256 not in missing(self._transport, [self._wanted.content]):
            self._is_done = True
            return
        self._beginnings += 1
        if self._beginnings >= MOST_BEGINNINGS:
            raise ClientError(
                f"{self._transport.server} forgets the upload of {self._wanted.source.path.name} again "
                "and again.",
                "Do several servers stand behind that address, each with files of its own?",
            )
        self._done_bytes = 0
        self._say(0)

    def _send(
        self, method: str, path: str, headers: dict[str, str], body: _Piece | None = None
    ) -> requests.Response:
        """One exchange. Raises Unreachable also where another attempt may succeed."""
        answer = self._transport.send(
            method,
            path,
            headers=_VERSION | headers,
            data=b"" if body is None else body,
            timeout=(CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S),
        )
        if answer.status_code in _AWAY:
            raise Unreachable(
                f"{self._transport.server} answers an upload with status {answer.status_code}.",
                "Try again; the server's log may say more.",
            )
        return answer

    def _check(self, answer: requests.Response) -> None:
        """Raises Changed, and the errors of Transport.check."""
        if answer.status_code == _WRONG_HASH:
            self._memory.forget_upload(self._farm, self._wanted.content.sha256)
            raise Changed(self._wanted.source)
        self._transport.check(answer)

    # ------------------------------------------------------------------ how far it is

    def _advance(self, answer: requests.Response) -> None:
        """Take over how much the server has."""
        told = answer.headers.get("Upload-Offset", "0")
        offset = int(told) if told.isascii() and told.isdigit() else -1
        if not 0 <= offset <= self._wanted.content.size_bytes:
            raise self._transport.another_kind(answer)
        if offset > self._done_bytes:
            self._failed_s, self._failures = None, 0
            self._piece_bytes = min(PIECE_BYTES, self._piece_bytes + LEAST_PIECE_BYTES)
        self._done_bytes = offset
        self._is_done = offset == self._wanted.content.size_bytes
        self._say(offset)

    def _be_patient(self, error: Unreachable) -> None:
        """Wait before the next attempt. Raises `error` when it has been tried for long enough."""
        now_s = time.monotonic()
        self._failed_s = now_s if self._failed_s is None else self._failed_s
        if now_s - self._failed_s > PATIENCE_S:
            raise error
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        self._must_ask = True
        self._piece_bytes = max(LEAST_PIECE_BYTES, self._piece_bytes // 2)
        if self._stop.wait(pause_s):
            raise Stopped

    def _piece(self, file: IO[bytes]) -> _Piece:
        left_bytes = self._wanted.content.size_bytes - self._done_bytes
        return _Piece(self, file, self._done_bytes, min(self._piece_bytes, left_bytes))

    def _say(self, done_bytes: int) -> None:
        """Tell how far it is, which may be less than was told before."""
        self._tell(done_bytes - self._told_bytes, self._wanted.source.path.name)
        self._told_bytes = done_bytes


class _Piece:
    """A request's body: the next bytes of the file, read as they are sent."""

    def __init__(self, upload: _Upload, file: IO[bytes], offset: int, count: int) -> None:
        self._upload, self._file, self._offset = upload, file, offset
        self.len = count  # where requests looks for the length

    def __iter__(self) -> Iterator[memoryview]:
        """Blocks that hold until the next one is asked for: one buffer, since new memory for each
        costs as much as reading it."""
        buffer = memoryview(bytearray(min(_BLOCK_BYTES, self.len)))
        end, at = self._offset + self.len, self._offset
        while at < end:
            if self._upload._stop.is_set():
                raise Stopped
            count = self._read(at, buffer[: end - at])
            yield buffer[:count]
            at += count
            self._upload._say(at)

    def _read(self, at: int, buffer: memoryview) -> int:
        try:
            if at == self._offset:
                self._file.seek(at)
            count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        except OSError as error:
            # As an OSError it would look like one of the network's to requests.
            raise Unreadable(error) from None
        if not count:
            raise Changed(self._upload._wanted.source)  # it became shorter
        return count


class Unreadable(Exception):
    """The file could not be read while it was being sent."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def missing(transport: Transport, contents: Iterable[Content]) -> set[str]:
    """The hashes that the farm lacks. Raises NoProjects for a farm that takes single files only,
    and the errors of Transport.check."""
    asked = wire.MissingRequest(
        files=[wire.Content(content.sha256, content.size_bytes) for content in contents]
    )
    answer = transport.send(
        "POST",
        MISSING_ROUTE,
        data=wire.encode(asked),
        headers={"Content-Type": "application/json"},
        timeout=(CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S),
    )
    if answer.status_code in (404, 405):
        raise NoProjects
    return set(transport.read(answer, wire.MissingResponse).missing)


def _path(location: str) -> str:
    """Where an upload is on its server. To another one, the token is not taken."""
    parts = urlsplit(location)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
