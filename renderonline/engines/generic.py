"""Any renderer with a command line: exit code 0 and the files it was to write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from renderonline.engines import machine_signs
from renderonline.engines.base import Ending, EngineEvent, Progress, Reading, Verdict
from renderonline.engines.commandline import without_name
from renderonline.engines.endings import Tail, crash, is_disk_full, sentences, unmatched
from renderonline.engines.machine_signs import MachineFault
from renderonline.wire import Cause, Owes, Reason

_PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?) ?%")
_COUNTED = r"s?\b\D{0,3}(\d+)\s*(?:/|of)\s*(\d+)"
_FRAME_OF = re.compile(r"\bframe" + _COUNTED, re.IGNORECASE)
_PART_OF = re.compile(
    r"\b(?:tile|sample|pass|line|bucket|row|block|step)" + _COUNTED, re.IGNORECASE
)
_COMPLAINT = re.compile(r"error|fail|warn|cannot|unable", re.IGNORECASE)


class GenericReader:
    """Reads and judges one attempt of a renderer that nothing else is known of."""

    def __init__(self, owes: Owes) -> None:
        self.reading = Reading()
        self._owes = owes
        self._frames = (0, 1)  # frames done, and of how many
        self._fault: MachineFault | None = None  # the latest: the nearest to the end
        self._tail = Tail()

    def feed(self, line: str) -> list[EngineEvent]:
        """See base.Reader. Progress never goes back: a second pass starts where the first ended."""
        self._frames = frames_before(line) or self._frames
        of_frame = fraction_of(line)
        if of_frame is None or _COMPLAINT.search(line):
            self._tail.add(line)
        self._fault = machine_signs.read(line) or self._fault
        done, count = self._frames
        fraction = (done + (of_frame or 0.0)) / count
        if fraction <= self.reading.fraction:
            return []
        self.reading.fraction = fraction
        return [Progress(fraction)]

    def rest(self) -> list[EngineEvent]:
        """See base.Reader."""
        return []

    def judge(self, ending: Ending) -> Verdict:
        """See base.Reader. What goes wrong is the machine's fault: another one may succeed."""
        failure = _stopped(ending.exit_code, self._fault) or self._failure(ending)
        if failure is None:
            return Verdict(True)
        message = sentences([failure.message, self._tail.quoted()])
        return Verdict(False, Cause.MACHINE, message, failure.reason)

    def _failure(self, ending: Ending) -> MachineFault | None:
        """Of a renderer that ended by itself: what it said, what the disk says, what is missing."""
        symptom = _bad_exit(ending.exit_code) or self._missing(ending.files)
        if symptom is None:
            return None
        if self._fault is not None:
            return self._fault
        if is_disk_full(ending.output_dir):
            return MachineFault(Reason.DISK_FULL, f"{symptom} The disk of the machine is full.")
        return MachineFault(None, symptom)

    def _missing(self, files: Sequence[Path]) -> str | None:
        pattern = unmatched(self._owes.pattern, files)
        if pattern:
            return f"The renderer ended without an error, but wrote no file like {pattern}."
        if not self._owes.pattern and len(files) < self._owes.files:
            return (
                "The renderer ended without an error, but wrote nothing into its output folder. "
                "The engine's command line has to name $RENDERONLINE:@output_dir."
            )
        return None


class GenericAdapter:
    """Takes a command line as it is."""

    name = "generic"
    tells_frames = False
    takes_step = False  # but its template may have a place for one

    def complete(self, argv: Sequence[str], output_dir: str, step: int | None = None) -> list[str]:
        """See base.Adapter. Nothing is known that could be added."""
        return list(argv)

    def owes(self, argv: Sequence[str], file_pattern: str | None) -> Owes:
        """See base.Adapter."""
        return Owes(pattern=file_pattern or None)

    def command(self, executable: str, argv: Sequence[str]) -> list[str]:
        """See base.Adapter."""
        return [executable, *without_name(argv, executable)]

    def session(self, command: Sequence[str]) -> None:
        """See base.Adapter. How to keep a renderer open is not known."""

    def reader(self, owes: Owes, command: Sequence[str] = ()) -> GenericReader:
        """See base.Adapter."""
        return GenericReader(owes)

    def find(self) -> list[Path]:
        """See base.Adapter. Any program may be one, so none is looked for."""
        return []

    def version(self, executable: str) -> str | None:
        """See base.Adapter. How to ask is not known."""
        return None


def fraction_of(line: str) -> float | None:
    """The progress in a line, 0-1: its last percentage, or "tile 3 of 10" and its like."""
    percentages = [float(text) for text in _PERCENT.findall(line)]
    if percentages and percentages[-1] <= 100:
        return percentages[-1] / 100
    part = _PART_OF.search(line)
    if part and 0 < int(part[2]) >= int(part[1]):
        return int(part[1]) / int(part[2])
    return None


def frames_before(line: str) -> tuple[int, int] | None:
    """From "Rendering frame 3 of 10", where it begins: (2, 10)."""
    frame = _FRAME_OF.search(line)
    if frame and 0 < int(frame[1]) <= int(frame[2]):
        return int(frame[1]) - 1, int(frame[2])
    return None


def _stopped(exit_code: int, fault: MachineFault | None) -> MachineFault | None:
    """Of a renderer that did not end by itself. A crash has the cause that it told of before."""
    stopped_by = crash(exit_code)
    if stopped_by is None:
        return None
    if fault is not None and stopped_by.reason is Reason.CRASH:
        return fault
    return MachineFault(stopped_by.reason, stopped_by.message("The renderer"))


def _bad_exit(exit_code: int) -> str | None:
    return f"The renderer ended with exit code {exit_code}." if exit_code else None
