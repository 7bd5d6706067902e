"""Which line of Blender's output tells of which cause, and the sentence for the submitter. Pure.

The forms are those of Blender 2.9 to 5.x and of bpy; what any renderer may say of its machine is in
machine_signs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from renderonline.engines import machine_signs
from renderonline.wire import Cause, Reason


class Weight(Enum):
    """What a line is worth as an explanation; see `explain`."""

    CAUSE = auto()  # it says why
    CRASH = auto()  # Blender crashed: for what was said before, if anything was
    WRITING = auto()  # a file could not be written, not why: perhaps the disk is full
    OUTCOME = auto()  # nothing to render, perhaps for want of something that is missing
    SCRIPT = auto()  # a script failed, perhaps for what was said before; its last lines say more
    NOTICE = auto()  # the submitter should see it although all may yet be well


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a line tells of why frames are, or will be, missing or wrong.

    `is_fatal`: the result is not what was asked for even where Blender exits with 0 and has saved
    every frame.
    """

    cause: Cause
    message: str
    reason: Reason | None = None
    weight: Weight = Weight.CAUSE
    is_fatal: bool = False


@dataclass(frozen=True, slots=True)
class _Sign:
    """A form of line, from its beginning, and its trouble; in the message `{0}` is the first group."""

    form: re.Pattern[str]
    trouble: Trouble


def _missing(form: str, message: str) -> _Sign:
    """Something that the project links to. Blender renders on without it."""
    return _sign(form, Trouble(Cause.ASSET_MISSING, message, weight=Weight.NOTICE))


def _scene(
    form: str, message: str, weight: Weight = Weight.CAUSE, *, is_fatal: bool = False
) -> _Sign:
    return _sign(form, Trouble(Cause.SCENE, message, None, weight, is_fatal))


def _machine(
    form: str,
    message: str,
    reason: Reason | None = None,
    weight: Weight = Weight.CAUSE,
    *,
    is_fatal: bool = False,
) -> _Sign:
    return _sign(form, Trouble(Cause.MACHINE, message, reason, weight, is_fatal))


def _sign(form: str, trouble: Trouble) -> _Sign:
    return _Sign(re.compile(form, re.IGNORECASE), trouble)


_NO_FILE = "The linked file {0} is missing. Submit it with the project, or make it local."

