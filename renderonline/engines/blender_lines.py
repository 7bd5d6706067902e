"""What a line of Blender's output says. Pure; the same for Blender 2.9 to 5.x and for bpy.

Owns the forms of the lines (Blender 5 puts a time and a category in front). Those that tell of
something wrong are in blender_troubles.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from renderonline.engines import blender_troubles
from renderonline.engines.blender_troubles import Trouble

_PREFIX = re.compile(r"\d\d:\d\d[.:]\d[\d.]*\s+[\w.]+\s*\|\s?")
_FRAME = re.compile(r"Fra:\s*(-?\d+)")
_SAVED = re.compile(r"Saved: ?(?:'(.+)'|\"(.+)\"|(.+?))(?:\s+Time: .*)?$")
_SKIPPED = re.compile(r"Skipping existing frame \"(.+?)\"", re.IGNORECASE)
_APPENDED = re.compile(r"(?:Video append|Append) frame (-?\d+)")
_WRITTEN = re.compile(r"\s*Time: [\d:.]+ \(Saving: ")
_STEPS = (
    re.compile(r"\bSample (\d+)/(\d+)"),  # Cycles from 3.0, and 2.9 with a GPU
    re.compile(r"\bRendered (\d+)/(\d+) Tiles"),  # Cycles to 2.93
    re.compile(r"\bRendering\s+(\d+) / (\d+) samples"),  # EEVEE, Workbench
)
_CHATTER = re.compile(r"Fra:|\s*Time: |Blender quit|Read blend: |Blender \d|EGL Error|Managed to")


@dataclass(frozen=True, slots=True)
class Step:
    """A status line: the frame that is rendered and how much of it is done, if the line says so."""

    frame: int
    fraction: float | None


@dataclass(frozen=True, slots=True)
class Saved:
    """An image was written."""

    path: Path


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image is there already, and the scene says not to overwrite it."""

    path: Path


@dataclass(frozen=True, slots=True)
class Written:
    """All files of the frame are written. Blender 2.8 to 4.5 say so, 5 does not."""


@dataclass(frozen=True, slots=True)
class Appended:
    """A frame went into the movie; its file is whole only when Blender has ended."""

    frame: int


Said = Step | Saved | Written | Skipped | Appended | Trouble


def plain(line: str) -> str:
    """The line without what Blender 5 puts in front of it."""
    return _PREFIX.sub("", line, count=1) if _PREFIX.match(line) else line


def is_chatter(line: str) -> bool:
    """Whether a plain line says nothing to someone who asks why a render failed."""
    return _CHATTER.match(line) is not None


def read(line: str) -> Said | None:
    """What a plain line says; None for most."""
    frame = _FRAME.match(line)
    if frame:
        return Step(int(frame[1]), _fraction(line))
    saved = _SAVED.match(line)
    if saved:
        return Saved(Path(saved[1] or saved[2] or saved[3]))
    if _WRITTEN.match(line):
        return Written()
    skipped = _SKIPPED.match(line)
    if skipped:
        return Skipped(Path(skipped[1]))
    appended = _APPENDED.match(line)
    if appended:
        return Appended(int(appended[1]))
    return None if is_chatter(line) else blender_troubles.read(line)


def _fraction(line: str) -> float | None:
    for form in _STEPS:
        match = form.search(line)
        if match and int(match[2]) > 0:
            return min(1.0, int(match[1]) / int(match[2]))
    return None
