"""What a machine's status means for the chunk it should be working on. Pure.

The api learns how a chunk is doing from reports, at once, and from asking every machine, which is
the safety net. This decides what to do with the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from renderonline.api.domain.model import Chunk, Outcome
from renderonline.api.domain.transitions import ChunkEvent
from renderonline.frames import FrameSet
from renderonline.wire import Cause, ChunkState, HpcStatus, HpcTask, NodeEvent

START_GRACE = timedelta(seconds=30)
"""How long a start may be on its way before a machine that knows nothing of it has lost it.

Longer than the time-out of the start request, so that no answer can still come.
"""


@dataclass(frozen=True, slots=True)
class Observation:
    """What to do: `event` None is nothing, or just progress."""

    event: ChunkEvent | None = None
    outcome: Outcome | None = None
    progress: HpcTask | None = None


def observe(chunk: Chunk, status: HpcStatus, asked_at: datetime) -> Observation:
    """What `status`, asked of the chunk's machine at `asked_at`, says about an active `chunk`."""
    if chunk.started_at is not None and chunk.started_at >= asked_at:
        return Observation()  # the question is older than the start: an answer to nothing
    task = told_of(chunk, status)
    settled = chunk.state is ChunkState.RUNNING or asked_at - chunk.assigned_at >= START_GRACE
    if task is None:
        if not settled:
            return Observation()  # its start has not been answered yet
        return Observation(
            ChunkEvent.LOSE,
            Outcome(
                False,
                cause=Cause.LOST,
                message="The machine does not know this render any more; it was probably restarted.",
            ),
        )
    if task.is_waiting:
        return Observation()  # handed over ahead of time; the one before it still runs
    if task.is_running:
        event = ChunkEvent.START if chunk.state is ChunkState.ASSIGNED else None
        return Observation(event, progress=task)
    if task.attempt_id is None and not settled:
        return Observation()  # an original node may still be telling of an earlier attempt
    outcome = outcome_of(task)
    return Observation(event_of(outcome), outcome, task)


def event_of(outcome: Outcome) -> ChunkEvent:
    """What an outcome does to its chunk. A render that was stopped is nobody's failure."""
    if outcome.is_success:
        return ChunkEvent.SUCCEED
    if outcome.cause is Cause.LOST:
        return ChunkEvent.LOSE
    if outcome.cause is Cause.INTERRUPTED:
        return ChunkEvent.INTERRUPT
    return ChunkEvent.FAIL


def outcome_of(told: HpcTask | NodeEvent) -> Outcome:
    """The end that a report or a status tells. An original node tells nothing but success.

    Raises FrameError if it names frames that are none.
    """
    is_success = bool(told.is_success)
    exit_code, cause, message = told.exit_code, told.cause, told.message
    if is_success:
        exit_code = exit_code if exit_code is not None else 0
    else:
        cause = cause or Cause.MACHINE
        message = message or "The renderer ended with an error; the machine's own log says more."
    return Outcome(
        is_success=is_success,
        exit_code=exit_code,
        cause=cause,
        message=message,
        frames_done=told.frames_done,
        frames=FrameSet.parse(told.frames) if told.frames else None,
        reason=told.reason,
        startup_s=told.startup_seconds,
        render_s=told.render_seconds,
        memory_bytes=told.memory_bytes,
        is_warm=told.warm,
    )


def told_of(chunk: Chunk, status: HpcStatus) -> HpcTask | None:
    """What a machine's status says of this attempt; None if it does not know it."""
    for task in (*status.tasks, status.task):
        if task is not None and is_about(task, chunk):
            return task
    return None


def is_about(task: HpcTask, chunk: Chunk) -> bool:
    """Whether a machine's `task` is this attempt. An original node tells no more than the task.

    The number alone would not do: a database that was begun anew counts attempts from 1 again,
    and two farms may use one node. The key was made for this attempt alone.
    """
    if task.attempt_id is None:
        return task.task_id == chunk.task_id
    return task.attempt_id == chunk.attempt_id and task.key_digest in (None, chunk.key_hash)
