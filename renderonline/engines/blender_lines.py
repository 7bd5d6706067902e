"""What a line of Blender's output says. Pure; the same for Blender 2.9 to 5.x and for bpy.

Owns the forms of the lines (Blender 5 puts a time and a category in front) and the table of
troubles: which line tells of which cause, and the sentence for the submitter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from renderonline.wire import Cause

_PREFIX = re.compile(r"\d\d:\d\d[.:]\d[\d.]*\s+[\w.]+\s*\|\s?")
_FRAME = re.compile(r"Fra:\s*(-?\d+)")
_SAVED = re.compile(r"Saved: ?(?:'(.+)'|\"(.+)\"|(.+?))(?:\s+Time: .*)?$")
_APPENDED = re.compile(r"(?:Video append|Append) frame (-?\d+)")
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
class Appended:
    """A frame went into the movie; its file is whole only when Blender has ended."""

    frame: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """A line that tells why frames are, or will be, missing or wrong.

    `is_fatal`: the result is not what was asked for even where Blender exits with 0 and has saved
    every frame. `rank`: of several troubles the lowest is the root of the others. `is_notice`: the
    submitter should see it although all may yet be well.
    """

    rank: int
    cause: Cause
    message: str
    is_fatal: bool = False
    is_notice: bool = False


Said = Step | Saved | Appended | Trouble


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
    appended = _APPENDED.match(line)
    if appended:
        return Appended(int(appended[1]))
    return _trouble(line)


def _fraction(line: str) -> float | None:
    for form in _STEPS:
        match = form.search(line)
        if match and int(match[2]) > 0:
            return min(1.0, int(match[1]) / int(match[2]))
    return None


# --------------------------------------------------------------------------- troubles


@dataclass(frozen=True, slots=True)
class _Sign:
    """A form of line and what it means; `{0}` in the message is the form's first group."""

    form: re.Pattern[str]
    cause: Cause
    message: str
    is_fatal: bool = False
    is_notice: bool = False


def _sign(
    form: str, cause: Cause, message: str, *, is_fatal: bool = False, is_notice: bool = False
) -> _Sign:
    return _Sign(re.compile(form, re.IGNORECASE), cause, message, is_fatal, is_notice)


_SIGNS = (
    # The machine first: whatever else goes wrong on a full disk follows from that.
    _sign(
        r".*(?:no space left on device|disk quota exceeded)",
        Cause.MACHINE,
        "The disk of the machine is full. Free some space there.",
    ),
    _sign(
        r".*(?:out of memory|out of gpu memory|[mc]alloc returns null|std::bad_alloc)",
        Cause.MACHINE,
        "The machine ran out of memory. Render it on one with more, or make the scene smaller.",
    ),
    # Then what the project lacks: a missing camera may be a missing library.
    _sign(
        r"Warning: Unable to open '(.+)': ",
        Cause.ASSET_MISSING,
        "The linked file {0} is missing. Submit it with the project, or make it local.",
        is_notice=True,
    ),
    _sign(
        r"(?:Info: )?Cannot find lib '(.+)'",
        Cause.ASSET_MISSING,
        "The linked file {0} is missing. Submit it with the project, or make it local.",
        is_notice=True,
    ),
    _sign(
        r"(?:Info: |Warning: )?LIB: (.+ missing from '.+?')",
        Cause.ASSET_MISSING,
        "The project lacks a part that it links to: {0}.",
        is_notice=True,
    ),
    _sign(
        r"Error: Cannot render, no camera|.*\bNo camera found in scene",
        Cause.SCENE,
        "The scene has no camera. Add one, or make one the active camera, and submit again.",
    ),
    _sign(
        r".*Failed to read blend file|.*Missing DNA block|.*File format is not supported in file"
        r"|.*not a blend file|.*created by a newer version of Blender",
        Cause.SCENE,
        "The project is not a .blend file that this Blender can read: it is cut off, damaged or "
        "made by a newer version. Save it again and submit it again.",
    ),
    _sign(
        r"Error: script failed|Error: Python: ",
        Cause.SCENE,
        "A Python script of the command line failed.",
        is_fatal=True,
    ),
    _sign(
        r"Error: engine not found '(.*)'",
        Cause.SCENE,
        "The render engine {0} is unknown to this Blender. Choose another engine, or install the "
        "add-on on the machines.",
    ),
    _sign(
        r"(?:Error: )?Can't find scene: '(.*?)'",
        Cause.SCENE,
        "The project has no scene named {0}, so Blender rendered another one.",
        is_fatal=True,
    ),
    _sign(
        r"Error: Format from '-F",
        Cause.MACHINE,
        "The Blender of this machine cannot write the output format that was asked for. Choose "
        "another format, or another version of Blender.",
        is_fatal=True,
    ),
    _sign(
        r"Error: not a number '(.*)'",
        Cause.SCENE,
        "Blender takes a number where the command line has {0}.",
        is_fatal=True,
    ),
    _sign(
        r".*(?:Render error \((.+)\) cannot save|Cannot open file for writing)",
        Cause.MACHINE,
        "Blender could not write its output. Check that the machine may write to the results "
        "folder and has space left.",
    ),
    _sign(
        r"Error: Cannot read file '(.+)': ",
        Cause.MACHINE,
        "This machine cannot read the project {0}. Check that it can see that folder.",
    ),
    _sign(
        r".*(?:build without OpenImageDenoise|no device available to denoise)",
        Cause.MACHINE,
        "The Blender of this machine cannot denoise. Turn denoising off in the scene, or install "
        "Blender from blender.org there.",
    ),
    _sign(
        r"Error: Could not initialize (?:streams|video|codec|ffmpeg)",
        Cause.SCENE,
        "Blender could not make the movie: its container and codec do not go together.",
    ),
    _sign(
        r".*(?:Unable to open a display|failed to create.*(?:OpenGL|GPU) context|no GPU backend)",
        Cause.MACHINE,
        "This machine cannot draw without a screen: it lacks the EGL libraries (libegl1 and "
        "libgl1-mesa-dri on Debian). Install them, or render with Cycles.",
    ),
    _sign(
        r".*(?:falling back to (?:the )?CPU|no compatible GPUs? found)",
        Cause.MACHINE,
        "Blender did not find the GPU that it was told to use and renders on the CPU.",
        is_notice=True,
    ),
)


def _trouble(line: str) -> Trouble | None:
    for rank, sign in enumerate(_SIGNS):
        match = sign.form.match(line)
        if match:
            message = sign.message.format(*(group or "" for group in match.groups()))
            return Trouble(rank, sign.cause, message, sign.is_fatal, sign.is_notice)
    return None
