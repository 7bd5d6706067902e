"""The logs of the attempts: one file each, bounded in size, the oldest deleted.

The first line is the command as a person would type it, so that a failed render can be repeated
by hand with one paste.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

from renderonline import paths

log = logging.getLogger(__name__)

MAX_LOG_BYTES = 8 * 2**20
"""After so much of an attempt's output only its end is kept: what went wrong stands there."""

END_LINES = 500
KEEP_LOGS = 200  # with the bound above, at most a few GiB in the worst case, usually a few MiB


class AttemptLog:
    """One attempt's log. Never fails: a full disk costs the log, not the render. One thread."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._end: deque[str] = deque(maxlen=END_LINES)
        self._left_out = 0
        self._room_bytes = MAX_LOG_BYTES
        try:
            paths.private_dir(file.parent)
            self._stream: TextIO | None = file.open(
                "w", encoding="utf-8", errors="replace", buffering=1
            )
        except OSError as error:
            self._stream = None
            log.warning("There is no log of this attempt; %s: %s", file, error.strerror or error)

    def write(self, line: str) -> None:
        """Add one line, without its newline."""
        self._room_bytes -= len(line) + 1
        if self._room_bytes >= 0:
            self._put(line)
            return
        self._left_out += len(self._end) == END_LINES
        self._end.append(line)

    def close(self) -> None:
        """Write what is kept of the end. Idempotent."""
        if self._left_out:
            self._put(f"[{self._left_out} lines left out]")
        for line in self._end:
            self._put(line)
        self._end.clear()
        self._left_out = 0
        if self._stream is not None:
            with contextlib.suppress(OSError):  # what could not be written has been said
                self._stream.close()
            self._stream = None

    def _put(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(f"{line}\n")
        except OSError as error:
            log.warning("The log %s ends here: %s", self.file, error.strerror or error)
            self._stream = None


def log_file(folder: Path, now: datetime, task_id: int, attempt_id: int | None) -> Path:
    """The name of a new log. By name is by age."""
    attempt = "" if attempt_id is None else f"-attempt-{attempt_id}"
    return folder / f"{now:%Y%m%dT%H%M%S.%f}-task-{task_id}{attempt}.log"


def delete_oldest(folder: Path, keep: int = KEEP_LOGS) -> None:
    """Delete all logs in `folder` but the newest `keep`. What cannot be deleted stays."""
    for file in _logs(folder)[:-keep]:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("The old log %s cannot be deleted: %s", file, error.strerror or error)


def _logs(folder: Path) -> list[Path]:
    """Sorted by age. Looks at names only: this happens before each start."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return []
    return [folder / name for name in sorted(names) if "-task-" in name and name.endswith(".log")]


def pasteable(command: Sequence[str], working_dir: Path) -> str:
    """`command` in `working_dir`, as this platform's shell takes it."""
    if sys.platform == "win32":
        return f'cd /d "{working_dir}" && {subprocess.list2cmdline(command)}'
    return f"cd {shlex.quote(str(working_dir))} && {shlex.join(command)}"
