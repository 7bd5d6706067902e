"""One file of a task's results, as bytes that can be had from anywhere on."""

from __future__ import annotations

import io
from collections.abc import Iterator

from renderonline.api.storage import trees
from renderonline.api.storage.trees import Entry


class PlainFile:
    """A file as it was when it was looked at; see `http.ranges.Content`."""

    def __init__(self, entry: Entry, etag: str | None = None) -> None:
        """`etag`: what names these very bytes, where it is known."""
        self.entry = entry
        self.size_bytes = entry.size_bytes
        self.etag = etag or f"{entry.size_bytes:x}-{entry.mtime_ns:x}"

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Opens the file at once. Raises Changed, also in the midst of it."""
        file = trees.opened(self.entry)
        return _Reading(file, self._pieces(file, start, stop))

    def _pieces(self, file: io.FileIO, start: int, stop: int) -> Iterator[bytes]:
        """The last one only when the file is found to be the same: with it, all would look well."""
        last = b""
        for piece in trees.read(file, self.entry, start, stop):
            if last:
                yield last
            last = piece
        trees.check(file, self.entry)
        yield last


class _Reading:
    """Pieces, and the open file that they come from: closed at the end, or when nobody wants more."""

    def __init__(self, file: io.FileIO, pieces: Iterator[bytes]) -> None:
        self._file = file
        self._pieces = pieces

    def __iter__(self) -> _Reading:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()
