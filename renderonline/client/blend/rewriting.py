"""The copy of a .blend that finds its files in the bundle: the same bytes but for the paths.

It is packed as the original is, and the same each time: a project sent again is sent for nothing.
The artist's file is only read.
"""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import zstandard
from blender_asset_tracer.blendfile import magic_compression

from renderonline.client.blend.links import Link, Slot
from renderonline.client.errors import Unusable

KEPT_DAYS = 14
"""How long a changed copy is kept: for the next submission of the same scene, and for resuming."""

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, order=True)
class Patch:
    """What stands between two places of the unpacked file from now on."""

    start: int
    end: int
    data: bytes


def finds(link: Link, blend_place: str, target: str) -> bool:
    """Whether the path as it is written leads from the .blend's place to `target`, everywhere."""
    if not link.path.startswith("//"):
        return False
    written = link.path[2:].replace("\\", "/")
    folder = posixpath.dirname(blend_place)
    return posixpath.normpath(posixpath.join(folder, written)) == (target or ".")


def patches(link: Link, blend_place: str, target: str, blend: Path) -> Iterator[Patch]:
    """What makes the link lead to `target`. Raises Unusable."""
    if link.slot is None:
        return
    to = posixpath.relpath(target or ".", posixpath.dirname(blend_place) or ".")
    if link.name_slot is not None:
        folder, name = posixpath.split(to)
        yield from _text(link, link.slot, f"//{folder}/" if folder else "//", blend)
        yield from _text(link, link.name_slot, name, blend)
        return
    ending = "/" if link.path.endswith(("/", "\\")) else ""
    yield from _text(link, link.slot, f"//{to}{ending}", blend)


def _text(link: Link, slot: Slot, text: str, blend: Path) -> Iterator[Patch]:
    data = text.encode() + b"\0"
    if slot.block_length is None:
        if len(data) > slot.size:
            raise Unusable(
                f"{link.path} ({link.user} in {blend.name}) would be named {text} in the bundle, "
                "which is longer than Blender can write.",
                "Move the file into the project's folder.",
            )
        # The rest of the field is cleared: it would tell of folders of this machine.
        yield Patch(slot.start, slot.start + slot.size, data.ljust(slot.size, b"\0"))
        return
    padded = data.ljust((len(data) + 3) & ~3, b"\0")
    yield Patch(slot.start, slot.start + slot.size, padded)
    at, size = slot.block_length
    yield Patch(at, at + size, len(padded).to_bytes(size, "little"))
    for at in slot.lengths_at:
        yield Patch(at, at + 4, len(data).to_bytes(4, "little"))


def copy_of(source: Path, stamp: tuple[int, int], wanted: Iterable[Patch], folder: Path) -> Path:
    """The changed copy of a file that has this stamp, below `folder`; made if it is not there yet.

    Raises OSError. Whoever gets it checks that the file still has its stamp.
    """
    changes = sorted(set(wanted))
    told = repr((str(source), stamp, changes, zstandard.__version__))
    target = folder / f"{hashlib.sha256(told.encode('utf-8', 'surrogatepass')).hexdigest()}.blend"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _clean(folder)
        unfinished = folder / f"{secrets.token_hex(8)}.part"
        try:
            _write(source, changes, unfinished)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    return target


def _write(source: Path, changes: list[Patch], target: Path) -> None:
    packing = _packing(source)
    unpacked = magic_compression.open(source, "rb", _PIECE_BYTES).fileobj
    with unpacked, target.open("wb") as out, _packer(out, packing) as written:
        unpacked.seek(0)
        at = 0
        for change in changes:
            _copy(unpacked, written, change.start - at)
            written.write(change.data)
            unpacked.seek(change.end)
            at = change.end
        shutil.copyfileobj(unpacked, written, _PIECE_BYTES)


def _copy(source: IO[bytes], target: IO[bytes], count: int) -> None:
    if count < 0:
        raise ValueError("two links are written at the same place of a .blend")
    while count and (piece := source.read(min(count, _PIECE_BYTES))):
        target.write(piece)
        count -= len(piece)


def _packing(source: Path) -> magic_compression.Compression:
    with source.open("rb") as file:
        return magic_compression.find_compression_type(file)


@contextmanager
def _packer(out: IO[bytes], packing: magic_compression.Compression) -> Iterator[IO[bytes]]:
    """Packs as the original was packed, without a time or a name in it."""
    kinds = magic_compression.Compression
    if packing is kinds.GZIP:
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=out, mtime=0) as packer:
            yield packer  # type: ignore[misc]
    elif packing is kinds.ZSTD:
        with zstandard.ZstdCompressor(level=3).stream_writer(out, closefd=False) as packer:
            yield packer
    else:
        yield out


def _clean(folder: Path) -> None:
    """Remove copies that nobody has asked for lately; one that is wanted again is made again."""
    oldest_s = time.time() - KEPT_DAYS * 86400
    for file in folder.iterdir():
        with suppress(OSError):
            if file.stat().st_mtime < oldest_s:
                file.unlink()
