"""Files as a ZIP that is made while it is sent: no temporary file, no copy in memory.

Stored, not deflated: images are compressed already, and so the place of every byte is known before
the first one is read, which is what lets a download go on where it broke off.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from renderonline.api.storage import trees, zip_format
from renderonline.api.storage.checksums import Book
from renderonline.api.storage.trees import PIECE_BYTES, Changed, Entry
from renderonline.api.storage.zip_format import Member

MARK_EVERY_BYTES = 256 << 20
"""How often inside a large file its checksum is noted: at most so much is read again for it when a
download goes on in its middle."""


SMALL_BYTES = 16 * 1024
"""What is smaller is gathered, so that a hundred thousand names are not as many sends."""


class Archive:
    """A ZIP of files that do not change any more. Serves any part of itself."""

    def __init__(self, entries: Sequence[Entry], book: Book) -> None:
        """`book`: where the checksums of these files are kept."""
        self._entries = entries
        self._book = book
        self._starts = array("Q")  # of each local header, and of the directory
        digest, place, directory_bytes = hashlib.sha256(), 0, 0
        for entry in entries:
            member = _member(entry, entry.size_bytes)
            header = zip_format.local_header(member)
            digest.update(header)
            digest.update(b"%d %d\n" % (entry.size_bytes, entry.mtime_ns))
            self._starts.append(place)
            directory_bytes += zip_format.directory_entry_size(member, place)
            place += len(header) + entry.size_bytes + zip_format.descriptor_size(member)
        self._starts.append(place)
        self._ending = zip_format.ending(len(entries), place, directory_bytes)
        self.size_bytes = place + directory_bytes + len(self._ending)
        self.etag = digest.hexdigest()[:32]

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`. Raises Changed in their midst when a file is not what
        it was: what was sent until then is no whole archive."""
        try:
            yield from _gathered(self._parts(start, stop))
        finally:
            self._book.save()

    def _parts(self, start: int, stop: int) -> Iterator[bytes]:
        for index in range(bisect_right(self._starts, start) - 1, len(self._entries)):
            begin = self._starts[index]
            if begin >= stop:
                return
            yield from self._member(self._entries[index], start - begin, stop - begin)
        begin = self._starts[-1]
        yield from self._directory(start - begin, stop - begin)

    def _member(self, entry: Entry, start: int, stop: int) -> Iterator[bytes]:
        """A member's header, content and descriptor, as far as they lie between the two places."""
        member = _member(entry, entry.size_bytes)
        header = zip_format.local_header(member)
        begin, end = len(header), len(header) + entry.size_bytes
        yield _cut(header, start, stop)
        if max(start, begin) < min(stop, end):
            wants_crc = stop > end and self._book.whole(entry) is None
            yield from self._content(
                entry, max(start, begin) - begin, min(stop, end) - begin, wants_crc
            )
        if stop > end:
            yield _cut(zip_format.descriptor(member, self._crc(entry)), start - end, stop - end)

    def _directory(self, start: int, stop: int) -> Iterator[bytes]:
        place = 0
        for entry, begin in zip(self._entries, self._starts, strict=False):
            if place >= stop:
                return
            member = _member(entry, entry.size_bytes)
            size = zip_format.directory_entry_size(member, begin)
            if place + size > start:
                row = zip_format.directory_entry(member, self._crc(entry), begin)
                yield _cut(row, start - place, stop - place)
            place += size
        yield _cut(self._ending, start - place, stop - place)

    # ------------------------------------------------------------------ contents and checksums

    def _content(self, entry: Entry, start: int, stop: int, wants_crc: bool) -> Iterator[bytes]:
        """A file's bytes. With `wants_crc` all of them up to `stop` are read that no checksum is
        known of."""
        with trees.opened(entry) as file:
            place, crc = self._book.nearest(entry, start)
            if wants_crc and place < start:
                for piece in trees.read(file, entry, place, start):
                    crc = zlib.crc32(piece, crc)
                place = start
            pieces = trees.read(file, entry, start, stop)
            yield from self._counted(entry, pieces, place, crc) if place == start else pieces
            trees.check(file, entry)

    def _counted(
        self, entry: Entry, pieces: Iterator[bytes], place: int, crc: int
    ) -> Iterator[bytes]:
        """The pieces from `place` on, whose checksum is noted on the way unless it is known."""
        if self._book.whole(entry) is not None:
            yield from pieces
            return
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
            place += len(piece)
            if place == entry.size_bytes or place % MARK_EVERY_BYTES == 0:
                self._book.note(entry, place, crc)
            yield piece

    def _crc(self, entry: Entry) -> int:
        """The file's checksum. Reads what is left to read for it; a file may be empty."""
        crc = self._book.whole(entry)
        if crc is None:
            start, _ = self._book.nearest(entry, entry.size_bytes)
            for _piece in self._content(entry, start, entry.size_bytes, wants_crc=True):
                pass
            crc = self._book.whole(entry)
        if crc is None:  # cannot be: every byte was read
            raise Changed(f"{entry.name} has no checksum.")
        return crc


