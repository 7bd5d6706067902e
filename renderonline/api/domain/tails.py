"""The last frames: when other machines take some of what one still owes. Pure.

Whoever saves a frame first counts. A machine renders its frames in order, so a helper gets the
last of them that no other helper has, as many as let all of them finish together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from renderonline.api.domain.pace import Outlook, chunk_seconds_left, start_s
from renderonline.api.domain.workload import ActiveChunk, Record, Waiting
from renderonline.frames import FrameSet

LEAST_GAIN_S = 2.0
"""A copy has to save more than this; less is lost in the noise of two machines."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What is left of an active chunk, and nobody helps with."""

    task: Waiting
    chunk: ActiveChunk
    owed: FrameSet
    frame_s: float | None  # where it is rendered; None: nothing is known of the task's pace
    left_s: float | None  # until its last frame, as it looks

    @property
    def urgency(self) -> tuple[bool, float]:
        """Sorts those first that are expected to take longest, and unknown ones before them."""
        return (self.left_s is not None, -(len(self.owed) if self.left_s is None else self.left_s))


def tail_of(task: Waiting, chunk: ActiveChunk, known: Outlook, now: datetime) -> Tail | None:
    """What could be copied of the chunk; None: it is not worth a thought."""
    owed = chunk.frames - chunk.helped
    if chunk.is_copy or not owed.runs or not task.tells_frames:
        return None
    record = task.record(chunk.machine_id)
    frame_s = record.frame_s or known.frame_s
    if record.avoid or record.not_before is not None:
        return Tail(task, chunk, owed, frame_s, None)  # nobody knows what it will come to
    left_s = chunk_seconds_left(task, replace(chunk, frames=owed), known, now)
    if left_s is None:
        return Tail(task, chunk, owed, None, None) if len(owed) > 1 else None
    return Tail(task, chunk, owed, frame_s, left_s) if left_s > LEAST_GAIN_S else None


def copied_frames(tail: Tail, record: Record, known: Outlook, helpers: int = 1) -> FrameSet | None:
    """The last frames of the chunk, for a machine with this record; None: it would gain nothing.

    `helpers`: so many machines will likely help with it now, this one among them.
    """
    if tail.left_s is None or tail.frame_s is None:
        count = max(1, len(tail.owed) // (helpers + 1))
    else:
        count = _balanced(tail, tail.left_s, tail.frame_s, record, known, helpers)
    if not count:
        return None
    is_whole = tail.owed.runs[-1].step == 1 or tail.task.takes_step
    return tail.owed.take_last(count if is_whole else 1)


def _balanced(
    tail: Tail, left_s: float, frame_s: float, record: Record, known: Outlook, helpers: int
) -> int:
    """With how many frames to each helper all are done soonest; 0: where that is hardly sooner."""
    own_s = record.frame_s or known.frame_s or frame_s
    startup_s = start_s(record, known)
    frames = len(tail.owed)

    def over_s(count: int) -> float:
        helped = min(count * helpers, frames)
        first_s = left_s - helped * frame_s if helped < frames else 0.0
        return max(first_s, startup_s + count * own_s)

    even = int((left_s - startup_s) / (helpers * frame_s + own_s))
    count = min((max(1, min(n, frames)) for n in (even, even + 1)), key=over_s)
    return count if left_s - over_s(count) > LEAST_GAIN_S else 0
