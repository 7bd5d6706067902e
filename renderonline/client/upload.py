"""The body of an `enqueue` request: one project file and one JSON part, read from disk as it is sent.

Owns multipart/form-data on the client's side. `requests` has a `files=` of its own, which builds
the whole body in memory; a project can be larger than that.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

PIECE_BYTES = 1 << 20
"""How much is read and sent at a time: few system calls, and progress that still moves."""

Progress = Callable[[int, int | None], None]
"""Told (bytes done, bytes in all, None if unknown) on the thread that transfers."""


class Unreadable(Exception):
    """The project could not be read to its end while it was being sent. The text is a sentence."""


class EnqueueBody:
    """An iterable request body whose length is known before its first byte.

    `requests` takes its Content-Length from `len` (`__len__` could not say more than 2 GiB on a
    32-bit Python) and sends what iterating gives. Iterating raises Unreadable.
    """

    def __init__(
        self,
        file: Path,
        request: bytes,
        progress: Progress | None = None,
        name: str | None = None,
    ) -> None:
        """`request` is the JSON part; `name` what the file is called on the farm, by default its own
        name. Raises OSError if the file's size cannot be read."""
        self._file = file
        self._progress = progress
        self._size_bytes = file.stat().st_size
        boundary = secrets.token_hex(16)
        self._head = (
            f"--{boundary}\r\n"
            'Content-Disposition: form-data; name="request"\r\n'
            "Content-Type: application/json; charset=utf-8\r\n\r\n"
        ).encode() + request
        self._head += (
            f"\r\n--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{quoted(name or file.name)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode("utf-8", "replace")  # a name that is not text on this disk cannot be said in UTF-8
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.len = len(self._head) + self._size_bytes + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        done_bytes = 0
        for piece in self._pieces():
            yield piece
            done_bytes += len(piece)
            if self._progress is not None:
                self._progress(done_bytes, self._size_bytes)
        yield self._tail

    def _pieces(self) -> Iterator[bytes]:
        """As many bytes of the file as were announced, though it may have grown since."""
        left_bytes = self._size_bytes
        try:
            with self._file.open("rb") as source:
                while left_bytes and (piece := source.read(min(PIECE_BYTES, left_bytes))):
                    left_bytes -= len(piece)
                    yield piece
        except OSError as error:
            # As an OSError it would look like one of the network's to requests.
            raise Unreadable(f"{self._file} cannot be read: {error.strerror or error}.") from None
        if left_bytes:
            raise Unreadable(f"{self._file} became shorter while it was being sent.")


def quoted(name: str) -> str:
    """A file name inside a quoted header parameter, escaped as browsers do (WHATWG HTML, 4.10.21.8)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