def learn(entries: Iterable[Entry], book: Book, is_stopped: Callable[[], bool]) -> None:
    """Work out the checksums of files before an archive of them is asked for. What is gone or
    written to meanwhile is left out."""
    for entry in entries:
        with suppress(Changed, OSError):
            if entry.path.stat().st_mtime_ns == entry.mtime_ns:
                _learn(entry, book, is_stopped)


def _learn(entry: Entry, book: Book, is_stopped: Callable[[], bool]) -> None:
    place, crc = book.nearest(entry, entry.size_bytes)
    with trees.opened(entry) as file:
        for piece in trees.read(file, entry, place, entry.size_bytes):
            if is_stopped():
                return
            crc = zlib.crc32(piece, crc)
            place += len(piece)
            if place % MARK_EVERY_BYTES == 0:
                book.note(entry, place, crc)
        trees.check(file, entry)
    book.note(entry, entry.size_bytes, crc)


def live(entries: Sequence[Entry]) -> Iterator[bytes]:
    """A ZIP of files that may still be written, each as it is when its turn comes.

    One that has gone meanwhile is left out. Raises Changed when one becomes shorter under the
    reading.
    """
    return _gathered(_live_parts(entries))


def _live_parts(entries: Sequence[Entry]) -> Iterator[bytes]:
    place, directory = 0, []
    for entry in entries:
        try:
            file = trees.opened_as_it_is(entry)
        except Changed:
            continue
        with file:
            size, crc = os.fstat(file.fileno()).st_size, 0
            member = _member(entry, size)
            header = zip_format.local_header(member)
            yield header
            for piece in trees.read(file, entry, 0, size):
                crc = zlib.crc32(piece, crc)
                yield piece
        tail = zip_format.descriptor(member, crc)
        yield tail
        directory.append(zip_format.directory_entry(member, crc, place))
        place += len(header) + size + len(tail)
    yield from directory
    yield zip_format.ending(len(directory), place, sum(map(len, directory)))


def _member(entry: Entry, size_bytes: int) -> Member:
    return Member(entry.name.encode(), size_bytes, entry.mtime_ns // 1_000_000_000)


def _cut(data: bytes, start: int, stop: int) -> bytes:
    """What of `data` lies between the two places, which are counted from its beginning."""
    return data[max(start, 0) : max(stop, 0)]


def _gathered(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, small parts together."""
    small, size = [], 0
    for part in parts:
        if len(part) < SMALL_BYTES:
            small.append(part)
            size += len(part)
            if size < PIECE_BYTES:
                continue
            part = b""
        if size:
            yield b"".join(small)
            small, size = [], 0
        if part:
            yield part
    if size:
        yield b"".join(small)
