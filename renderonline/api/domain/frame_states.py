"""Where each of some frames of a task is, and who had it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from renderonline.api.domain.model import Chunk, Task
from renderonline.api.domain.transitions import ACTIVE_CHUNK
from renderonline.frames import FrameSet
from renderonline.wire import Frame, FrameState, TaskState


def told(task: Task, chunks: Sequence[Chunk], page: FrameSet) -> list[Frame]:
    """The frames of `page`, in order. `chunks`: the task's, oldest first."""
    frames = {number: Frame(frame=number, state=_unrendered(task, number)) for number in page}
    for chunk in chunks:
        seconds = _seconds_per_frame(chunk)
        for number in chunk.frame_set & page:
            _told_by(chunk, frames[number], seconds)
    done = page if task.state is TaskState.SUCCEEDED else task.done & page
    for number in done:
        frames[number].state = FrameState.DONE
    for frame in frames.values():
        if frame.state is not FrameState.DONE:
            frame.seconds = None
    return list(frames.values())


def _told_by(chunk: Chunk, frame: Frame, seconds: float | None) -> None:
    """What an attempt, later than those before, says of a frame that it was to render."""
    frame.attempts += 1
    is_saved, is_active = frame.frame in chunk.done, chunk.state in ACTIVE_CHUNK
    if is_active:
        frame.state = FrameState.DONE if is_saved else FrameState.RUNNING
    if is_saved or is_active or frame.seconds is None:
        frame.machine_id, frame.seconds = chunk.machine_id, seconds if is_saved else None


def _unrendered(task: Task, number: int) -> FrameState:
    """What a frame is that is not done, and that nobody has."""
    if task.state is TaskState.CANCELLED:
        return FrameState.CANCELLED
    is_failed = task.state is TaskState.FAILED or number in task.failed
    return FrameState.FAILED if is_failed else FrameState.QUEUED


def _seconds_per_frame(chunk: Chunk) -> float | None:
    """The mean of an attempt that is over, its start-up included."""
    if chunk.started_at is None or chunk.ended_at is None or not chunk.done.runs:
        return None
    return (chunk.ended_at - chunk.started_at).total_seconds() / len(chunk.done)
