"""Tiny .blend files of any kind, made byte by byte: what no Blender at hand would write."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

FIELDS = {
    "ID": [("ID", "*next"), ("char", "name[66]"), ("char", "pad[6]")],
    "ImageFormatData": [("char", "imtype"), ("char", "pad[7]")],
    "RenderData": [("ID", "*other[2]"), ("ImageFormatData", "im_format")],
    "Scene": [("ID", "id"), ("Scene", "(*call)()"), ("RenderData", "r")],
    "FileGlobal": [("char", "sub[8]"), ("Scene", "*curscene")],
}


@dataclass(frozen=True)
class Kind:
    """How a file writes numbers and the headers of its blocks."""

    pointer_bytes: int = 8
    order: str = "<"
    is_long: bool = False  # as Blender 5 may

    @property
    def start(self) -> bytes:
        if self.is_long:
            return b"BLENDER17-01v0500"
        return (
            b"BLENDER"
            + (b"-" if self.pointer_bytes == 8 else b"_")
            + (b"v" if self.order == "<" else b"V")
            + b"279"
        )

    def pointer(self, address: int) -> bytes:
        return struct.pack(self.order + ("Q" if self.pointer_bytes == 8 else "I"), address)

    def block(
        self, code: bytes, data: bytes, kind: str = "ID", address: int = 0, size: int | None = None
    ) -> bytes:
        """A block; `size` to be wrong about it."""
        length, number = len(data) if size is None else size, list(FIELDS).index(kind)
        if self.is_long:
            return struct.pack("<4siQqq", code, number, address, length, 1) + data
        header = struct.pack(f"{self.order}4si", code, length) + self.pointer(address)
        return header + struct.pack(f"{self.order}ii", number, 1) + data


@dataclass(frozen=True)
class Structs:
    """What DNA1 says. `counts`: to be wrong about how many there are; `renamed`: fields."""

    kind: Kind = Kind()
    counts: dict[bytes, int] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def block(self) -> bytes:
        names = list(dict.fromkeys(name for fields in FIELDS.values() for _, name in fields))
        types = ["char", *FIELDS]
        order = self.kind.order
        data = b"SDNA" + self._strings(b"NAME", [self.renamed.get(n, n) for n in names])
        data = _padded(data) + self._strings(b"TYPE", types)
        sizes = [self._size(kind) for kind in types]
        data = _padded(_padded(data) + b"TLEN" + struct.pack(f"{order}{len(sizes)}H", *sizes))
        data += b"STRC" + self._count(b"STRC", len(FIELDS))
        for kind, fields in FIELDS.items():
            data += struct.pack(f"{order}2H", types.index(kind), len(fields))
            for of, name in fields:
                data += struct.pack(f"{order}2H", types.index(of), names.index(name))
        return self.kind.block(b"DNA1", data)

    def _strings(self, mark: bytes, texts: Iterable[str]) -> bytes:
        written = [text.encode() + b"\0" for text in texts]
        return mark + self._count(mark, len(written)) + b"".join(written)

    def _count(self, mark: bytes, count: int) -> bytes:
        return struct.pack(f"{self.kind.order}I", self.counts.get(mark, count))

    def _size(self, kind: str) -> int:
        if kind == "char":
            return 1
        total = 0
        for of, name in FIELDS[kind]:
            size = self.kind.pointer_bytes if name[0] in "*(" else self._size(of)
            length = name.partition("[")[2].partition("]")[0]
            total += size * int(length or 1)
        return total


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def scene(kind: Kind, name: str, imtype: int, address: int) -> bytes:
    """A scene's block."""
    pointers = kind.pointer_bytes
    own = bytes(pointers) + b"SC" + name.encode().ljust(64, b"\0") + bytes(6)
    render = bytes(pointers) * 3 + bytes([imtype]) + bytes(7)
    return kind.block(b"SC\0\0", own + render, "Scene", address)


def blend_file(
    kind: Kind, scenes: dict[str, int], active: str, structs: bytes | None = None, more: bytes = b""
) -> bytes:
    """A file with these scenes (name → imtype). `structs`, `more`: other blocks, ready."""
    addresses = {name: 4096 * (n + 1) for n, name in enumerate(scenes)}
    current = kind.pointer(addresses.get(active, 0))
    blocks = kind.block(b"GLOB", bytes(8) + current, "FileGlobal")
    for name, imtype in scenes.items():
        blocks += kind.block(b"DATA", b"x" * 40) + scene(kind, name, imtype, addresses[name])
    dna = Structs(kind).block() if structs is None else structs
    return kind.start + blocks + more + dna + kind.block(b"ENDB", b"")
