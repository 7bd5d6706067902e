"""Puts files of the content store into a task's folder, without copying where the disk can do that.

By a reflink (Linux: Btrfs, XFS; macOS: APFS), which is a file of its own that shares the blocks;
else by a hard link; else by a copy. No symbolic links: Windows wants rights for them, and they lead
out of the folder.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from renderonline.api.storage.contents import Stamp, stamp_of
from renderonline.api.storage.durable import sync_folder

if sys.platform == "linux":
    import fcntl

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)

_NTFS_TOO_MANY_LINKS = 1142  # ERROR_TOO_MANY_LINKS, at 1,023 links


class Linker:
    """Fills one folder. Finds out once what its disk can do. Belongs to one thread."""

    def __init__(self, folder: Path) -> None:
        """`folder` is there."""
        self._folder = folder
        self._made = {folder}
        self._ways: list[Callable[[Path, Path], Stamp]] = [_reflink, _hard_link, copy]

    def put(self, source: Path, path: str, executable: bool = False) -> Stamp:
        """Put `source` at `path` below the folder, with "/" between its parts.

        What `source` looked like then: what was put there are the bytes that belong to this stamp.
        Raises OSError: FileNotFoundError where `source` is gone.
        """
        target = self._folder.joinpath(*path.split("/"))
        self._make(target.parent)
        if not executable:
            return self._link(source, target)
        # The mode belongs to all links of a file: this one must be a file of its own.
        found = copy(source, target)
        target.chmod(target.stat().st_mode | 0o555)
        return found

    def settle(self) -> None:
        """Wait until all names that were made are on the disk. Raises OSError."""
        for folder in self._made:
            sync_folder(folder)
        sync_folder(self._folder.parent)

    def _make(self, folder: Path) -> None:
        if folder not in self._made:
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)
            self._made.add(folder)

    def _link(self, source: Path, target: Path) -> Stamp:
        for way in self._ways[:-1]:
            try:
                return way(source, target)
            except (FileNotFoundError, FileExistsError):
                raise
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EIO):
                    raise
                if not _is_of_this_file(error):
                    self._ways.remove(way)
        return copy(source, target)


def copy(source: Path, target: Path) -> Stamp:
    """The bytes themselves, on the disk when this returns. Raises OSError."""
    with source.open("rb") as reader, target.open("xb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())
        return stamp_of(os.fstat(reader.fileno()))


def _hard_link(source: Path, target: Path) -> Stamp:
    target.hardlink_to(source)
    return stamp_of(target.stat(follow_symlinks=False))


def _reflink(source: Path, target: Path) -> Stamp:
    """Raises OSError where the platform or the disk cannot do that, having left nothing."""
    if sys.platform == "linux":
        with source.open("rb") as reader, target.open("xb") as writer:
            try:
                fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
            except OSError:
                target.unlink()
                raise
            return stamp_of(os.fstat(reader.fileno()))
    elif sys.platform == "darwin":
        with source.open("rb") as reader:
            _clonefile(source, target)
            target.chmod(0o644)  # a clone has the mode of its source
            return stamp_of(os.fstat(reader.fileno()))
    else:
        raise OSError(errno.EOPNOTSUPP, "no reflinks on this platform")


def _clonefile(source: Path, target: Path) -> None:
    """macOS' clonefile(2)."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.clonefile(os.fsencode(source), os.fsencode(target), 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))


def _is_of_this_file(error: OSError) -> bool:
    """Whether another file may still be linked: this one has all the links that it can have."""
    return error.errno == errno.EMLINK or getattr(error, "winerror", None) == _NTFS_TOO_MANY_LINKS
