"""What a .blend file says about itself, read without Blender: who wrote it, and its scenes.

Such a file is a row of blocks, each with a header, the last of which (DNA1) describes the structs
of all others. One pass over the headers keeps the few blocks that are wanted, so memory does not
grow with the file; a compressed one is unpacked as it is read, never to disk. The file is a
stranger's: every number in it is checked before it is used. Source: Blender's own
doc/blender_file_format, and DNA_scene_types.h for the numbers of the formats.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

try:
    import zstandard
except ImportError:  # where there is no wheel: compressed files are not read then
    zstandard = None  # type: ignore[assignment]

_MOVIES = {
    15: "AVIRAW",
    16: "AVIJPEG",
    **dict.fromkeys((24, 31, 32, 33, 36), "FFMPEG"),  # and its H264, XVID, THEORA, AV1
}
"""`ImageFormatData.imtype` of movies, with what Blender's `-F` calls them."""

FORMATS = dict(
    (
        *((0, "TARGA"), (1, "IRIS"), (4, "JPEG"), (14, "TARGA_RAW"), (15, "AVI_RAW")),
        *((16, "AVI_JPEG"), (17, "PNG"), (20, "BMP"), (21, "HDR"), (22, "TIFF"), (23, "OPEN_EXR")),
        *((24, "FFMPEG"), (26, "CINEON"), (27, "DPX"), (28, "OPEN_EXR_MULTILAYER")),
        *((30, "JPEG2000"), (35, "WEBP")),
    )
)
"""The same of what today's Blender has, as its Python calls them."""

MAX_BLOCKS = 4_000_000
"""Production files have up to a million; so many headers take seconds."""

MAX_KEPT_BLOCKS = 4096
MAX_BLOCK_BYTES = 1 << 20
"""Of the blocks that are looked into: one for each scene (8 KB), and the structs (0.15 MB)."""

MAX_WORD_BYTES = 256
"""Of the name of a type or a field."""

MAX_UNPACKED_BYTES = 8 << 30
MAX_RATIO = 64
"""Of the unpacked to the packed size; real files have up to 20."""

_ZSTD_WINDOW = 8 << 20  # Blender packs in pieces of 1 MiB
_PIECE_BYTES = 1 << 20
_WANTED = (b"SC\0\0", b"GLOB", b"DNA1")


class _Unreadable(ValueError):
    """No .blend file, one that is cut off or broken, or one of a kind that is not known."""


_ERRORS: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, LookupError, OverflowError, struct.error, zlib.error),
    *(() if zstandard is None else (zstandard.ZstdError,)),
)


