"""Where projects and results lie: the upload that is not checked yet, and a folder for each task.

A task's folder is where the original has it: `<download_path>/<user_id>/<ticks>/`. It exists if and
only if a row of `renders` points into it; what is on its way between the two is written down in
`pending` first, so that a crash at any line is cleaned up by `repair` at the next start.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path

from renderonline import paths
from renderonline.api.storage.checksums import Checksums
from renderonline.api.storage.durable import make_folders
from renderonline.locks import ByteLocks

log = logging.getLogger(__name__)

TICKS_PER_SECOND = 10_000_000  # .NET's DateTime: units of 100 ns since 0001-01-01


DELETED = ".deleted-"
"""In the name of a folder whose content is being deleted."""


class DiskFull(Exception):
    """There is no room left for what was to be written."""


def ticks(moment: datetime) -> int:
    """.NET's DateTime.Ticks of a naive local time."""
    span = moment - datetime(1, 1, 1)
    return (span.days * 86400 + span.seconds) * TICKS_PER_SECOND + span.microseconds * 10


def is_disk_full(error: OSError) -> bool:
    """No space, or over the user's disk quota."""
    return error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


class TaskFolders:
    """The folders below one DataPath, which several programs may share. Safe from any thread.

    What is on its way carries the number of its program, which holds that number's lock while it
    lives: what a dead one left is told from what another is at.
    """

    def __init__(self, data_path: Path) -> None:
        """Raises OSError."""
        self.default_root = paths.private_dir(data_path / "projects")
        self._incoming = paths.private_dir(data_path / "incoming")
        self._pending = paths.private_dir(data_path / "pending")
        self._lock = threading.Lock()
        self._last: dict[Path, int] = {}  # in each user's folder: the last name that was given
        self.checksums = Checksums(paths.private_dir(data_path / "checksums"))
        self._programs = ByteLocks(data_path / "programs.lock")
        self._number = next(number for number in count(1) if self._programs.take(number))

    def incoming_file(self) -> Path:
        """A name for an upload that is being received; nothing is there yet."""
        return self._incoming / f"{self._number}-{secrets.token_hex(16)}"

    def plan(self, download_path: str, user_id: int, moment: datetime) -> Path:
        """The folder for a task of `user_id`, queued at the naive local `moment`; not made yet."""
        root = Path(download_path).expanduser() if download_path else self.default_root
        parent = (root / str(user_id)).absolute()
        with self._lock:
            # two tasks of one user in the same 100 ns are one behind the other
            stamp = max(ticks(moment), self._last.get(parent, 0) + 1)
            while (parent / str(stamp)).exists():
                stamp += 1
            self._last[parent] = stamp
        return parent / str(stamp)

    def create(self, folder: Path, fill: Callable[[Path], None]) -> None:
        """Make a planned folder and let `fill` put the project into it. `settle` follows the commit.

        Raises DiskFull; FileExistsError if somebody else took the folder; OSError; what `fill`
        raises. Then nothing is left of the folder.
        """
        self._note(folder)
        try:
            make_folders(folder.parent)
            folder.mkdir()
        except FileExistsError:
            self._note_path(folder).unlink(missing_ok=True)
            raise
        except OSError as error:
            self.discard(folder)
            raise _told(error) from None
        try:
            fill(folder)
        except OSError as error:
            self.discard(folder)
            raise _told(error) from None
        except BaseException:
            self.discard(folder)
            raise

    def settle(self, folder: Path) -> None:
        """The row that points into `folder` is committed: it stays."""
        self._note_path(folder).unlink(missing_ok=True)

    def condemn(self, folder: Path) -> None:
        """Written before the row is deleted: if the commit is followed by a crash, `folder` goes."""
        self._note(folder)

    def discard(self, folder: Path) -> bool:
        """Remove `folder` and all in it; whether it is gone. If not, the next start tries again."""
        gone = remove_tree(folder)
        if gone:
            self.checksums.forget(folder)
            self._note_path(folder).unlink(missing_ok=True)
        return gone

    def aside(self, folder: Path) -> Path:
        """A new place beside `folder` for what is to be deleted of it; noted, so that a crash is
        cleaned up. `put_aside` and `discard` follow. Raises OSError."""
        away = folder.with_name(f"{folder.name}{DELETED}{secrets.token_hex(8)}")
        self._note(away)
        return away

    def put_aside(self, files: Sequence[Path], away: Path) -> None:
        """Move these there, at once; those that are gone already are left out. Raises OSError."""
        away.mkdir(exist_ok=True)
        for file in files:
            try:
                file.rename(away / file.name)
            except FileNotFoundError:
                continue

    def put(self, file: Path, target: Path) -> None:
        """Move a file that is on the disk to `target`, whole, also onto another disk. Raises OSError."""
        try:
            file.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            return
        unfinished = target.parent / f"{paths.UNFINISHED}api"
        unfinished.mkdir(exist_ok=True)
        copy = unfinished / secrets.token_hex(8)
        try:
            with file.open("rb") as reader, copy.open("xb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
                writer.flush()
                os.fsync(writer.fileno())
            copy.replace(target)
        finally:
            copy.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others use it, too
                unfinished.rmdir()
        file.unlink()

    def repair(self, is_wanted: Callable[[Path], bool]) -> None:
        """At start: finish what a crash left. `is_wanted` says if a row points into a folder."""
        self.checksums.repair()
        left = [*self._incoming.iterdir(), *self._pending.iterdir()]
        for number in {_number(file.name) for file in left}:
            if number != self._number and not self._programs.take(number):
                continue  # its program lives
            self._repair(number, is_wanted)
            if number != self._number:
                self._programs.free(number)

    def close(self) -> None:
        """What is on its way from here belongs to nobody any more."""
        self.checksums.close()
        self._programs.close()

    def _repair(self, number: int, is_wanted: Callable[[Path], bool]) -> None:
        for file in self._incoming.iterdir():
            if _number(file.name) == number:
                file.unlink(missing_ok=True)
        for note in self._pending.iterdir():
            if _number(note.name) != number:
                continue
            folder = Path(note.read_text(encoding="utf-8"))
            if note.suffix == ".tmp" or is_wanted(folder):
                note.unlink(missing_ok=True)
            elif folder.is_absolute():
                log.info("removing %s, left by an interrupted submission or deletion", folder)
                if remove_tree(folder):
                    self.checksums.forget(folder)
                    note.unlink(missing_ok=True)

    def _note(self, folder: Path) -> None:
        paths.write_private(self._note_path(folder), str(folder))

    def _note_path(self, folder: Path) -> Path:
        name = hashlib.sha256(str(folder).encode()).hexdigest()
        return self._pending / f"{self._number}-{name}"


def _number(name: str) -> int:
    """The program that something on its way belongs to; 0 for what an older version left."""
    number, dash, _ = name.partition("-")
    return int(number) if dash and number.isascii() and number.isdigit() else 0


def remove_tree(folder: Path) -> bool:
    """Delete a folder, trying for two seconds: on Windows a scanner may hold a file open."""
    for attempt in range(8):
        if folder.is_symlink():
            folder.unlink(missing_ok=True)  # put in its place by a renderer: the link goes, alone
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return True
        time.sleep(0.05 * (attempt + 1))
    log.warning("%s could not be removed; it is tried again at the next start", folder)
    return False


def _told(error: OSError) -> Exception:
    return DiskFull() if is_disk_full(error) else error
