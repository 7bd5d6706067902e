"""Every change of a task's or a chunk's state: one transaction each, effects after the commit.

All may be called from any thread, by several api processes at once, and again with the same words:
a change that has happened already, or that came too late, does nothing and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from renderonline import security
from renderonline.api.db import catalog, tasks
from renderonline.api.db.connection import Stale, Transaction
from renderonline.api.domain.model import Chunk, Job, Outcome, Task
from renderonline.api.domain.planner import Assignment
from renderonline.api.domain.reconcile import event_of
from renderonline.api.domain.transitions import (
    ACTIVE_CHUNK,
    FOLLOWS,
    QUEUED_TASK,
    ChunkEvent,
    TaskEvent,
    next_chunk,
    next_task,
)
from renderonline.api.services.context import Context, whole_seconds
from renderonline.wire import Cause, ChunkState, EventType, NodeEvent, TaskState


@dataclass(frozen=True, slots=True)
class Claim:
    """A chunk that is ours to start. `report_key` is kept nowhere else."""

    job: Job
    chunk: Chunk
    report_key: str


def claim(ctx: Context, assignment: Assignment) -> Claim | None:
    """Give a task to a machine; None if either is not there to be had any more.

    A machine holds one chunk. Another api process may have given it one since it was last asked,
    and an original node forgets how a render ended as soon as it starts the next.
    """
    key = security.new_key()
    now = ctx.clock.now()
    start_time = whole_seconds(ctx.local_now())

    def write(_tx: Transaction) -> Claim | None:
        catalog.lock_machine(assignment.machine_id)
        if tasks.active_chunks(machine_id=assignment.machine_id):
            return None
        job = tasks.job(assignment.task_id)
        if job is None or job.task.version != assignment.version:
            return None
        columns = {"start_time": start_time, "machine_id": assignment.machine_id}
        _move_task(job.task, TaskEvent.CLAIM, columns)
        attempt_id = tasks.add_chunk(
            job.task.task_id, assignment.machine_id, job.task.frames, security.digest(key), now
        )
        chunk = tasks.chunk(attempt_id)
        assert chunk is not None
        return Claim(job, chunk, key)

    return ctx.database.transact(write)


def start(ctx: Context, attempt_id: int) -> bool:
    """The machine has confirmed the start; False if the chunk was not waiting for that."""
    now = ctx.clock.now()
    return ctx.database.transact(lambda _tx: _start(attempt_id, now))


def end(ctx: Context, attempt_id: int, event: ChunkEvent, outcome: Outcome) -> bool:
    """A chunk's end and what follows for its task; False if it had ended before."""
    return ctx.database.transact(lambda tx: _end(ctx, tx, attempt_id, event, outcome))


def progress(ctx: Context, attempt_id: int, fraction: float, frames_done: int) -> None:
    """How far an active chunk is."""

    def write(_tx: Transaction) -> None:
        chunk = tasks.chunk(attempt_id)
        if chunk is not None and chunk.state in ACTIVE_CHUNK:
            _progress(chunk, fraction, frames_done)

    ctx.database.transact(write)


def report(ctx: Context, attempt_id: int, sequence: int, events: Sequence[NodeEvent]) -> bool:
    """Take a node's report, whole; False if the attempt is not current any more."""

    def write(tx: Transaction) -> bool:
        chunk = tasks.chunk(attempt_id)
        if chunk is None or chunk.state not in ACTIVE_CHUNK:
            # An end that is told again, since our answer was lost, is not news.
            return chunk is not None and sequence <= chunk.sequence
        if sequence <= chunk.sequence:
            return True
        tasks.set_chunk(attempt_id, chunk.state, sequence=sequence)
        for event in events:
            _take(ctx, tx, attempt_id, event)
        return True

    return ctx.database.transact(write)


def cancel(ctx: Context, task_id: int, reason: str, wait: bool = False) -> bool:
    """Take a task out of the queue and stop it where it runs; False if it had ended.

    `wait`: return only when the machines have answered, or have not in time.
    """
    stop = ctx.stop_render if wait else partial(ctx.background, ctx.stop_render)
    end_time = whole_seconds(ctx.local_now())

    def write(tx: Transaction) -> bool:
        job = tasks.job(task_id)
        if job is None or job.task.state not in QUEUED_TASK:
            return False
        for chunk in tasks.active_chunks(task_id=task_id):
            _interrupt(ctx, tx, chunk, reason, stop)
        _move_task(job.task, TaskEvent.CANCEL, {"end_time": end_time, "message": reason})
        return True

    return ctx.database.transact(write)