@dataclass(frozen=True, slots=True)
class SceneFacts:
    """One scene. What a file does not tell is None."""

    name: str
    movie: str | None  # the format as `-F` takes it, where that is a movie's
    file_format: str | None = None  # as Blender's Python has it: "PNG"
    frame_start: int | None = None
    frame_end: int | None = None
    frame_step: int | None = None
    width_px: int | None = None  # at 100 percent
    height_px: int | None = None
    percentage: int | None = None
    engine: str | None = None  # "CYCLES", "BLENDER_EEVEE_NEXT", "BLENDER_WORKBENCH"
    has_camera: bool | None = None  # None also where markers may bring one
    fps: float | None = None
    is_other_size: bool = False  # cropped to a border, or for two eyes: no frame has that size

    @property
    def is_movie(self) -> bool:
        """Whether it makes one file of all its frames."""
        return self.movie is not None

    @property
    def frame_size_px(self) -> tuple[int, int] | None:
        """What every frame has, if that can be told."""
        return None if self.is_other_size else self.size_px

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height of what is rendered."""
        if self.width_px is None or self.height_px is None or self.percentage is None:
            return None
        return self.width_px * self.percentage // 100, self.height_px * self.percentage // 100


@dataclass(frozen=True, slots=True)
class BlendFacts:
    """A file. `active`: the scene that is rendered unless another one is asked for."""

    scenes: tuple[SceneFacts, ...] = ()
    active: str | None = None
    version: tuple[int, int] | None = None  # of the Blender that saved it: (4, 5)

    def scene(self, name: str | None = None) -> SceneFacts | None:
        """The scene of this name, or the active one; None if there is no such scene."""
        wanted = self.active if name is None else name
        return next((scene for scene in self.scenes if scene.name == wanted), None)


UNKNOWN = BlendFacts()


def read(file: Path) -> BlendFacts:
    """What can be told of the file; UNKNOWN if it cannot be read or is no .blend file.

    Takes milliseconds, of a huge file seconds. Any thread.
    """
    try:
        with file.open("rb") as raw:
            return read_from(raw, file.stat().st_size)
    except _ERRORS:
        return UNKNOWN


def read_from(raw: IO[bytes], size_bytes: int) -> BlendFacts:
    """The same of an open file that can be sought in."""
    try:
        return _facts(_Stream(raw, size_bytes))
    except _ERRORS:
        return UNKNOWN


def is_blend(head: bytes) -> bool:
    """Whether a file that begins so may be a .blend: as it is, or packed as Blender packs them."""
    return head.startswith((b"BLENDER", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))


# --------------------------------------------------------------------------- blocks


class _Stream:
    """The unpacked bytes of a file, forward only. Raises _Unreadable at their end."""

    def __init__(self, raw: IO[bytes], size_bytes: int) -> None:
        magic = raw.read(4)
        raw.seek(0)
        self._is_packed = True
        self._left = min(MAX_UNPACKED_BYTES, (64 << 20) + MAX_RATIO * size_bytes)
        if magic[:2] == b"\x1f\x8b":
            self._file: IO[bytes] = io.BufferedReader(gzip.GzipFile(fileobj=raw), _PIECE_BYTES)
        elif magic == b"\x28\xb5\x2f\xfd" and zstandard is not None:
            unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
            reader = unpacker.stream_reader(raw, read_across_frames=True)
            self._file = io.BufferedReader(reader, _PIECE_BYTES)
        else:
            self._file, self._is_packed, self._left = raw, False, size_bytes

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        self._spend(count)
        data = self._file.read(count)
        if len(data) != count:
            raise _Unreadable
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
                raise _Unreadable
            count -= len(piece)

    def _spend(self, count: int) -> None:
        if not 0 <= count <= self._left:
            raise _Unreadable
        self._left -= count


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the file writes numbers and the headers of its blocks."""

    order: str  # of bytes, as `struct` has it
    pointer_bytes: int
    header: struct.Struct
    is_long: bool  # Blender 5 may write headers for blocks above 2 GiB
    version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Block:
    code: bytes
    address: int  # where it was in the memory of the Blender that saved it
    struct: int  # its number in DNA1
    data: bytes


def _layout(stream: _Stream) -> _Layout:
    start = stream.read(12)
    if start == b"BLENDER17-01" and stream.read(1) == b"v":
        version = divmod(int(stream.read(4)), 100)
        return _Layout("<", 8, struct.Struct("<4siQqq"), True, version)
    found = re.fullmatch(rb"BLENDER([_-])([vV])(\d{3})", start)
    if found is None:
        raise _Unreadable
    order, version = "<" if found[2] == b"v" else ">", divmod(int(found[3]), 100)
    if found[1] == b"_":
        return _Layout(order, 4, struct.Struct(f"{order}4siIii"), False, version)
    return _Layout(order, 8, struct.Struct(f"{order}4siQii"), False, version)


def _blocks(stream: _Stream, layout: _Layout) -> Iterator[_Block]:
    """Those that are wanted, in the file's order; without an end mark the file is cut off."""
    kept = 0
    for _ in range(MAX_BLOCKS):
        if (code := stream.read(4)) == b"ENDB":
            return
        fields = layout.header.unpack(code + stream.read(layout.header.size - 4))
        _, number, address, size, _ = fields if layout.is_long else _as_long(fields)
        if code not in _WANTED:
            stream.skip(size)
            continue
        kept += 1
        if kept > MAX_KEPT_BLOCKS or size > MAX_BLOCK_BYTES:
            break
        yield _Block(code, address, number, stream.read(size))
    raise _Unreadable


def _as_long(fields: tuple[bytes, int, int, int, int]) -> tuple[bytes, int, int, int, int]:
    code, size, address, number, count = fields
    return code, number, address, size, count


# --------------------------------------------------------------------------- structs


