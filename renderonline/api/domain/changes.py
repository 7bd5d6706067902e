"""What a user's wish means for the frames of a split task: requeued, more, fewer. Pure.

See `ledger` for where a frame can be. Frames that an active chunk holds stay with it, unless they
are not wanted any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from renderonline.api.domain import ledger
from renderonline.api.domain.ledger import Settlement
from renderonline.api.domain.model import Chunk, Task
from renderonline.api.domain.transitions import TaskEvent
from renderonline.frames import FrameSet
from renderonline.wire import TaskState


class Again(StrEnum):
    """Which frames are to be rendered again; else a set of them."""

    ALL = "all"
    FAILED = "failed"  # and whatever is missing


@dataclass(frozen=True, slots=True)
class Cut:
    """A task whose frames are others now, and the active chunks that this concerns."""

    task: Task
    dropped: tuple[Chunk, ...]  # nothing that they still owe is wanted
    trimmed: tuple[Chunk, ...]  # a part is; as they are with only that


def requeued(task: Task, active: Sequence[Chunk], wanted: Again | FrameSet) -> Task:
    """The task with these frames owed again. A set holds none that the task has not."""
    assert task.todo is not None
    held = _held(active)
    if wanted is Again.ALL:
        return replace(task, todo=all_frames(task) - held, done=FrameSet(), failed=FrameSet())
    if isinstance(wanted, FrameSet):
        again = wanted - held
        return replace(
            task, todo=task.todo | again, done=task.done - again, failed=task.failed - again
        )
    return replace(task, todo=all_frames(task) - task.done - held, failed=FrameSet())


def returned(task: Task, given_back: Sequence[Chunk], staying: Sequence[Chunk]) -> Task:
    """The task after some of its chunks were taken back: what they lack, and nobody else has, is
    owed again."""
    if task.todo is None:
        return task
    done = task.done | _union(chunk.done for chunk in given_back)
    todo = task.todo | (_held(given_back) - done - task.failed - _held(staying))
    return replace(task, todo=todo, done=done)


def cut(task: Task, active: Sequence[Chunk], wanted: FrameSet) -> Cut:
    """The task with exactly the `wanted` frames: new ones are owed, others are not any more."""
    assert task.todo is not None
    dropped, trimmed = [], []
    for chunk in active:
        kept = chunk.frame_set & wanted
        was_owed, is_owed = chunk.frame_set - chunk.done, kept - chunk.done
        if not kept.runs or (was_owed.runs and not is_owed.runs):
            dropped.append(chunk)
        elif kept != chunk.frame_set:
            trimmed.append(replace(chunk, frames=str(kept), done=chunk.done & kept))
    staying = [chunk for chunk in active if chunk not in dropped]
    done = (task.done | _union(chunk.done for chunk in dropped)) & wanted
    failed = task.failed & wanted
    todo = wanted - done - failed - _held(staying)
    moved = replace(task, frames=str(wanted), todo=todo, done=done, failed=failed)
    return Cut(moved, tuple(dropped), tuple(trimmed))


def comes_back(before: Task, after: Task) -> bool:
    """Whether an ended task whose frames were cut is more than it was: it has new ones to render,
    or all that is left of one that failed or was cancelled is done."""
    if (all_frames(after) - all_frames(before)).runs:
        return True
    owed = (after.todo or FrameSet()) | after.failed
    return before.state is not TaskState.SUCCEEDED and not owed.runs


def conclude(task: Task, active: Sequence[Chunk]) -> Settlement:
    """What follows for a task in the queue from where its frames are now."""
    settled = ledger.conclude(task, bool(active))
    if settled.event is TaskEvent.RELEASE and task.state is TaskState.QUEUED:
        return replace(settled, event=TaskEvent.CHANGE)  # nobody was at work on it
    return settled


def all_frames(task: Task) -> FrameSet:
    """All that the task is made of; empty where they are not known."""
    return FrameSet.parse(task.frames) if task.frames else FrameSet()


def _held(active: Iterable[Chunk]) -> FrameSet:
    return _union(chunk.frame_set for chunk in active)


def _union(sets: Iterable[FrameSet]) -> FrameSet:
    whole = FrameSet()
    for frames in sets:
        whole |= frames
    return whole
