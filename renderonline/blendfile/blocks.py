"""The blocks of a .blend file, and the structs that they are made of.

Such a file is a row of blocks, each with a header, the last of which (DNA1) describes the structs
of all others. One pass over the headers keeps the few blocks that are wanted, so memory does not
grow with the file; a compressed one is unpacked as it is read, never to disk. The file is a
stranger's: every number in it is checked before it is used. Source: Blender's own
doc/blender_file_format.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

try:
    import zstandard
except ImportError:  # where there is no wheel: compressed files are not read then
    zstandard = None  # type: ignore[assignment]

MAX_BLOCKS = 4_000_000
"""Production files have up to a million; so many headers take seconds."""

MAX_KEPT_BLOCKS = 4096
MAX_BLOCK_BYTES = 1 << 20
"""Of the blocks that are looked into: one for each scene (8 KB), and the structs (0.15 MB)."""

MAX_WORD_BYTES = 256
"""Of the name of a type or a field."""

MAX_STRUCT_BYTES = 0xFFFF
"""Its size is written in 16 bits."""

MAX_UNPACKED_BYTES = 8 << 30
MAX_RATIO = 64
"""Of the unpacked to the packed size; real files have up to 20."""

_ARRAYS = re.compile(rb"[^\[\]]*(?:\[\d{1,9}\][^\[\]]*)*")
"""A field's name, with the lengths of its arrays: `*mat[2][3]`."""

_ZSTD_WINDOW = 8 << 20  # Blender packs in pieces of 1 MiB
_PIECE_BYTES = 1 << 20


class Unreadable(ValueError):
    """No .blend file, one that is cut off or broken, or one of a kind that is not known."""


ERRORS: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, LookupError, OverflowError, struct.error, zlib.error),
    *(() if zstandard is None else (zstandard.ZstdError,)),
)


class Stream:
    """The unpacked bytes of a file, forward only. Raises Unreadable at their end."""

    def __init__(self, raw: IO[bytes], size_bytes: int) -> None:
        magic = raw.read(4)
        raw.seek(0)
        self._is_packed = True
        self._left = min(MAX_UNPACKED_BYTES, (64 << 20) + MAX_RATIO * size_bytes)
        if magic[:2] == b"\x1f\x8b":
            self._file: IO[bytes] = io.BufferedReader(gzip.GzipFile(fileobj=raw), _PIECE_BYTES)
        elif magic == b"\x28\xb5\x2f\xfd" and zstandard is not None:
            unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
            reader = unpacker.stream_reader(raw, read_across_frames=True, closefd=False)
            self._file = io.BufferedReader(reader, _PIECE_BYTES)
        else:
            self._file, self._is_packed, self._left = raw, False, size_bytes

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        self._spend(count)
        data = self._file.read(count)
        if len(data) != count:
            raise Unreadable
        return data

    def skip(self, count: int) -> None:
        """Go on behind so many bytes."""
        self._spend(count)
        if not self._is_packed:
            self._file.seek(count, io.SEEK_CUR)
            return
        while count:
            piece = self._file.read(min(count, _PIECE_BYTES))
            if not piece:
                raise Unreadable
            count -= len(piece)

    def _spend(self, count: int) -> None:
        if not 0 <= count <= self._left:
            raise Unreadable
        self._left -= count


@dataclass(frozen=True, slots=True)
class Layout:
    """How the file writes numbers and the headers of its blocks."""

    order: str  # of bytes, as `struct` has it
    pointer_bytes: int
    header: struct.Struct
    is_long: bool  # Blender 5 may write headers for blocks above 2 GiB
    version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Block:
    code: bytes
    address: int  # where it was in the memory of the Blender that saved it
    struct: int  # its number in DNA1
    data: bytes


def layout_of(stream: Stream) -> Layout:
    start = stream.read(12)
    if start == b"BLENDER17-01" and stream.read(1) == b"v":
        version = divmod(int(stream.read(4)), 100)
        return Layout("<", 8, struct.Struct("<4siQqq"), True, version)
    found = re.fullmatch(rb"BLENDER([_-])([vV])(\d{3})", start)
    if found is None:
        raise Unreadable
    order, version = "<" if found[2] == b"v" else ">", divmod(int(found[3]), 100)
    if found[1] == b"_":
        return Layout(order, 4, struct.Struct(f"{order}4siIii"), False, version)
    return Layout(order, 8, struct.Struct(f"{order}4siQii"), False, version)


def blocks_of(
    stream: Stream,
    layout: Layout,
    is_wanted: Callable[[bytes, int], bool],
    most: int = MAX_KEPT_BLOCKS,
) -> Iterator[Block]:
    """Those that are wanted by their code and the number of their struct, in the file's order.

    Raises Unreadable if there are more of them than `most`, and at the end of a file without an
    end mark: it is cut off.
    """
    kept = 0
    for _ in range(MAX_BLOCKS):
        if (code := stream.read(4)) == b"ENDB":
            return
        fields = layout.header.unpack(code + stream.read(layout.header.size - 4))
        _, number, address, size, _ = fields if layout.is_long else _as_long(fields)
        if not is_wanted(code, number):
            stream.skip(size)
            continue
        kept += 1
        if kept > most or size > MAX_BLOCK_BYTES:
            break
        yield Block(code, address, number, stream.read(size))
    raise Unreadable