class _Dna:
    """The structs of a file: where a field lies in a block. Raises _ERRORS if it is broken."""

    def __init__(self, data: bytes, layout: _Layout) -> None:
        self._data, self._layout, self._at = data, layout, 4
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
        if number < 0:
            raise _Unreadable
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
        raise _Unreadable

    def _size(self, type_number: int, name: bytes) -> int:
        is_pointer = name[:1] in (b"*", b"(")
        size = self._layout.pointer_bytes if is_pointer else self._sizes[type_number]
        for length in re.findall(rb"\[(\d{1,9})\]", name):
            size *= int(length)
        return size

    # ------------------------------------------------------------------ reading it

    def _expect(self, mark: bytes) -> None:
        self._at = (self._at + 3) & ~3
        if self._data[self._at : self._at + 4] != mark:
            raise _Unreadable
        self._at += 4

    def _count(self, mark: bytes) -> int:
        self._expect(mark)
        (count,) = struct.unpack_from(f"{self._layout.order}I", self._data, self._at)
        self._at += 4
        if count > len(self._data):
            raise _Unreadable
        return int(count)

    def _strings(self, mark: bytes) -> list[bytes]:
        found = []
        for _ in range(self._count(mark)):
            end = self._data.index(b"\0", self._at, self._at + MAX_WORD_BYTES)
            found.append(self._data[self._at : end])
            self._at = end + 1
        return found

    def _numbers(self, count: int) -> tuple[int, ...]:
        found = struct.unpack_from(f"{self._layout.order}{count}H", self._data, self._at)
        self._at += 2 * count
        return found

    def _struct(self) -> tuple[int, list[tuple[int, int]]]:
        type_number, fields = self._numbers(2)
        pairs = self._numbers(2 * fields)
        return type_number, list(zip(pairs[::2], pairs[1::2], strict=True))


def _facts(stream: _Stream) -> BlendFacts:
    layout = _layout(stream)
    blocks = list(_blocks(stream, layout))
    dna = _Dna(next((b.data for b in blocks if b.code == b"DNA1"), b""), layout)
    scenes = {b.address: _scene(_Fields(b, dna, layout)) for b in blocks if b.code == b"SC\0\0"}
    current = [_current(_Fields(b, dna, layout)) for b in blocks if b.code == b"GLOB"]
    active = scenes.get(current[-1]) if current else None
    return BlendFacts(tuple(scenes.values()), active.name if active else None, layout.version)


def _current(file: _Fields) -> int:
    return int(file.number("FileGlobal", "*curscene", "pointer"))


def _scene(scene: _Fields) -> SceneFacts:
    name = scene.text("Scene", "id.name")[2:]  # "SCScene"
    (format_number,) = scene.bytes("Scene", "r.im_format.imtype")
    whole = {
        "frame_start": scene.known("r.sfra"),
        "frame_end": scene.known("r.efra"),
        "frame_step": scene.known("r.frame_step"),
        "width_px": scene.known("r.xsch"),
        "height_px": scene.known("r.ysch"),
        "percentage": scene.known("r.size"),
    }
    return SceneFacts(
        name,
        _MOVIES.get(format_number),
        FORMATS.get(format_number),
        **whole,
        is_other_size=_is_other_size(scene),
        engine=scene.text("Scene", "r.engine") if scene.has("r.engine") else None,
        has_camera=_has_camera(scene),
        fps=_fps(scene),
    )


def _is_other_size(scene: _Fields) -> bool:
    """Looked up by switching them on and off in Blender 3.4 and 4.5."""
    mode, scene_mode = scene.known("r.mode") or 0, scene.known("r.scemode") or 0
    return bool(mode & _CROPPED) or bool(scene_mode & _TWO_EYES)


_CROPPED, _TWO_EYES = 1 << 11, 1 << 21
"""Bits of RenderData's `mode` and `scemode`."""


def _has_camera(scene: _Fields) -> bool | None:
    camera, markers = (scene.known(path, "pointer") for path in ("*camera", "markers.*first"))
    return True if camera else None if camera is None or markers else False


def _fps(scene: _Fields) -> float | None:
    rate, base = scene.known("r.frs_sec"), scene.known("r.frs_sec_base", "float")
    return None if not rate or not base or not math.isfinite(base) else rate / base


class _Fields:
    """The fields of one block. Raises _ERRORS where it is broken."""

    def __init__(self, block: _Block, dna: _Dna, layout: _Layout) -> None:
        self._block, self._dna, self._layout = block, dna, layout

    def bytes(self, kind: str, path: str) -> bytes:
        if self._dna.type_of(self._block.struct) != kind:
            raise _Unreadable
        at, size = self._dna.place(kind, path)
        if at + size > len(self._block.data):
            raise _Unreadable
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
        except _ERRORS:
            return False
        return True

    def known(self, path: str, form: str = "whole") -> Any:
        """A scene's number; None where scenes of this file have none."""
        return self.number("Scene", path, form) if self.has(path) else None
