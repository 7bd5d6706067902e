"""A piece of an upload: written while it comes, and hashed meanwhile on another thread."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from renderonline.api.services.refusal import Refused

BLOCK_BYTES = 64 << 10
"""How much is read and written at once. cheroot hands out a block when all of it has come: what of
a larger one had come when the connection broke would be lost."""

FOLLOW_BYTES = 4 << 20
"""After how much it is told to whoever hashes that there is more."""

LAG_BYTES = 256 << 20
"""How far hashing may fall behind: the sender of the last piece waits for what is left then."""

READ_BYTES = 256 << 10
"""Stays in the cache of a core between being read and being hashed."""

Block = bytes | memoryview

Read = Callable[[int], Block]
"""Gives at most so many of the request's bytes, none at its end. Raises OSError when it breaks off.
A view must be gone when the request is: the server cannot close what somebody still looks at."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What a request brings: from which offset on, how much if that is known, and its checksum."""

    offset: int
    length: int | None
    read: Read
    algorithm: str = ""
    digest: bytes = b""
    block_bytes: int = BLOCK_BYTES  # how many are read at once


class RunningHash:
    """The SHA-256 of the first `offset` bytes of a file that grows. Used by one thread at a time.

    It follows on a thread of `pool`, since hashing takes longer than receiving, and reads the file:
    blocks that were kept for it would take as much memory again as the request.
    """

    def __init__(self, file: Path, pool: Executor) -> None:
        self.offset = 0
        self._file = file
        self._pool = pool
        self._hash = hashlib.sha256()
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._target = 0
        self._following: Future[None] | None = None

    def follow(self, length: int) -> None:
        """So many bytes are there, and will stay. Waits where hashing is far behind."""
        if length - self.offset > LAG_BYTES:
            self._wait()
        self._target = length
        if self._following is None or self._following.done():
            self._following = self._pool.submit(self._follow)

    def settle(self) -> None:
        """No thread has the file open when this returns."""
        self._target = 0
        self._wait()

    def of_whole(self, file: BinaryIO) -> str:
        """The SHA-256 of the whole file; what is behind `offset` is read now. Raises OSError."""
        self.settle()
        file.seek(self.offset)
        while self._read(file, READ_BYTES):
            pass
        return self._hash.hexdigest()

    def _wait(self) -> None:
        if self._following is not None:
            with suppress(CancelledError):  # the server is being stopped
                self._following.result()

    def _follow(self) -> None:
        # An error is met again by `of_whole`, which goes on from there.
        with suppress(OSError), self._file.open("rb", buffering=0) as file:
            file.seek(self.offset)
            while (left := self._target - self.offset) > 0 and self._read(file, left):
                pass

    def _read(self, file: BinaryIO, most: int) -> int:
        count: int = file.readinto(self._buffer[:most])  # type: ignore[attr-defined]
        self._hash.update(self._buffer[:count])
        self.offset += count
        return count


class Incoming:
    """Writes a piece into its file while it comes."""

    def __init__(self, file: Path, piece: Piece, left: int, running: RunningHash) -> None:
        """`left`: more is not to come. `running` is told of what stays, whatever comes behind it."""
        self.came = 0
        self.is_whole = False
        self._file = file
        self._piece = piece
        self._left = left
        self._running = running
        self._untold_bytes = 0
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
                    raise too_long(self._left)
                _write_all(writer, block)
                self.came += len(block)
                self._take_note(block)
        return self.is_whole

    def _take_note(self, block: Block) -> None:
        if self._check is not None:
            self._check.update(block)  # whether it stays will be known at its end
            return
        self._untold_bytes += len(block)
        if self._untold_bytes >= FOLLOW_BYTES:
            self._untold_bytes = 0
            self._running.follow(self._piece.offset + self.came)

    def _next(self) -> Block:
        """The next bytes; none at the end, and where the connection broke off."""
        length, most = self._piece.length, self._piece.block_bytes
        ask = most if length is None else min(most, length - self.came)
        try:
            block = self._piece.read(ask) if ask else b""
        except OSError:
            return b""
        if not block:
            self.is_whole = length is None or self.came == length
        return block


def _write_all(writer: BinaryIO, block: Block) -> None:
    view = memoryview(block)
    while view:
        view = view[writer.write(view) :]


def too_long(left: int) -> Refused:
    return Refused(400, "too_long", f"Only {left} bytes of this upload are still to come.")
