"""The CRC-32 of files that were read, as far as they were: kept, so that nothing is read for it twice.

A ZIP's directory, at its very end, holds the checksums of all that comes before. A download that is
resumed there, even by an api that was restarted meanwhile, finds them here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from renderonline.api.storage.trees import Entry

log = logging.getLogger(__name__)

MAX_FOLDERS = 16
"""Of so many folders, those asked for last, the checksums are held in memory: 300 bytes a file."""

MAX_LINE = 100_000
MAX_UNSAVED = 500
MAX_FILE_BYTES = 64 << 20
"""A file of checksums that is larger is begun anew: changed frames leave their old lines behind."""


@dataclass(slots=True)
class _Begun:
    """What is known of one file that was not read to its end."""

    size_bytes: int
    mtime_ns: int
    offsets: list[int] = field(default_factory=lambda: [0])
    crcs: list[int] = field(default_factory=lambda: [0])  # of the bytes before each offset


class Book:
    """The checksums of one folder's files. Safe from any thread."""

    def __init__(self, file: Path, folder: Path | None = None) -> None:
        """`file`: where they are kept, begun with the name of the `folder`. Reads it if it is there."""
        self._file = file
        self._head = json.dumps([str(folder)])
        self._whole: dict[str, tuple[int, int, int]] = {}  # size, time and CRC, by path
        self._begun: dict[str, _Begun] = {}
        self._unsaved: list[str] = []
        self._lock = threading.Lock()
        self._load()

    def nearest(self, entry: Entry, offset: int) -> tuple[int, int]:
        """The last place at or before `offset` up to which the file's CRC is known, and that CRC."""
        with self._lock:
            size, mtime_ns, crc = self._whole.get(entry.place, (-1, -1, 0))
            if (size, mtime_ns) == (entry.size_bytes, entry.mtime_ns) and offset >= size:
                return size, crc
            begun = self._begun.get(entry.place)
            if begun is None or (begun.size_bytes, begun.mtime_ns) != (
                entry.size_bytes,
                entry.mtime_ns,
            ):
                return 0, 0
            index = bisect_right(begun.offsets, offset) - 1
            return begun.offsets[index], begun.crcs[index]

    def whole(self, entry: Entry) -> int | None:
        """The CRC of the whole file; None if it is not known."""
        offset, crc = self.nearest(entry, entry.size_bytes)
        return crc if offset == entry.size_bytes else None

    def note(self, entry: Entry, offset: int, crc: int) -> None:
        """The file's first `offset` bytes have this CRC."""
        with self._lock:
            row = (entry.place, entry.size_bytes, entry.mtime_ns, offset, crc)
            if self._add(*row):
                self._unsaved.append(json.dumps(row))
            is_due = len(self._unsaved) >= MAX_UNSAVED
        if is_due:
            self.save()

    def save(self) -> None:
        """Write down what is new. A disk that does not take it costs some reading later."""
        with self._lock:
            lines, self._unsaved = self._unsaved, []
            if not lines:
                return
            try:
                size = self._file.stat().st_size if self._file.exists() else 0
                is_new = not 0 < size <= MAX_FILE_BYTES
                with self._file.open("w" if is_new else "a", encoding="ascii") as file:
                    # Behind a line break: the last line may have been cut off.
                    file.write("\n".join([self._head if is_new else "", *lines, ""]))
            except OSError as error:
                log.warning("checksums are not kept: %s: %s", self._file, error.strerror)

    def _load(self) -> None:
        try:
            if self._file.stat().st_size > MAX_FILE_BYTES:
                return
            lines = self._file.read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            return
        for line in filter(None, lines):
            try:
                path, size, mtime_ns, offset, crc = json.loads(line)
                self._add(str(path), int(size), int(mtime_ns), int(offset), int(crc))
            except (ValueError, TypeError):
                continue  # cut off when the api was killed

    def _add(self, path: str, size_bytes: int, mtime_ns: int, offset: int, crc: int) -> bool:
        """Whether it is news."""
        if offset == size_bytes:
            known = (size_bytes, mtime_ns, crc)
            is_news = self._whole.get(path) != known
            self._whole[path] = known
            self._begun.pop(path, None)
            return is_news
        begun = self._begun.get(path)
        if begun is None or (begun.size_bytes, begun.mtime_ns) != (size_bytes, mtime_ns):
            begun = self._begun[path] = _Begun(size_bytes, mtime_ns)
        index = bisect_right(begun.offsets, offset)
        if begun.offsets[index - 1] == offset:
            return False
        begun.offsets.insert(index, offset)
        begun.crcs.insert(index, crc)
        return True


class Checksums:
    """The books of all folders, in one folder of ours. Safe from any thread."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._books: OrderedDict[Path, Book] = OrderedDict()
        self._lock = threading.Lock()

    def book(self, folder: Path) -> Book:
        """The book of `folder`."""
        file = self._file(folder)
        with self._lock:
            book = self._books.get(file)
            if book is None:
                book = self._books[file] = Book(file, folder)
            self._books.move_to_end(file)
            while len(self._books) > MAX_FOLDERS:
                self._books.popitem(last=False)[1].save()
            return book

    def forget(self, folder: Path) -> None:
        """The folder is gone."""
        file = self._file(folder)
        with self._lock:
            self._books.pop(file, None)
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Write down what is new."""
        with self._lock:
            for book in self._books.values():
                book.save()

    def repair(self) -> None:
        """At start: forget the folders that are gone."""
        for file in self._place.iterdir():
            try:
                with file.open(encoding="ascii") as opened:
                    (folder,) = json.loads(opened.readline(MAX_LINE))
                is_wanted = Path(folder).is_dir()
            except (OSError, ValueError, TypeError):
                is_wanted = False
            if not is_wanted:
                file.unlink(missing_ok=True)

    def _file(self, folder: Path) -> Path:
        return self._place / hashlib.sha256(str(folder).encode("utf-8", "replace")).hexdigest()