_SIGNS = (
    _missing(r"Warning: Unable to open '(.+)': ", _NO_FILE),
    _missing(r"(?:Info: )?Cannot find lib '(.+)'", _NO_FILE),
    _missing(
        r"(?:Info: |Warning: )?LIB: (.+ missing from '.+?')",
        "The project lacks a part that it links to: {0}.",
    ),
    _missing(
        r".*Font file doesn't exist: (.+)",
        "The font {0} is missing, so its text is drawn in another one. Pack it into the project.",
    ),
    _missing(r".*anim file doesn't exist: (.+)", "The movie {0} that the project uses is missing."),
    _missing(
        r".*(?:Could not open Alembic archive for reading|unable to open stage to read) ?(.*)",
        "A cache (Alembic or USD) that the project uses is missing or cannot be read. {0}",
    ),
    _scene(
        r"Error in PyDriver: expression failed: (.+)",
        "The driver {0} of the project did not work, so what it drives is wrong. Drivers that need "
        "Python run only where scripts are allowed (-y).",
        Weight.NOTICE,
    ),
    _machine(
        r".*(?:Unable to open a display|failed to create.*(?:OpenGL|GPU) context|no GPU backend"
        r"|Couldn't find current GLX or EGL context)",
        "This machine cannot draw without a screen: it lacks the EGL libraries (libegl1 and "
        "libgl1-mesa-dri on Debian). Install them, or render with Cycles.",
        Reason.GPU,
    ),
    _scene(
        r"Error: Cannot render, no camera|.*\bNo camera found in scene",
        "The scene has no camera. Add one, or make one the active camera, and submit again.",
        Weight.OUTCOME,
    ),
    _scene(
        r"(?:Error: )?(?:No node tree in scene|No render output node in scene)",
        "The scene's compositor has no output. Add a Composite node, or switch the compositor off "
        "in the scene's post processing.",
        Weight.OUTCOME,
    ),
    _scene(
        r"(?:Error: )?All render layers are disabled",
        "All view layers of the scene are switched off for rendering, so nothing is rendered.",
    ),
    _scene(
        r"Error: (?:Image too small|No border area selected|"
        r"Border rendering is not supported by sequencer)",
        "The scene's render region or its resolution leaves nothing to render. Switch the render "
        "region off, or make it larger.",
    ),
    _scene(
        r".*saved by a newer version.*?Blender (?:\(?)([\d.]+)|"
        r".*(?:may be from|created by) a newer version of Blender",
        "The project was saved by a newer version of Blender than this machine has ({0}). Choose "
        "that version, or save the project for the older one.",
    ),
    _scene(
        r".*Failed to read blend file|.*Missing DNA block|.*File format is not supported in file"
        r"|.*not a blend file",
        "The project is not a .blend file that this Blender can read: it is cut off, damaged or "
        "made by a newer version. Save it again and submit it again.",
    ),
    _scene(
        r"Error: script failed|Error: Python: ",
        "A Python script of the command line failed.",
        Weight.SCRIPT,
        is_fatal=True,
    ),
    _scene(
        r"Error: engine not found '(.*)'",
        "The render engine {0} is unknown to this Blender. Choose another engine, or install the "
        "add-on on the machines.",
    ),
    _scene(
        r"(?:Error: )?Can't find scene: '(.*?)'",
        "The project has no scene named {0}, so Blender rendered another one.",
        is_fatal=True,
    ),
    _scene(
        r"Error: not a number '(.*)'",
        "Blender takes a number where the command line has {0}.",
        is_fatal=True,
    ),
    _scene(
        r"Error: (The option .+ is not known here|.+ needs a value after it|"
        r"Nothing would be rendered: .+|nothing was rendered, .+?)\.$",
        "Blender cannot carry out the command line: {0}.",
    ),
    _machine(
        r"Error: Format from '-F",
        "The Blender of this machine cannot write the output format that was asked for. Choose "
        "another format, or another version of Blender.",
        is_fatal=True,
    ),
    _machine(
        r"Error: this Python cannot import bpy: (.+)",
        "Blender's Python module does not work on this machine ({0}). Install bpy there again.",
    ),
    _machine(
        r"Error: Cannot read file '(.+)': ",
        "This machine cannot read the project {0}. Check that it can see that folder.",
    ),
    _machine(
        r".*(?:build without OpenImageDenoise|no device available to denoise)",
        "The Blender of this machine cannot denoise. Turn denoising off in the scene, or install "
        "Blender from blender.org there.",
    ),
    _machine(
        r".*(?:Render error \(.+\) cannot save|Cannot open file for writing)",
        "Blender could not write its output. Check that the machine may write to the results "
        "folder and has space left.",
        weight=Weight.WRITING,
    ),
    _machine(
        r"(?:Error: )?Error writing tile to file",
        "Blender could not write to its folder for temporary files. Check that it is there and has "
        "space left.",
        weight=Weight.WRITING,
    ),
    _scene(
        r"Error: Could not initialize (?:streams|video|codec|ffmpeg)",
        "Blender could not make the movie: its container and codec do not go together.",
        Weight.WRITING,
    ),
    _machine(
        r".*(?:falling back to (?:the )?CPU|no compatible GPUs? found)",
        "Blender did not find the GPU that it was told to use and renders on the CPU.",
        weight=Weight.NOTICE,
    ),
    # Of Blender's crash handler on Windows, where the exit code is 11 then (creator_signals.c).
    _machine(
        r"Error\s*: EXCEPTION_(\w+)",
        "Blender crashed ({0}). It is tried on another machine; if it crashes everywhere, try "
        "another version of it.",
        Reason.CRASH,
        Weight.CRASH,
    ),
    _scene(
        r"Traceback \(most recent call last\)",
        "A Python script in the project, or an add-on, failed.",
        Weight.SCRIPT,
    ),
)


def read(line: str) -> Trouble | None:
    """The trouble that a plain line tells of; None for most. The first sign in the table counts."""
    fault = machine_signs.read(line)
    if fault is not None:
        return Trouble(Cause.MACHINE, fault.message, fault.reason)
    for sign in _SIGNS:
        match = sign.form.match(line)
        if match:
            message = sign.trouble.message.format(*(group or "" for group in match.groups()))
            return replace(sign.trouble, message=message)
    return None


def explain(troubles: Sequence[Trouble], missing: Trouble | None = None) -> Trouble | None:
    """The trouble that explains an end best; None if there are only notices.

    `troubles`: oldest first; of what says why, the one nearest to the end counts. `missing`: what
    the project lacks, if Blender has noticed that: without it there is no camera, and scripts fail.
    """
    for weight in (Weight.CAUSE, Weight.CRASH, Weight.WRITING):
        told = [trouble for trouble in troubles if trouble.weight is weight]
        if told:
            return told[-1]
    last = next((t for t in reversed(troubles) if t.weight is not Weight.NOTICE), None)
    if last is None or missing is None:
        return last
    return replace(last, cause=missing.cause, message=f"{missing.message} {last.message}")
