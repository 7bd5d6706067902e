"""Whether an OpenEXR file is whole, without decoding it: its offset table, its last piece.

Layout: https://openexr.com/en/latest/OpenEXRFileLayout.html. The writer fills in the table at the
end, so a file whose writing was cut short has zeros there, or pieces that lie behind its end.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

MAGIC = b"\x76\x2f\x31\x01"

_TILED = 0x200
_MULTIPART = 0x1000
_MAX_HEADER_BYTES = 16 * 1024 * 1024
"""Larger attributes (previews, render metadata) are not expected; what claims more is damaged."""

_LINES_PER_CHUNK = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}
"""Lines of a chunk by the value of the attribute `compression` (none, RLE, ZIPS, ZIP … DWAB)."""


class Damaged(ValueError):
    """The file is cut off, or holds what no writer would write."""


class NotOpenExr(Damaged):
    """The file does not begin as an OpenEXR file does."""


def check(path: Path) -> None:
    """Raise Damaged unless all of the file's pieces are there; OSError if it cannot be read.

    Reads the header and the table, not the pixels. A file whose number of pieces cannot be told
    (tiles without `chunkCount`, a compression of the future) is believed.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        magic, version = struct.unpack("<4sI", _read(file, 8))
        if magic != MAGIC:
            raise NotOpenExr("other first bytes")
        headers = _headers(file, is_multipart=bool(version & _MULTIPART))
        counts = [_chunk_count(header, is_tiled=bool(version & _TILED)) for header in headers]
        known = [count for count in counts if count is not None]
        if len(known) == len(counts):
            _check_chunks(file, sum(known), size, head=4 if version & _MULTIPART else 0)


def _headers(file: BinaryIO, is_multipart: bool) -> list[dict[str, bytes]]:
    headers = [_header(file)]
    while is_multipart and (header := _header(file)):
        headers.append(header)
    return headers


def _header(file: BinaryIO) -> dict[str, bytes]:
    """One part's attributes, as bytes by name; empty at the end of the headers."""
    attributes: dict[str, bytes] = {}
    while name := _text(file):
        _text(file)  # its type
        (length,) = struct.unpack("<I", _read(file, 4))
        if length > _MAX_HEADER_BYTES:
            raise Damaged("an attribute without end")
        attributes[name] = _read(file, length)
    return attributes


def _text(file: BinaryIO) -> str:
    """A name up to its null byte; at most 255 bytes (long names)."""
    letters = bytearray()
    while (letter := _read(file, 1)) != b"\0":
        letters += letter
        if len(letters) > 255:
            raise Damaged("a name without end")
    return letters.decode("utf-8", "replace")


def _chunk_count(header: dict[str, bytes], is_tiled: bool) -> int | None:
    """The number of pieces that a part is stored in; None where it cannot be told."""
    try:
        if "chunkCount" in header:
            (count,) = struct.unpack("<I", header["chunkCount"])
            return int(count)
        _, top, _, bottom = struct.unpack("<4i", header["dataWindow"])
        height = int(bottom) - int(top) + 1
        lines = _LINES_PER_CHUNK.get(header["compression"][0])
    except (KeyError, IndexError, struct.error):
        raise Damaged("a header without its size") from None
    if is_tiled or lines is None:
        return None
    return max(0, -(-height // lines))  # rounded up


def _check_chunks(file: BinaryIO, count: int, size: int, head: int) -> None:
    """Compare the table, at the file's position, with the file's size; look at its last piece.

    `head`: bytes of a piece before its coordinate. What follows that is its length, or in tiles
    and deep lines a smaller number, so that nothing whole is refused.
    """
    if count * 8 > size:
        raise Damaged("more pieces than bytes")
    offsets = struct.unpack(f"<{count}Q", _read(file, count * 8))
    if not offsets or min(offsets) == 0 or max(offsets) >= size:
        raise Damaged("pieces are missing")
    file.seek(max(offsets) + head)
    _, length = struct.unpack("<iI", _read(file, 8))
    if file.tell() + length > size:
        raise Damaged("the last piece is cut off")


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise Damaged("it ends too early")
    return data
