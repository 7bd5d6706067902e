"""Following links: from one .blend to all that it needs of the libraries, and of theirs.

Of the file that is rendered everything counts, since Blender loads all of it. Of a library it loads
what is linked, and what that points at: so does this, by the pointers themselves, whatever kind of
data they are in. The library's own list of such pointers misses some, and with Blender 5 most.
"""

from __future__ import annotations

import logging
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import zstandard
from blender_asset_tracer.blendfile import BlendFile
from blender_asset_tracer.blendfile.dna import Struct
from blender_asset_tracer.blendfile.exceptions import BlendFileError

from renderonline.blendfile.blocks import ERRORS, Dna
from renderonline.client.blend import kinds
from renderonline.client.blend.files import absolute
from renderonline.client.blend.kinds import Block
from renderonline.client.blend.links import Link

# It warns of every stale pointer, of which a normal file has many.
logging.getLogger("blender_asset_tracer").setLevel(logging.ERROR)

MAX_OPEN = 16
"""Libraries that are open at a time; one that is packed lies unpacked in the temporary folder."""

_NO_IDS = frozenset(
    (b"DATA", b"DNA1", b"GLOB", b"REND", b"TEST", b"USER", b"ENDB", b"ID", b"LI", b"WM", b"SN")
)
"""Blocks that are no data block with links, those of the user interface among them. An `ID` stands
for a data block of a library, an `LI` for the library."""

_NOT_FOLLOWED = frozenset((b"next", b"prev", b"newid", b"orig_id", b"py_instance"))
"""Pointers of an ID to what it does not need: its neighbours in a list, and leftovers."""

_BROKEN: tuple[type[Exception], ...] = (BlendFileError, *kinds.ERRORS, *ERRORS, zstandard.ZstdError)

_RAW = 0
"""The number of the struct of blocks that are no struct; only arrays of pointers matter there."""


class NotABlend(Exception):
    """The file cannot be read as a .blend. Its text says why, as the end of a sentence."""


@dataclass(slots=True)
class Traced:
    """One .blend as it was found. `stamp`: to see later whether it is still the same."""

    file: Path
    stamp: tuple[int, int]
    links: dict[Link, None] = field(default_factory=dict)  # in order, each once


@dataclass(slots=True)
class Trace:
    """All .blend files of a project, the main one first, and those that could not be read."""

    files: dict[Path, Traced] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)


