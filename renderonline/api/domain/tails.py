"""The last frames: when a second machine takes some of what another one still owes. Pure.

Whoever saves a frame first counts. A machine renders its frames in order, so the copy gets the
last of them, as many as let both machines finish together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from renderonline.api.domain.pace import Outlook, chunk_seconds_left, start_s
from renderonline.api.domain.workload import ActiveChunk, Record, Waiting
from renderonline.frames import FrameSet

LEAST_GAIN_S = 2.0
"""A copy has to save more than this; less is lost in the noise of two machines."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What is left of an active chunk."""

    task: Waiting
    chunk: ActiveChunk
    frames: int
    frame_s: float | None  # where it is rendered; None: nothing is known of the task's pace
    left_s: float | None  # until its last frame, as it looks

    @property
    def urgency(self) -> tuple[bool, float]:
        """Sorts those first that are expected to take longest, and unknown ones before them."""
        return (self.left_s is not None, -(self.frames if self.left_s is None else self.left_s))


def tail_of(task: Waiting, chunk: ActiveChunk, known: Outlook, now: datetime) -> Tail | None:
    """What could be copied of the chunk; None: it is not worth a thought."""
    frames = len(chunk.frames)
    if chunk.is_copied or not frames or not task.tells_frames:
        return None
    record = task.record(chunk.machine_id)
    frame_s = record.frame_s or known.frame_s
    if record.avoid or record.not_before is not None:
        return Tail(task, chunk, frames, frame_s, None)  # nobody knows what it will come to
    left_s = chunk_seconds_left(task, chunk, known, now)
    if left_s is None:
        return Tail(task, chunk, frames, None, None) if frames > 1 else None
    return Tail(task, chunk, frames, frame_s, left_s) if left_s > LEAST_GAIN_S else None


def copied_frames(tail: Tail, record: Record, known: Outlook) -> FrameSet | None:
    """The last frames of the chunk, for a machine with this record; None: it would gain nothing."""
    if tail.left_s is None or tail.frame_s is None:
        count = max(1, tail.frames // 2)
    else:
        count = _balanced(tail, tail.left_s, tail.frame_s, record, known)
    if not count:
        return None
    run = tail.chunk.frames.runs[-1]
    is_whole = run.step == 1 or tail.task.takes_step
    return tail.chunk.frames.take_last(count if is_whole else 1)


def _balanced(tail: Tail, left_s: float, frame_s: float, record: Record, known: Outlook) -> int:
    """With how many frames both machines are done soonest; 0: where that is hardly sooner."""
    own_s = record.frame_s or known.frame_s or frame_s
    startup_s = start_s(record, known)

    def over_s(count: int) -> float:
        first_s = left_s - count * frame_s if count < tail.frames else 0.0
        return max(first_s, startup_s + count * own_s)

    even = int((left_s - startup_s) / (frame_s + own_s))
    count = min((max(1, min(n, tail.frames)) for n in (even, even + 1)), key=over_s)
    return count if left_s - over_s(count) > LEAST_GAIN_S else 0