# --------------------------------------------------------------------------- inside a transaction


def _take(ctx: Context, tx: Transaction, attempt_id: int, event: NodeEvent) -> None:
    if event.type is EventType.STARTED:
        _start(attempt_id, ctx.clock.now())
    elif event.type is EventType.ENDED:
        outcome = Outcome(
            bool(event.is_success), event.exit_code, event.cause, event.message, event.frames_done
        )
        _end(ctx, tx, attempt_id, event_of(outcome), outcome)
    elif event.type is EventType.PROGRESS:
        chunk = tasks.chunk(attempt_id)
        if chunk is not None and chunk.state in ACTIVE_CHUNK:
            _progress(chunk, event.progress or 0.0, event.frames_done or 0)
    elif event.type is EventType.WARNING and event.message:
        chunk = tasks.chunk(attempt_id)
        if chunk is not None:
            tasks.add_warning(chunk.task_id, event.message, ctx.clock.now())


def _start(attempt_id: int, now: datetime) -> bool:
    chunk = tasks.chunk(attempt_id)
    if chunk is None or chunk.state is not ChunkState.ASSIGNED:
        return False
    state = next_chunk(chunk.state, ChunkEvent.START)
    return tasks.set_chunk(attempt_id, chunk.state, state=state.value, started_at=now)


def _progress(chunk: Chunk, fraction: float, frames_done: int) -> None:
    tasks.set_chunk(
        chunk.attempt_id,
        chunk.state,
        progress=min(max(fraction, chunk.progress, 0.0), 1.0),
        frames_done=max(frames_done, chunk.frames_done),
    )


def _end(
    ctx: Context, tx: Transaction, attempt_id: int, event: ChunkEvent, outcome: Outcome
) -> bool:
    chunk = tasks.chunk(attempt_id)
    if chunk is None or chunk.state not in ACTIVE_CHUNK:
        return False
    _end_chunk(ctx, chunk, event, outcome)
    job = tasks.job(chunk.task_id)
    if job is not None and job.task.state is TaskState.RUNNING:
        _follow(ctx, job.task, FOLLOWS[event], outcome)
    tx.after_commit(lambda: ctx.machine_free(chunk.machine_id))
    return True


def _end_chunk(ctx: Context, chunk: Chunk, event: ChunkEvent, outcome: Outcome) -> None:
    columns: dict[str, Any] = {
        "state": next_chunk(chunk.state, event).value,
        "ended_at": ctx.clock.now(),
        "exit_code": outcome.exit_code,
        "cause": outcome.cause.value if outcome.cause else None,
        "message": outcome.message,
    }
    if outcome.is_success:
        columns["progress"] = 1.0
    if outcome.frames_done is not None:
        columns["frames_done"] = max(outcome.frames_done, chunk.frames_done)
    if not tasks.set_chunk(chunk.attempt_id, chunk.state, **columns):
        raise Stale


def _follow(ctx: Context, task: Task, event: TaskEvent, outcome: Outcome) -> None:
    if event is TaskEvent.RELEASE:
        # As the original has a waiting task, so that its own queries read the same.
        _move_task(task, event, {"start_time": None, "machine_id": None})
        return
    _move_task(
        task,
        event,
        {
            "end_time": whole_seconds(ctx.local_now()),
            "cause": outcome.cause.value if outcome.cause else None,
            "message": outcome.message,
        },
    )


def _interrupt(
    ctx: Context, tx: Transaction, chunk: Chunk, reason: str, stop: Callable[[Chunk, str], None]
) -> None:
    outcome = Outcome(False, cause=Cause.INTERRUPTED, message=reason)
    _end_chunk(ctx, chunk, ChunkEvent.INTERRUPT, outcome)
    tx.after_commit(lambda: stop(chunk, reason))


def _move_task(task: Task, event: TaskEvent, columns: dict[str, Any]) -> None:
    """Write the next state and the original's columns that follow from it. Raises Stale."""
    state = next_task(task.state, event)
    if state not in QUEUED_TASK:
        tasks.unqueue(task.task_id)
    columns |= {
        "state": state.value,
        "is_running": state is TaskState.RUNNING,
        "is_success": state is TaskState.SUCCEEDED,
    }
    if not tasks.set_task(task.task_id, task.version, **columns):
        raise Stale
