"""How attempts end: what an exit code says, the last lines, the files, the disk. For any renderer."""

from __future__ import annotations

import shutil
import signal
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from renderonline.wire import Reason

TAIL_LINES = 6
LINE_CHARS = 300
"""Bounds of what is kept of an output for the sentence that a submitter reads."""

FULL_BYTES = 1024 * 1024
"""A disk with less free space than this is full: a write that failed has left less than a block."""

_CRASHED = (
    "{who} crashed ({what}). It is tried on another machine; if it crashes everywhere, try another "
    "version of it."
)
_KILLED = (
    "{who} was killed by the system ({what}), which mostly means that the machine ran out of "
    "memory. Render it on a machine with more, or make the scene smaller."
)
_OLD_PROCESSOR = (
    "{who} needs a processor instruction that this machine lacks ({what}): its processor is too "
    "old for this version. Install an older version there, or leave that machine out."
)
_NOT_STARTED = (
    "{who} cannot start on this machine: {what}. Install it there again, with what it needs."
)
_ENDED = (
    "{who} was ended on this machine from outside ({what}), by the system or by somebody there."
)
_NO_MEMORY = (
    "The machine ran out of memory ({what}). Render it on one with more, or make the scene smaller."
)
_NO_SPACE = "The disk of the machine is full ({what}). Free some space there."

_SIGNALS: dict[str, tuple[Reason | None, str]] = {
    "SIGKILL": (Reason.OUT_OF_MEMORY, _KILLED),
    "SIGILL": (Reason.CRASH, _OLD_PROCESSOR),
    "SIGTERM": (None, _ENDED),
    "SIGINT": (None, _ENDED),
    "SIGHUP": (None, _ENDED),
}
"""What a signal says that is no plain crash."""

_STATUSES: dict[int, tuple[str, Reason | None, str]] = {
    0xC0000005: ("access violation", Reason.CRASH, _CRASHED),
    0xC0000017: ("no memory, status 0xC0000017", Reason.OUT_OF_MEMORY, _NO_MEMORY),
    0xC000001D: ("illegal instruction", Reason.CRASH, _OLD_PROCESSOR),
    0xC000007B: ("a DLL of it is for another kind of processor", None, _NOT_STARTED),
    0xC000007F: ("status 0xC000007F", Reason.DISK_FULL, _NO_SPACE),
    0xC00000FD: ("stack overflow", Reason.CRASH, _CRASHED),
    0xC000012D: ("commitment limit, status 0xC000012D", Reason.OUT_OF_MEMORY, _NO_MEMORY),
    0xC0000135: ("a DLL is missing", None, _NOT_STARTED),
    0xC0000139: ("a DLL is too old or too new", None, _NOT_STARTED),
    0xC000013A: ("closed or Ctrl+C", None, _ENDED),
    0xC0000142: ("a DLL failed to start", None, _NOT_STARTED),
    0xC0000374: ("heap corruption", Reason.CRASH, _CRASHED),
    0xC0000409: ("stack buffer overrun", Reason.CRASH, _CRASHED),
}
"""NTSTATUS values (ntstatus.h) that a process ends with when Windows stops it."""


class Tail:
    """The last lines of an output, each cut to a bounded length."""

    def __init__(self, lines: int = TAIL_LINES) -> None:
        self._lines: deque[str] = deque(maxlen=lines)

    def add(self, line: str) -> None:
        """Keep a line unless it is blank or repeats the one before."""
        text = line.strip()[:LINE_CHARS]
        if text and (not self._lines or self._lines[-1] != text):
            self._lines.append(text)

    def quoted(self) -> str:
        """A sentence with the lines, oldest first; empty if there are none."""
        return f"Its last lines: {' | '.join(self._lines)}" if self._lines else ""


@dataclass(frozen=True, slots=True)
class Crash:
    """What stopped a process that did not end by itself."""

    what: str  # "SIGSEGV", "access violation"
    reason: Reason | None
    sentence: str

    def message(self, who: str) -> str:
        """The sentence for the submitter; `who` begins it: "Blender"."""
        return self.sentence.format(who=who, what=self.what)


def crash(exit_code: int) -> Crash | None:
    """What stopped the process from outside, or from a fault in it; None if it ended by itself.

    Knows `subprocess`' negative signal numbers, the 128 + n of shells and wrappers (snap,
    flatpak), and Windows' NTSTATUS codes, signed or not.
    """
    status = exit_code & 0xFFFFFFFF
    if status >= 0xC0000000 and (exit_code > 0 or exit_code < -255):
        other = (f"Windows status 0x{status:08X}", Reason.CRASH, _CRASHED)
        return Crash(*_STATUSES.get(status, other))
    number = -exit_code if exit_code < 0 else exit_code - 128
    if exit_code >= 0 and number not in (4, 6, 7, 8, 9, 11, 15):
        return None
    name = _signal_name(number)
    return Crash(name, *_SIGNALS.get(name, (Reason.CRASH, _CRASHED)))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def sentences(parts: Iterable[str]) -> str:
    """Join what is not empty with single spaces."""
    return " ".join(part for part in parts if part)


def unmatched(patterns: str | None, files: Iterable[Path]) -> str | None:
    """The first of the fnmatch patterns (separated by spaces) that no file fits; None if all do.

    A pattern is held against the file's name and against its path below the output folder.
    """
    names = [name for file in files for name in (file.name, file.as_posix())]
    for pattern in (patterns or "").split():
        if not any(fnmatch(name, pattern) for name in names):
            return pattern
    return None


def is_disk_full(folder: Path | None) -> bool:
    """Whether there is no room left where `folder` is; False where that cannot be told.

    Renderers that do not look at what a write returns end with 0 and an empty file then.
    """
    try:
        return folder is not None and shutil.disk_usage(folder).free < FULL_BYTES
    except OSError:
        return False
