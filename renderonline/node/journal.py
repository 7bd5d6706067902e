"""What a node that dies leaves for its next start: one file per attempt that its api must hear of.

Below `DataPath/journal`. A file says who rendered what, in which process, and how far it is; it
is replaced whole, and removed when the api knows the end. It is not forced to the disk: it is to
outlive this program, not the machine, whose end also ends the renderers.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

from renderonline import paths, wire
from renderonline.wire import HpcTask

log = logging.getLogger(__name__)


class ProcessId(wire.Message):
    """One process, for as long as the system counts: a number alone is given away again."""

    pid: int = 0
    created: float = 0.0  # seconds since 1970, as psutil has it

    def find(self) -> psutil.Process | None:
        """The process, if it still runs."""
        try:
            process = psutil.Process(self.pid)
            is_it = abs(process.create_time() - self.created) < 0.01
            return process if is_it and process.status() != psutil.STATUS_ZOMBIE else None
        except (psutil.Error, ValueError, OverflowError):
            return None


def process_id(pid: int) -> ProcessId | None:
    """How to find a process again; None if it has gone already."""
    try:
        return ProcessId(pid=pid, created=psutil.Process(pid).create_time())
    except psutil.Error:
        return None


class Entry(wire.Message):
    """The content of one file."""

    task: HpcTask
    api_url: str | None = None  # None: its api asks by itself
    fingerprint: str | None = None  # of that api's certificate
    report_key: str = ""
    host: str = ""
    node: ProcessId | None = None  # who keeps this file; None: a node that has ended in good order
    renderer: ProcessId | None = None


class Journal:
    """The folder of entries. Any thread; never raises: a full disk costs the journal, no render."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._host = socket.gethostname()
        self._node = process_id(os.getpid())
        self._has_failed = False

    def write(self, entry: Entry, is_kept: bool = True) -> None:
        """Make or replace an entry; `is_kept` False: this node ends and leaves it to the next."""
        entry.host = self._host
        entry.node = self._node if is_kept else None
        try:
            _replace(self._file(entry.task), wire.encode(entry))
            self._has_failed = False
        except OSError as error:
            if not self._has_failed:
                log.warning("The journal cannot be written: %s", error)
            self._has_failed = True

    def remove(self, task: HpcTask) -> None:
        """The api knows all of this attempt."""
        file = self._file(task)
        try:
            file.with_suffix(".part").unlink(missing_ok=True)  # of a node that was killed
            file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s cannot be deleted: %s", file, error.strerror)

    def left_behind(self) -> list[Entry]:
        """The entries of nodes that have ended, oldest first. Files that cannot be read are removed.

        Other nodes may share the folder: another one on this machine, or, where the data folder is
        on a server, on another machine. Theirs are left alone.
        """
        found = [entry for entry in self._read_all() if entry.host == self._host]
        return [entry for entry in found if entry.node is None or entry.node.find() is None]

    def _read_all(self) -> Iterator[Entry]:
        for file in sorted([*self._folder.glob("*.json"), *self._folder.glob("*.part")]):
            is_part = file.suffix == ".part"
            if is_part and file.with_suffix(".json").exists():
                continue
            try:
                yield wire.decode(file.read_bytes(), Entry)
            except (OSError, wire.WireError) as error:
                if is_part:
                    continue  # somebody may be writing it just now
                log.warning("%s is no entry of the journal; it is removed (%s)", file, error)
                with contextlib.suppress(OSError):
                    file.unlink()

    def _file(self, task: HpcTask) -> Path:
        """Two databases may count the same attempt, an original start counts none."""
        number = f"task-{task.task_id}" if task.attempt_id is None else f"{task.attempt_id}"
        whose = f"-{task.key_digest[:12]}" if task.key_digest else ""
        return self._folder / f"{number}{whose}.json"


def _replace(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all: it, or its `.part`, is there
    at any moment. Raises OSError.

    The old one goes first: a file that takes another's place is written to the disk at once by some
    file systems (ext4), which costs several times as much.
    """
    part = file.with_suffix(".part")
    try:
        descriptor = _create(part)
    except FileNotFoundError:
        paths.private_dir(file.parent)
        descriptor = _create(part)
    with open(descriptor, "wb", buffering=0) as stream:
        stream.write(content)
    file.unlink(missing_ok=True)
    part.replace(file)


def _create(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
