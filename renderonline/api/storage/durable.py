"""What is on the disk when it was said to be: files and the folders that name them."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import BinaryIO

READ_BYTES = 1 << 20


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk, where the platform can. Raises OSError.

    Windows has no such call; NTFS keeps the names in its own journal.
    """
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path) -> None:
    """Make a folder, and those that it lies in, where they are not there: on the disk when this
    returns. Raises OSError."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


class HashedFile:
    """A new file that is hashed while it is written. Belongs to one thread.

    `close` may come at any time; without `finish` before it, what was written may be anything.
    """

    def __init__(self, target: Path) -> None:
        """Raises FileExistsError, OSError."""
        self.path = target
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._file: BinaryIO = target.open("xb")

    def write(self, piece: bytes | bytearray) -> None:
        """Raises OSError, such as when the disk is full."""
        self._file.write(piece)
        self._hash.update(piece)
        self.size_bytes += len(piece)

    def finish(self) -> str:
        """All is written: put it on the disk. The SHA-256. Raises OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        self._file.close()


def write_new(target: Path, content: bytes) -> None:
    """Make a file with this content, on the disk when this returns. Raises OSError."""
    file = HashedFile(target)
    try:
        file.write(content)
        file.finish()
    finally:
        file.close()


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's bytes. Raises OSError."""
    digest = hashlib.sha256()
    with file.open("rb") as reader:
        while block := reader.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
