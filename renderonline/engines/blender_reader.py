"""Follows the output of one Blender (or bpy) and judges its end.

An exit code of 0 is not a rendered frame: Blender exits with 0 after an unknown scene or format, a
frame list it cannot read, or a range that is upside down. So a frame counts once it was announced
as saved and its files have been opened, and the attempt once every frame owed has. A frame may
have several files (a compositor's passes, the eyes of a stereo pair); it is whole with the last of
them, and none is told of before: what is announced first says nothing of those still being written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from renderonline.engines import blender_lines, blender_troubles, images
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
from renderonline.engines.blender_lines import Appended, Saved, Skipped, Step, Written
from renderonline.engines.blender_output import ANY, FrameImages
from renderonline.engines.blender_troubles import Trouble, Weight
from renderonline.engines.endings import Crash, Tail, crash, is_disk_full, sentences, unmatched
from renderonline.frames import FrameSet, frame_of
from renderonline.wire import Cause, Owes, Reason

MAX_NOTICES = 20
"""Notices passed on per attempt; a broken project can miss thousands of files."""

MAX_TROUBLES = 50
"""Troubles remembered per attempt besides; the oldest go first."""

_NOTHING_TO_RENDER = (
    "Blender found nothing to render: look at the frame range, and at what the scene and its "
    "compositor put out."
)
_NOT_OVERWRITTEN = (
    "The scene says not to overwrite files, and {fault} Switch Overwrite on in its output "
    "properties, or delete that file."
)
_DISK_FULL = "The disk of the machine is full. Free some space there."


class BlenderReader:
    """Reads and judges one attempt. Opens each image as it is announced, on the feeding thread."""

    def __init__(self, owes: Owes, images_of_frames: FrameImages = ANY) -> None:
        self.reading = Reading()
        self._images_of_frames = images_of_frames
        self._open: list[Path] = []  # files of a frame that may have more of them
        self._open_frame: int | None = None
        self._owes = owes
        self._owed = FrameSet.parse(owes.frames) if owes.frames else FrameSet()
        self._frame: int | None = None
        self._has_appended = False
        self._faults: dict[Path, str] = {}
        self._survived: dict[str, Trouble] = {}  # by message: before the last whole frame
        self._troubles: dict[str, Trouble] = {}  # since then, the nearest to the end last
        self._noticed: dict[str, Trouble] = {}
        self._has_begun = False
        self._has_quit = False
        self._was_disk_full = False
        self._has_told_size = False
        self._tail = Tail()

    def feed(self, line: str) -> list[EngineEvent]:
        """See base.Reader."""
        text = blender_lines.plain(line)
        if not blender_lines.is_chatter(text):
            self._tail.add(text)
        self._has_quit = self._has_quit or text == "Blender quit"
        said = blender_lines.read(text)
        if isinstance(said, Step):
            return [*self._begins(said.frame), *self._step(said)]
        if isinstance(said, Saved):
            return self._saved(said.path)
        if isinstance(said, Written):
            return self._whole()
        if isinstance(said, Skipped):
            return self._skipped(said.path)
        if isinstance(said, Appended):
            self._has_appended = True
            return self._done(said.frame)
        if isinstance(said, Trouble):
            return self._trouble(said)
        return []

    def rest(self) -> list[EngineEvent]:
        """See base.Reader."""
        return self._whole()

    def judge(self, ending: Ending) -> Verdict:
        """See base.Reader."""
        return next(self._failures(ending), Verdict(True))

    # ---------------------------------------------------------------- while it runs

    def _step(self, step: Step) -> list[EngineEvent]:
        self._has_begun = True
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
        self._has_begun = True
        frame = frame_of(path.name, self._owed, self._frame)
        before = self._begins(frame)
        if frame is None:
            told = [*before, *self._look(path)]
            return told if path in self._faults else [*told, FrameSaved(path)]
        self._open_frame = frame
        self._open = [*(file for file in self._open if file != path), path]
        told = [*before, *self._look(path)]
        return [*told, *self._whole()] if self._images_of_frames.has(path) else told

    def _look(self, path: Path) -> list[EngineEvent]:
        """Open a file that is said to be written."""
        seen = images.look(path) if path.is_absolute() else images.Look(None)
        if seen.fault:
            self._was_disk_full = self._was_disk_full or is_disk_full(path.parent)
            self._faults[path] = f"{path.name} {seen.fault}."
            return [Notice(self._faults[path])]
        self._faults.pop(path, None)
        self.reading.files_saved += 1
        self._survived |= self._troubles
        self._troubles.clear()
        return self._odd_size(path, seen.size_px)

    def _begins(self, frame: int | None) -> list[EngineEvent]:
        """Another frame than the open one is at work: nothing more of that will be written."""
        return [] if frame == self._open_frame else self._whole()

    def _whole(self) -> list[EngineEvent]:
        """The open frame has all its files."""
        files, frame = self._open, self._open_frame
        self._open, self._open_frame = [], None
        if frame is None or any(file in self._faults for file in files):
            return []
        *others, last = files
        return [*map(FrameSaved, others), FrameSaved(last, frame), *self._done(frame)]

    def _odd_size(self, path: Path, size: tuple[int, int] | None) -> list[EngineEvent]:
        """A word to the owner, once: the frame counts, since a driver or an add-on may want it so."""
        expected = (self._owes.width_px, self._owes.height_px)
        if None in expected or self._has_told_size or size is None or size == expected:
            return []
        self._has_told_size = True
        was, wanted = (f"{width} × {height}" for width, height in (size, expected))
        return [Notice(f"{path.name} has {was} pixels; the scene says {wanted}.")]

    def _skipped(self, path: Path) -> list[EngineEvent]:
        """A whole image that is there already is as good as one saved now: of an earlier attempt."""
        events = [*self._saved(path), *self._whole()]
        if path in self._faults:
            message = _NOT_OVERWRITTEN.format(fault=self._faults[path])
            self._troubles[message] = Trouble(Cause.SCENE, message)
        return events

    def _done(self, frame: int) -> list[EngineEvent]:
        self._has_begun = True
        self.reading.frames_done.add(frame)
        return self._progress(0.0, frame)

    def _trouble(self, trouble: Trouble) -> list[EngineEvent]:
        if trouble.weight is Weight.NOTICE:
            return self._notice(trouble)
        for known in (self._survived, self._troubles):
            known.pop(trouble.message, None)
            if len(known) >= MAX_TROUBLES:
                known.pop(next(iter(known)))
        self._troubles[trouble.message] = trouble
        return []

    def _notice(self, trouble: Trouble) -> list[EngineEvent]:
        if trouble.message in self._noticed or len(self._noticed) >= MAX_NOTICES:
            return []
        self._noticed[trouble.message] = trouble
        return [Notice(trouble.message)]

    # ---------------------------------------------------------------- at the end

    def _failures(self, ending: Ending) -> Iterator[Verdict]:
        """What speaks against a success, the most telling first."""
        yield from self._bad_exit(ending)
        every = (*self._survived.values(), *self._troubles.values())
        yield from (self._blame(trouble) for trouble in every if trouble.is_fatal)
        missing = self._owed - FrameSet.of(self.reading.frames_done)
        if missing or self._faults or not self.reading.files_saved + self._has_appended:
            yield from self._explained(ending)
            yield from self._incomplete(missing)
        if (self._has_appended or self._owes.movie) and not _has_content(ending):
            yield from self._explained(ending)
            yield _machine("Blender rendered the frames but left no movie file, or an empty one.")
        pattern = unmatched(self._owes.pattern, ending.files)
        if pattern:
            yield _machine(f"No file like {pattern} was among the results.")

    def _bad_exit(self, ending: Ending) -> Iterator[Verdict]:
        if ending.exit_code == 0:
            return
        stopped_by = crash(ending.exit_code)
        if stopped_by:
            yield self._crashed(stopped_by)
        yield from self._explained(ending)
        if ending.exit_code == SCRIPT_FAILED:
            yield self._blame(Trouble(Cause.SCENE, "A Python script failed.", None, Weight.SCRIPT))
        symptom = f"Blender ended with exit code {ending.exit_code}."
        yield from self._for_want_of_an_asset(symptom)
        yield _machine(sentences([symptom, self._tail.quoted()]))

    def _crashed(self, stopped_by: Crash) -> Verdict:
        """A crash has the cause that Blender told of since the last whole frame, if it did."""
        told = [t for t in self._troubles.values() if t.cause is Cause.MACHINE]
        cause = blender_troubles.explain([t for t in told if t.weight is Weight.CAUSE])
        if cause and (stopped_by.reason is Reason.CRASH or stopped_by.reason is cause.reason):
            return self._blame(cause)
        missing = self._missing_asset() if stopped_by.reason is Reason.CRASH else None
        before = f"Before that: {missing.message}" if missing else ""
        message = sentences([stopped_by.message("Blender"), before, self._tail.quoted()])
        return _machine(message, stopped_by.reason)

    def _explained(self, ending: Ending) -> Iterator[Verdict]:
        """What Blender said of why, and the disk: a write that failed may tell nothing of it."""
        trouble = blender_troubles.explain(tuple(self._troubles.values()), self._missing_asset())
        trouble = trouble or blender_troubles.explain(tuple(self._survived.values()))
        weight = trouble.weight if trouble else None
        is_of_writing = weight is Weight.WRITING or (self._faults and weight is not Weight.CAUSE)
        if is_of_writing and (self._was_disk_full or is_disk_full(ending.output_dir)):
            yield _machine(sentences([_DISK_FULL, *self._faults.values()]), Reason.DISK_FULL)
        if trouble:
            yield self._blame(trouble)

    def _blame(self, trouble: Trouble) -> Verdict:
        details = self._tail.quoted() if trouble.weight is Weight.SCRIPT else ""
        message = sentences([trouble.message, details])
        return Verdict(False, trouble.cause, message, trouble.reason)

    def _missing_asset(self) -> Trouble | None:
        """The first that was noticed: others are missing because it is."""
        noticed = self._noticed.values()
        return next((t for t in noticed if t.cause is Cause.ASSET_MISSING), None)

    def _for_want_of_an_asset(self, symptom: str) -> Iterator[Verdict]:
        """Frames come out without it, mostly; where nothing else is known, it is the likely cause."""
        missing = self._missing_asset()
        if missing:
            yield Verdict(False, missing.cause, f"{missing.message} {symptom}")

    def _incomplete(self, missing: FrameSet) -> Iterator[Verdict]:
        if self._faults:
            yield _machine(sentences(["A frame was not written whole:", *self._faults.values()]))
        what = f"frames {_short(str(missing))}" if missing else "a single frame"
        symptom = f"Blender ended without an error, but did not save {what}."
        yield from self._for_want_of_an_asset(symptom)
        if self._has_quit and not self._has_begun:
            yield Verdict(False, Cause.SCENE, f"{symptom} {_NOTHING_TO_RENDER}")
        yield _machine(symptom)


def _machine(message: str, reason: Reason | None = None) -> Verdict:
    """The verdict where it was the machine, or nothing tells whose fault: another may succeed."""
    return Verdict(False, Cause.MACHINE, message, reason)


def _has_content(ending: Ending) -> bool:
    """Whether some file of the attempt is not empty; True where the folder is not known."""
    folder = ending.output_dir
    return folder is None or any(images.fault(folder / file) is None for file in ending.files)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"
