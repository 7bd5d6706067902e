"""A folder as a ZIP stream: no temporary file, no copy in memory.

Stored, not deflated: images are compressed already, and the size is known before the first byte.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from zipstream import ZIP_STORED, ZipStream

from renderonline.paths import UNFINISHED

PIECE_BYTES = 64 * 1024
"""Size of what is handed to the HTTP server at once; it would spool larger pieces to disk."""


@dataclass(frozen=True, slots=True)
class Archive:
    """`size_bytes` None: the folder may still change, so the length is not promised."""

    pieces: Iterator[bytes]
    size_bytes: int | None


def of_folder(folder: Path, is_final: bool, but: Collection[Path] = ()) -> Archive:
    """All files below `folder`, names relative to it and sorted; links are left out, the folders
    of `but`, and what renderers are still writing.

    A link could lead out of the folder: a renderer runs what is in a scene.
    """
    stream = ZipStream(sized=is_final, compress_type=ZIP_STORED)
    for file in _files(folder, but):
        stream.add_path(file, arcname=_name(file, folder), recurse=False)
    size = len(stream) if is_final else None
    return Archive(_pieces(stream), size)


def _name(file: Path, folder: Path) -> str:
    """The name inside the archive; bytes that are no UTF-8, which a ZIP cannot hold, as �."""
    return os.fsencode(file.relative_to(folder).as_posix()).decode("utf-8", "replace")


def _files(folder: Path, but: Collection[Path]) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [
            name
            for name in folders
            if Path(parent, name) not in but and not name.startswith(UNFINISHED)
        ]
        paths = (Path(parent, name) for name in names)
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found)


def _pieces(stream: ZipStream) -> Iterator[bytes]:
    for block in stream:
        for start in range(0, len(block), PIECE_BYTES):
            yield block[start : start + PIECE_BYTES]
