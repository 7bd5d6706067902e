"""A piece of an upload: written while it comes, and hashed meanwhile on another thread."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renderonline.api.services.refusal import Refused

BLOCK_BYTES = 64 << 10
"""How much is read and written at once. cheroot hands out a block when all of it has come: what of
a larger one had come when the connection broke would be lost."""

BATCH_BYTES = 1 << 20
"""How much is handed to the hashing thread at once; so much more may wait for it. Larger ones are no
faster, and the blocks of several threads leave holes in the memory."""

READ_BYTES = 1 << 20

Read = Callable[[int], bytes]
"""Gives at most so many of the request's bytes, none at its end. Raises OSError when it breaks off."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What a request brings: from which offset on, how much if that is known, and its checksum."""

    offset: int
    length: int | None
    read: Read
    algorithm: str = ""
    digest: bytes = b""


class RunningHash:
    """The SHA-256 of the first `offset` bytes of a file. Used by one thread at a time, and hashes on
    one of `pool`, since hashing takes about as long as receiving."""

    def __init__(self, pool: Executor) -> None:
        self.offset = 0
        self._pool = pool
        self._hash = hashlib.sha256()
        self._blocks: list[bytes] = []
        self._waiting_bytes = 0
        self._hashing: Future[None] | None = None

    def add(self, offset: int, block: bytes) -> None:
        """Bytes that were written at `offset`; those behind a gap are left to `of_whole`."""
        if offset != self.offset:
            return
        self._blocks.append(block)
        self.offset += len(block)
        self._waiting_bytes += len(block)
        if self._waiting_bytes >= BATCH_BYTES:
            self.hand_over()

    def hand_over(self) -> None:
        """Have what waits hashed; waits itself until what was handed over before is."""
        blocks, self._blocks, self._waiting_bytes = self._blocks, [], 0
        if self._hashing is not None:
            self._hashing.result()
        self._hashing = self._pool.submit(_hash, self._hash, blocks) if blocks else None

    def copy(self) -> RunningHash:
        """One that goes on from here by itself."""
        self._settle()
        other = RunningHash(self._pool)
        other.offset, other._hash = self.offset, self._hash.copy()
        return other

    def of_whole(self, file: Any) -> str:
        """The SHA-256 of the whole file; what is behind `offset` is read from it."""
        self._settle()
        file.seek(self.offset)
        while block := file.read(READ_BYTES):
            self._hash.update(block)
            self.offset += len(block)
        return self._hash.hexdigest()

    def _settle(self) -> None:
        self.hand_over()
        self.hand_over()  # waits for the first


def _hash(running: Any, blocks: Sequence[bytes]) -> None:
    for block in blocks:
        running.update(block)


class Incoming:
    """Writes a piece into its file while it comes."""

    def __init__(self, file: Path, piece: Piece, left: int, running: RunningHash) -> None:
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
                    raise too_long(self._left)
                _write_all(writer, block)
                self._running.add(self._piece.offset + self.came, block)
                if self._check is not None:
                    self._check.update(block)
                self.came += len(block)
        self._running.hand_over()
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


def too_long(left: int) -> Refused:
    return Refused(400, "too_long", f"Only {left} bytes of this upload are still to come.")
