"""How attempts end: what an exit code says, the last lines, the files. For any renderer."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

TAIL_LINES = 6
LINE_CHARS = 300
"""Bounds of what is kept of an output for the sentence that a submitter reads."""

_WINDOWS_CRASHES = {
    0xC0000005: "access violation",
    0xC000001D: "illegal instruction",
    0xC00000FD: "stack overflow",
    0xC0000017: "out of memory",
    0xC0000135: "a DLL is missing",
    0xC0000409: "stack buffer overrun",
}
"""NTSTATUS values that a process ends with when Windows stops it."""


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


def crash(exit_code: int) -> str | None:
    """What stopped the process from outside, or from a fault in it; None if it ended by itself.

    Knows `subprocess`' negative signal numbers, the 128 + n of shells and wrappers (snap,
    flatpak), and Windows' NTSTATUS codes, signed or not.
    """
    status = exit_code & 0xFFFFFFFF
    if status >= 0xC0000000 and (exit_code > 0 or exit_code < -255):
        return _WINDOWS_CRASHES.get(status, f"Windows status 0x{status:08X}")
    number = -exit_code if exit_code < 0 else exit_code - 128
    if exit_code >= 0 and number not in (4, 6, 7, 8, 9, 11, 15):
        return None
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
