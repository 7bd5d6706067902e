"""Follows the output of one Blender (or bpy) and judges its end.

An exit code of 0 is not a rendered frame: Blender exits with 0 after an unknown scene or format, a
frame list it cannot read, or a range that is upside down. So a frame counts once it was announced
as saved and its file has been opened, and the attempt once every frame owed has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from renderonline.engines import blender_lines, images
from renderonline.engines.base import (
    Ending,
    EngineEvent,
    FrameSaved,
    Notice,
    Progress,
    Reading,
    Verdict,
)
from renderonline.engines.blender_command import SCRIPT_FAILED
from renderonline.engines.blender_lines import Appended, Saved, Step, Trouble
from renderonline.engines.endings import Tail, crash, sentences, unmatched
from renderonline.frames import FrameSet
from renderonline.wire import Cause, Owes

MAX_NOTICES = 20
"""Notices passed on per attempt; a broken project can miss thousands of files."""

_NUMBERS = re.compile(r"-?\d+")
_EXTENSION = re.compile(r"\.[A-Za-z]\w*$")  # begins with a letter: in `shot.0007` a frame follows


class BlenderReader:
    """Reads and judges one attempt. Opens each image as it is announced, on the feeding thread."""

    def __init__(self, owes: Owes) -> None:
        self.reading = Reading()
        self._owes = owes
        self._owed = FrameSet.parse(owes.frames) if owes.frames else FrameSet()
        self._frame: int | None = None
        self._has_appended = False
        self._faults: dict[int | None, str] = {}
        self._troubles: list[Trouble] = []
        self._noticed: set[str] = set()
        self._tail = Tail()

    def feed(self, line: str) -> list[EngineEvent]:
        """See base.Reader."""
        text = blender_lines.plain(line)
        if not blender_lines.is_chatter(text):
            self._tail.add(text)
        said = blender_lines.read(text)
        if isinstance(said, Step):
            return self._step(said)
        if isinstance(said, Saved):
            return self._saved(said.path)
        if isinstance(said, Appended):
            self._has_appended = True
            return self._done(said.frame)
        if isinstance(said, Trouble):
            return self._trouble(said)
        return []

    def judge(self, ending: Ending) -> Verdict:
        """See base.Reader."""
        return next(self._failures(ending), Verdict(True))

    # ---------------------------------------------------------------- while it runs

    def _step(self, step: Step) -> list[EngineEvent]:
        self._frame = step.frame
        return self._progress(step.fraction or 0.0, step.frame)

    def _progress(self, of_frame: float, frame: int | None) -> list[EngineEvent]:
        """The event, if there is progress. Without a known range, frames are counted but no share."""
        if not self._owed:
            return []
        done = len(self.reading.frames_done) + (
            0.0 if frame in self.reading.frames_done else of_frame
        )
        fraction = min(1.0, done / len(self._owed))
        if fraction <= self.reading.fraction:
            return []
        self.reading.fraction = fraction
        return [Progress(fraction, frame)]

    def _saved(self, path: Path) -> list[EngineEvent]:
        frame = frame_of(path.name, self._owed, self._frame)
        fault = images.fault(path) if path.is_absolute() else None
        if fault:
            self._faults[frame] = f"{path.name} {fault}."
            return [Notice(self._faults[frame])]
        self._faults.pop(frame, None)
        self.reading.files_saved += 1
        done = [] if frame is None else self._done(frame)
        return [FrameSaved(path, frame), *done]

    def _done(self, frame: int) -> list[EngineEvent]:
        self.reading.frames_done.add(frame)
        return self._progress(0.0, frame)

    def _trouble(self, trouble: Trouble) -> list[EngineEvent]:
        if trouble.message in self._noticed or len(self._noticed) >= MAX_NOTICES:
            return []
        self._noticed.add(trouble.message)
        self._troubles.append(trouble)
        return [Notice(trouble.message)] if trouble.is_notice else []

    # ---------------------------------------------------------------- at the end

    def _failures(self, ending: Ending) -> Iterator[Verdict]:
        """What speaks against a success, the most telling first."""
        yield from self._bad_exit(ending.exit_code)
        yield from self._blame(trouble for trouble in self._troubles if trouble.is_fatal)
        missing = self._owed - FrameSet.of(self.reading.frames_done)
        if missing or self._faults or not self.reading.files_saved + self._has_appended:
            yield from self._blame(self._troubles)
            yield self._incomplete(missing)
        if (self._has_appended or self._owes.movie) and not _has_content(ending):
            yield from self._blame(self._troubles)
            yield _machine("Blender rendered the frames but left no movie file, or an empty one.")
        pattern = unmatched(self._owes.pattern, ending.files)
        if pattern:
            yield _machine(f"No file like {pattern} was among the results.")

    def _bad_exit(self, exit_code: int) -> Iterator[Verdict]:
        if exit_code == 0:
            return
        stopped_by = crash(exit_code)
        if stopped_by:
            of_machine = (t for t in self._troubles if t.cause is Cause.MACHINE)
            yield from self._blame(of_machine)
            yield _machine(_crash_message(stopped_by))
        yield from self._blame(self._troubles)
        if exit_code == SCRIPT_FAILED:
            message = sentences(
                ["A Python script of the command line failed.", self._tail.quoted()]
            )
            yield Verdict(False, Cause.SCENE, message)
        reason = f"Blender ended with exit code {exit_code}."
        yield _machine(sentences([reason, self._tail.quoted()]))

    def _blame(self, troubles: Iterable[Trouble]) -> Iterator[Verdict]:
        worst = min(troubles, key=lambda trouble: trouble.rank, default=None)
        if worst is not None:
            details = self._tail.quoted() if "script" in worst.message else ""
            yield Verdict(False, worst.cause, sentences([worst.message, details]))

    def _incomplete(self, missing: FrameSet) -> Verdict:
        if self._faults:
            return _machine(sentences(["A frame was not written whole:", *self._faults.values()]))
        what = f"frames {_short(str(missing))}" if missing else "a single frame"
        return _machine(f"Blender ended without an error, but did not save {what}.")


def frame_of(name: str, owed: FrameSet, current: int | None) -> int | None:
    """The frame a file belongs to: by its name if that holds an owed number, else the current one.

    The last number before the extension (`.jp2` is no frame 2) counts, with and without a hyphen
    before it (`shot-0005.png` is frame 5, `shot_-0005.png` may be frame -5). None where nothing
    tells.
    """
    stem = _EXTENSION.sub("", name)
    numbers = [int(text) for text in reversed(_NUMBERS.findall(stem))]
    candidates = [number for text in numbers for number in dict.fromkeys((text, abs(text)))]
    named = next((number for number in candidates if number in owed), None)
    if named is not None:
        return named
    return current if current is not None else next(iter(candidates), None)


def _machine(message: str) -> Verdict:
    """The verdict where nothing tells whose fault it was: another machine may succeed."""
    return Verdict(False, Cause.MACHINE, message)


def _crash_message(stopped_by: str) -> str:
    if stopped_by == "SIGKILL":
        return (
            "Blender was killed by the system (SIGKILL), which mostly means that the machine ran "
            "out of memory. Render it on a machine with more."
        )
    return (
        f"Blender crashed ({stopped_by}). It is tried on another machine; if it crashes "
        "everywhere, try another version of Blender."
    )


def _has_content(ending: Ending) -> bool:
    """Whether some file of the attempt is not empty; True where the folder is not known."""
    folder = ending.output_dir
    return folder is None or any(images.fault(folder / file) is None for file in ending.files)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"
