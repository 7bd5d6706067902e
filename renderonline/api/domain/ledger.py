"""Where each frame of a task is, and what the end of a chunk means for it. Pure.

Of a split task every frame is in exactly one of four places: `todo` (nobody works on it), an active
chunk, `done`, or `failed` (given up). A task in one piece has no `todo` at all; it is done when its
chunk is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from renderonline.api.domain.failures import Judgement
from renderonline.api.domain.model import Chunk, Outcome, Task
from renderonline.api.domain.transitions import TaskEvent
from renderonline.frames import FrameSet
from renderonline.wire import Cause


@dataclass(frozen=True, slots=True)
class Settlement:
    """What happens to a task: its next state, its frames, and the chunks that nobody needs any more."""

    event: TaskEvent
    todo: FrameSet | None
    done: FrameSet
    failed: FrameSet
    superfluous: tuple[Chunk, ...] = ()
    cause: Cause | None = None
    message: str | None = None


def saved(chunk: Chunk, outcome: Outcome) -> FrameSet:
    """The frames of the chunk that are there, after an end like this."""
    if outcome.is_success:
        return chunk.frame_set
    return (chunk.done | (outcome.frames or FrameSet())) & chunk.frame_set


def culprit(task: Task, chunk: Chunk, done: FrameSet) -> int | None:
    """The frame that a failed chunk stumbled over: the first that it still owed."""
    if not task.is_split:
        return None
    owed = chunk.frame_set - done - task.done
    return owed.first if owed.runs else None


def settle(
    task: Task,
    chunk: Chunk,
    others: Sequence[Chunk],
    outcome: Outcome,
    judgement: Judgement,
    why: Outcome | None = None,
    is_shared: bool = False,
) -> Settlement:
    """What the end of `chunk` (whose `done` is final) means.

    `others` are the task's active chunks that may have some of the same frames, and where the task
    fails all of them; `is_shared`: there are more. `why`: what earlier frames were given up for,
    where this end gives up none.
    """
    if judgement.fails_task:
        return _failed(task, chunk, others, outcome)
    if not task.is_split:
        event = TaskEvent.SUCCEED if outcome.is_success else TaskEvent.RELEASE
        return Settlement(event, None, task.done, task.failed)
    wanted = FrameSet.parse(task.frames) if task.frames else chunk.frame_set
    done = task.done | ((chunk.done | _union(other.done for other in others)) & wanted)
    held = _union(other.frame_set - other.done for other in others)
    # What another machine has just now may still come.
    given_up = (task.failed | (FrameSet.of(judgement.gives_up) - held)) - done
    todo = (task.todo or FrameSet()) | ((chunk.frame_set & wanted) - done - given_up - held)
    needed = [other for other in others if _is_needed(other, done | given_up)]
    superfluous = tuple(other for other in others if other not in needed)
    moved = replace(task, todo=todo, done=done, failed=given_up)
    settled = conclude(moved, is_shared or bool(needed), why or outcome)
    return replace(settled, superfluous=superfluous)


def conclude(task: Task, is_at_work: bool, outcome: Outcome | None = None) -> Settlement:
    """What follows from where a split task's frames are now. `is_at_work`: chunks of it are active.
    `outcome` is the latest failure's that gave up frames."""
    assert task.todo is not None
    same = (task.todo, task.done, task.failed)
    if task.todo.runs or is_at_work:
        return Settlement(TaskEvent.CHANGE if is_at_work else TaskEvent.RELEASE, *same)
    if not task.failed.runs:
        return Settlement(TaskEvent.SUCCEED, *same)
    why = f" {outcome.message}" if outcome is not None and outcome.message else ""
    others = "; the others are there" if task.done.runs else ""
    return Settlement(
        TaskEvent.FAIL,
        *same,
        cause=outcome.cause if outcome is not None else None,
        message=f"{_frames(task.failed)} could not be rendered{others}.{why}",
    )


def _failed(task: Task, chunk: Chunk, others: Sequence[Chunk], outcome: Outcome) -> Settlement:
    """The task is given up as a whole; what it has, stays."""
    done = task.done | chunk.done | _union(other.done for other in others)
    held = _union(other.frame_set for other in (chunk, *others))
    return Settlement(
        TaskEvent.FAIL,
        None if task.todo is None else (task.todo | held) - done,
        done if task.is_split else task.done,
        task.failed,
        tuple(others),
        outcome.cause,
        outcome.message,
    )


def _is_needed(chunk: Chunk, settled: FrameSet) -> bool:
    """Whether the chunk has frames to render, or is just ending because it has rendered them all."""
    own = chunk.frame_set - chunk.done
    return not own.runs or bool((own - settled).runs)


def _union(sets: Iterable[FrameSet]) -> FrameSet:
    whole = FrameSet()
    for frames in sets:
        whole |= frames
    return whole


def _frames(frames: FrameSet) -> str:
    word = "Frame" if len(frames) == 1 else "Frames"
    text = str(frames)
    return f"{word} {text if len(text) <= 60 else f'{text[:60]}…'}"
