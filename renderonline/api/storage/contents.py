"""The content store: files by the SHA-256 of their bytes, in `contents/<two digits>/<SHA-256>`.

Owns the files alone. What is there is what the table `contents` says, which holds each file's size
and time: a task's folder may be hard links to these files, and a renderer may write into one in its
place. Such a file does not fit its row any more, and is nobody's.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from renderonline import paths
from renderonline.api.storage.durable import sync_folder
from renderonline.manifests import is_sha256


class Stamp(NamedTuple):
    """What a file looks like from outside; it changes with what is in it."""

    size_bytes: int
    mtime_ns: int


def stamp_of(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns)


class ContentStore:
    """The files below one folder. Safe from any thread, and from several programs at once as long
    as each changes a content only while it holds that content's row."""

    def __init__(self, root: Path) -> None:
        """Raises OSError."""
        self.root = paths.private_dir(root)
        # All of them now: what comes and goes later are files, and no two threads meet over a folder.
        for number in range(256):
            (root / f"{number:02x}").mkdir(exist_ok=True)
        sync_folder(root)

    def place(self, sha256: str) -> Path:
        """Where the bytes of this hash lie, if they are there."""
        return self.root / sha256[:2] / sha256

    def stamp(self, sha256: str) -> Stamp | None:
        """What lies there looks like; None if nothing does."""
        try:
            status = self.place(sha256).stat(follow_symlinks=False)
        except OSError:
            return None
        return stamp_of(status) if stat.S_ISREG(status.st_mode) else None

    def take_in(self, sha256: str, file: Path) -> Stamp:
        """Move a file that has this hash, and is on the disk, to its place. `secure` follows.

        May be called again for the same file: then it lies there already. Raises OSError.
        """
        place = self.place(sha256)
        if file.exists():
            _make_read_only(file)
            file.replace(place)
        return stamp_of(place.stat(follow_symlinks=False))

    def secure(self, hashes: Iterable[str]) -> None:
        """Wait until the names of these are on the disk. Raises OSError."""
        for folder in {self.place(sha256).parent for sha256 in hashes}:
            sync_folder(folder)

    def remove(self, sha256: str) -> None:
        """Raises OSError, but not where it was gone already."""
        self.place(sha256).unlink(missing_ok=True)

    def is_older(self, sha256: str, moment: datetime) -> bool:
        """Whether what lies there was neither written nor moved there since that moment."""
        try:
            status = self.place(sha256).stat(follow_symlinks=False)
        except OSError:
            return False
        return max(status.st_mtime, status.st_ctime) < moment.timestamp()

    def hashes(self) -> Iterator[str]:
        """Of all that lies here, whether the table knows it or not."""
        for folder in sorted(self.root.iterdir()):
            if folder.is_dir():
                yield from (file.name for file in folder.iterdir() if is_sha256(file.name))


def _make_read_only(file: Path) -> None:
    """Against renderers that write into their project by mistake.

    Not on Windows: there a file that is read-only cannot be deleted, and all of its links are.
    """
    if sys.platform != "win32":
        file.chmod(stat.S_IMODE(file.stat().st_mode) & ~0o222)