def _as_long(fields: tuple[bytes, int, int, int, int]) -> tuple[bytes, int, int, int, int]:
    code, size, address, number, count = fields
    return code, number, address, size, count


# --------------------------------------------------------------------------- structs


class Dna:
    """The structs of a file: where a field lies in a block. Raises ERRORS if it is broken."""

    def __init__(self, data: bytes, order: str, pointer_bytes: int) -> None:
        """`order` of bytes, as `struct` has it."""
        self._data, self._order, self._pointer_bytes, self._at = data, order, pointer_bytes, 4
        self._names = self._strings(b"NAME")
        self._types = self._strings(b"TYPE")
        self._expect(b"TLEN")
        self._sizes = self._numbers(len(self._types))
        count = self._count(b"STRC")
        self._structs = [self._struct() for _ in range(count)]
        self._by_type = dict(self._structs)
        self._places: dict[tuple[str, str], tuple[int, int]] = {}

    def type_of(self, number: int) -> str:
        """The name of a struct by its number in the file."""
        if not 0 <= number < len(self._structs):
            raise Unreadable
        return self._types[self._structs[number][0]].decode("ascii")

    def place(self, kind: str, path: str) -> tuple[int, int]:
        """Offset and size in bytes of a field, as `r.im_format.imtype` of a Scene."""
        if (kind, path) not in self._places:
            type_number, at, size = self._types.index(kind.encode()), 0, 0
            for word in path.split("."):
                offset, type_number, size = self._field(type_number, word.encode())
                at += offset
            self._places[kind, path] = at, size
        return self._places[kind, path]

    def _field(self, type_number: int, wanted: bytes) -> tuple[int, int, int]:
        at = 0
        for field_type, name_number in self._by_type[type_number]:
            name = self._names[name_number]
            size = self._size(field_type, name)
            if name.split(b"[")[0] == wanted:
                return at, field_type, size
            at += size
        raise Unreadable

    def _size(self, type_number: int, name: bytes) -> int:
        is_pointer = name[:1] in (b"*", b"(")
        size = self._pointer_bytes if is_pointer else self._sizes[type_number]
        for length in re.findall(rb"\[(\d{1,9})\]", name):
            size *= int(length)
        return size

    def check(self) -> None:
        """Raises ERRORS where an array has no end: by its name, or since no struct can be so large."""
        if not all(map(_ARRAYS.fullmatch, self._names)):
            raise Unreadable
        for _, fields in self._structs:
            for type_number, name_number in fields:
                if self._size(type_number, self._names[name_number]) > MAX_STRUCT_BYTES:
                    raise Unreadable

    # ------------------------------------------------------------------ reading it

    def _expect(self, mark: bytes) -> None:
        self._at = (self._at + 3) & ~3
        if self._data[self._at : self._at + 4] != mark:
            raise Unreadable
        self._at += 4

    def _count(self, mark: bytes) -> int:
        self._expect(mark)
        (count,) = struct.unpack_from(f"{self._order}I", self._data, self._at)
        self._at += 4
        if count > len(self._data):
            raise Unreadable
        return int(count)

    def _strings(self, mark: bytes) -> list[bytes]:
        found = []
        for _ in range(self._count(mark)):
            end = self._data.index(b"\0", self._at, self._at + MAX_WORD_BYTES)
            found.append(self._data[self._at : end])
            self._at = end + 1
        return found

    def _numbers(self, count: int) -> tuple[int, ...]:
        found = struct.unpack_from(f"{self._order}{count}H", self._data, self._at)
        self._at += 2 * count
        return found

    def _struct(self) -> tuple[int, list[tuple[int, int]]]:
        type_number, fields = self._numbers(2)
        pairs = self._numbers(2 * fields)
        return type_number, list(zip(pairs[::2], pairs[1::2], strict=True))


class Fields:
    """The fields of one block. Raises ERRORS where it is broken."""

    def __init__(self, block: Block, dna: Dna, layout: Layout) -> None:
        self._block, self._dna, self._layout = block, dna, layout

    def bytes(self, kind: str, path: str) -> bytes:
        if self._dna.type_of(self._block.struct) != kind:
            raise Unreadable
        at, size = self._dna.place(kind, path)
        if at + size > len(self._block.data):
            raise Unreadable
        return self._block.data[at : at + size]

    def text(self, kind: str, path: str) -> str:
        return self.bytes(kind, path).split(b"\0")[0].decode("utf-8", "replace")

    def number(self, kind: str, path: str, form: str = "whole") -> Any:
        """A `whole` number of 2 or 4 bytes, a `float`, or the address in a `pointer`."""
        data = self.bytes(kind, path)
        forms = {"whole": {2: "h", 4: "i"}, "float": {4: "f"}, "pointer": {4: "I", 8: "Q"}}
        (value,) = struct.unpack(self._layout.order + forms[form][len(data)], data)
        return value

    def has(self, path: str) -> bool:
        """Whether scenes of this file have such a field."""
        try:
            self._dna.place("Scene", path)
        except ERRORS:
            return False
        return True

    def known(self, path: str, form: str = "whole") -> Any:
        """A scene's number; None where scenes of this file have none."""
        return self.number("Scene", path, form) if self.has(path) else None
