"""Where the bytes of a project's files come from: the disk, or a ZIP on it."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from renderonline.client.archive import DAMAGE

Stamp = tuple[str, int, int, int]
"""What a file was when it was looked at: where, size, time of the last change, inode."""


class Damaged(OSError):
    """A ZIP whose entry does not hold what it says. The text is a sentence."""


class Source(Protocol):
    """A file to be sent. Both methods raise OSError."""

    @property
    def path(self) -> Path:
        """The file on the disk, for messages."""

    def stamp(self) -> Stamp: ...

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Read it, from its beginning; it can be sought in."""


@dataclass(frozen=True, slots=True)
class DiskFile:
    path: Path

    def stamp(self) -> Stamp:
        status = self.path.stat()
        return str(self.path), status.st_size, status.st_mtime_ns, status.st_ino

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        with self.path.open("rb") as file:
            yield file


class Archive:
    """A ZIP, opened once for all its entries: its list of them may be long. Any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._opened: zipfile.ZipFile | None = None

    def opened(self) -> zipfile.ZipFile:
        """Open until nobody has this any more. Raises OSError and BadZipFile."""
        with self._lock:
            if self._opened is None:
                self._opened = zipfile.ZipFile(self.path)
            return self._opened


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One file of a ZIP. It is unpacked as it is read, never to the disk."""

    archive: Archive
    name: str
    size_bytes: int
    is_executable: bool = False

    @property
    def path(self) -> Path:
        return self.archive.path

    def stamp(self) -> Stamp:
        status = self.path.stat()
        return f"{self.path}\0{self.name}", self.size_bytes, status.st_mtime_ns, status.st_ino

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        try:
            with self.archive.opened().open(self.name) as entry:
                yield entry
        except DAMAGE as error:
            raise Damaged(f"{self.name} in {self.path} is damaged ({error})") from None