def stamp(file: Path) -> tuple[int, int]:
    """Size and time of the last change. Raises OSError."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def trace(main: Path) -> Trace:
    """All that `main` links to. Raises NotABlend for `main` itself."""
    found = Trace()
    with _Shelf() as shelf:
        waiting = deque(shelf.look(found, main, None))
        while waiting:
            library, names = waiting.popleft()
            if not library.is_file():
                continue  # its link says so
            try:
                waiting += shelf.look(found, library, names)
            except NotABlend as error:
                found.unreadable[library] = str(error)
    return found


Wanted = tuple[Path, frozenset[bytes]]
"""A library, and the data blocks that are linked from it ("MAWood")."""


class _Shelf:
    """The files that are open, and which data blocks of each have been looked at."""

    def __init__(self) -> None:
        self._open: dict[Path, _File] = {}
        self._seen: dict[Path, set[int]] = {}

    def __enter__(self) -> _Shelf:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for file in self._open.values():
            file.close()

    def look(self, found: Trace, path: Path, names: frozenset[bytes] | None) -> list[Wanted]:
        """Note what these data blocks (None: all) name; what they need of libraries, in order.

        Raises NotABlend.
        """
        try:
            traced = found.files.get(path) or Traced(path, stamp(path))
            file = self._file(path)
            seen = self._seen.setdefault(path, set())
            own, linked = file.everything() if names is None else file.reach(names, seen)
            libraries = _libraries(file, linked)
        except OSError as error:
            raise NotABlend(f"it cannot be read: {error.strerror or error}") from None
        except _BROKEN:
            raise NotABlend("it is no .blend file, or damaged") from None
        found.files[path] = traced
        for block in (*own, *(block for block, _ in libraries.values())):
            traced.links.update(dict.fromkeys(kinds.links(block)))
        return [(library, frozenset(needed)) for library, (_, needed) in libraries.items()]

    def _file(self, path: Path) -> _File:
        if path not in self._open:
            while len(self._open) >= MAX_OPEN:
                self._open.pop(next(iter(self._open))).close()
            self._open[path] = _File(path)
        return self._open[path]


def _libraries(file: _File, linked: Iterable[Block]) -> dict[Path, tuple[Block, set[bytes]]]:
    """By their paths: the block that names a library, and which of its data blocks are linked."""
    found: dict[Path, tuple[Block, set[bytes]]] = {}
    for placeholder in linked:
        library = placeholder.get_pointer(b"lib")
        if library is None:
            continue
        for link in kinds.links(library):
            path = absolute(link.path, file.path)
            found.setdefault(path, (library, set()))[1].add(placeholder[b"name"])
    return found


class _Checked(BlendFile):
    """The library believes any number of names and structs that a damaged file says it has, and
    looks for them for hours."""

    def decode_structs(self, block: Block) -> None:
        start = self.fileobj.tell()
        order = "<" if self.header.is_little_endian else ">"
        Dna(self.fileobj.read(block.size), order, self.header.pointer_size).check()
        self.fileobj.seek(start)
        super().decode_structs(block)


class _File:
    """One open .blend: its data blocks, what belongs to each, and the pointers among them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._blend = _Checked(path)
        self._blend.strict_pointer_mode = False
        self._spans = dict(self._find_spans())
        self._linked = {b.addr_old: b for b in self._blend.blocks if b.code == b"ID"}
        self._names: dict[bytes | None, int] = {}
        self._pointers: dict[int, tuple[tuple[int, bool], ...]] = {}

    def close(self) -> None:
        self._blend.close()

    def everything(self) -> tuple[list[Block], list[Block]]:
        """All data blocks, and the placeholders of all that are linked, as they lie in the file."""
        return [self._blend.block_from_addr[at] for at in self._spans], list(self._linked.values())

    def reach(self, names: Iterable[bytes], seen: set[int]) -> tuple[list[Block], list[Block]]:
        """The same of what these data blocks need; what was `seen` before is left out, and added."""
        if not self._names:
            blocks = (self._blend.block_from_addr[at] for at in self._spans)
            self._names = {block.id_name: block.addr_old for block in blocks}
        waiting = [self._names[name] for name in names if name in self._names]
        new: set[int] = set()
        while waiting:
            address = waiting.pop()
            if address not in seen:
                seen.add(address)
                new.add(address)
                waiting += self._targets(address) if address in self._spans else ()
        own = [self._blend.block_from_addr[at] for at in self._spans if at in new]
        return own, [block for at, block in self._linked.items() if at in new]

    def _find_spans(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """By the address of each data block: where it and what belongs to it lie among `blocks`."""
        start: int | None = None
        blocks = self._blend.blocks
        for index, block in enumerate((*blocks, None)):
            if block is not None and block.code == b"DATA":
                continue
            if start is not None:
                yield blocks[start].addr_old, (start, index)
            start = index if block is not None and block.code not in _NO_IDS else None

    def _targets(self, address: int) -> set[int]:
        """The addresses of all data blocks and placeholders that one points at."""
        found: set[int] = set()
        for block in self._blend.blocks[slice(*self._spans[address])]:
            found.update(self._addresses(block))
        return {at for at in found if at in self._spans or at in self._linked}

    def _addresses(self, block: Block) -> Iterator[int]:
        """What stands in the pointers of a block."""
        places = () if block.sdna_index == _RAW else self._places(block.sdna_index)
        if not places:
            return
        data, size = block.raw_data(), block.dna_type.size
        pointer_bytes = self._blend.header.pointer_size
        for start in range(0, size * block.count, size):
            for offset, is_array in places:
                at = start + offset
                (address,) = self._numbers(data[at : at + pointer_bytes])
                if not is_array:
                    yield address
                elif (array := self._blend.block_from_addr.get(address)) is not None:
                    yield from self._numbers(array.raw_data())

    def _numbers(self, data: bytes) -> tuple[int, ...]:
        """Bytes as the addresses that they are."""
        header = self._blend.header
        count, letter = len(data) // header.pointer_size, "Q" if header.pointer_size == 8 else "I"
        form = f"{'<' if header.is_little_endian else '>'}{count}{letter}"
        return struct.unpack(form, data[: count * header.pointer_size])

    def _places(self, number: int) -> tuple[tuple[int, bool], ...]:
        """Where a struct has pointers, and whether each is to an array of pointers."""
        if number not in self._pointers:
            self._pointers[number] = tuple(self._walk(self._blend.structs[number], 0))
        return self._pointers[number]

    def _walk(self, kind: Struct, base: int) -> Iterator[tuple[int, bool]]:
        pointer_bytes = self._blend.header.pointer_size
        for item in kind.fields:
            name, at = item.name, base + item.offset
            if name.is_method_pointer:
                continue
            if kind.dna_type_id == b"ID" and name.name_only in _NOT_FOLLOWED:
                continue
            if name.is_pointer:
                is_array = name.name_full.startswith(b"**")
                yield from ((at + n * pointer_bytes, is_array) for n in range(name.array_size))
            elif item.dna_type.fields:
                for n in range(name.array_size):
                    yield from self._walk(item.dna_type, at + n * item.dna_type.size)
