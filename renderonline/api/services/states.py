"""Every change of a task's or a chunk's state: one transaction each, effects after the commit.

All may be called from any thread, by several api processes at once, and again with the same words:
a change that has happened already, or that came too late, does nothing and says so. A transaction
locks the task first and reads it behind the lock; two that meet take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from renderonline import security
from renderonline.api.db import catalog, chunks, tasks
from renderonline.api.db.connection import Stale, Transaction
from renderonline.api.domain import ledger
from renderonline.api.domain.model import Chunk, Job, Machine, MachineState, Outcome, Task
from renderonline.api.domain.planner import Assignment
from renderonline.api.domain.reconcile import event_of, outcome_of
from renderonline.api.domain.transitions import (
    ACTIVE_CHUNK,
    QUEUED_TASK,
    ChunkEvent,
    TaskEvent,
    next_chunk,
    next_task,
)
from renderonline.api.services import records, variants
from renderonline.api.services.context import Context, whole_seconds
from renderonline.frames import FrameSet
from renderonline.wire import Cause, ChunkState, EventType, NodeEvent, TaskState

ELSEWHERE = "Another machine was faster with these frames."


@dataclass(frozen=True, slots=True)
class Claim:
    """A chunk that is ours to start. `report_key` is kept nowhere else."""

    job: Job
    chunk: Chunk
    machine: Machine  # as it is now: who plans may have known it by older settings
    report_key: str


def claim(ctx: Context, assignment: Assignment) -> Claim | None:
    """Give a task, or some of its frames, to a machine; None if they are not to be had any more.

    A machine holds one chunk, and one more that is handed over ahead of time. Another api process
    may have given it one since it was last asked, and an original node forgets how a render ended
    as soon as it starts the next.
    """
    key = security.new_key()
    now = ctx.clock.now()
    start_time = whole_seconds(ctx.local_now())

    def write(tx: Transaction) -> Claim | None:
        catalog.lock_machine(assignment.machine_id)
        machine = catalog.machine(assignment.machine_id)
        if machine is None or machine.state is not MachineState.ENABLED:
            return None  # drained or disabled since the plan was made
        held = [chunk.attempt_id for chunk in chunks.active(machine_id=assignment.machine_id)]
        if held and held != [assignment.after]:
            return None
        job = tasks.locked(assignment.task_id)
        if job is None or not _is_to_be_had(job, assignment):
            return None
        _move_task(ctx, tx, job.task, TaskEvent.CLAIM, _taken(job.task, assignment, start_time))
        frames = assignment.frames
        chunk = Chunk(
            attempt_id=0,
            task_id=job.task.task_id,
            machine_id=assignment.machine_id,
            state=ChunkState.ASSIGNED,
            frames=job.task.frames if frames is None else str(frames),
            key_hash=security.digest(key),
            sequence=0,
            progress=0.0,
            frames_done=0,
            assigned_at=now,
            copy_of=assignment.copy_of,
            after=assignment.after if held else None,
        )
        return Claim(job, replace(chunk, attempt_id=chunks.add(chunk)), machine, key)

    return ctx.database.transact(write)


def start(ctx: Context, attempt_id: int) -> bool:
    """The machine has confirmed the start; False if the chunk was not waiting for that."""
    now = ctx.clock.now()

    def write(tx: Transaction) -> bool:
        chunk = chunks.get(attempt_id)
        if chunk is None or chunk.state is not ChunkState.ASSIGNED:
            return False
        _write(ctx, tx, chunk, _started(chunk, now))
        return True

    return ctx.database.transact(write)


def end(ctx: Context, attempt_id: int, event: ChunkEvent, outcome: Outcome) -> bool:
    """A chunk's end and what follows for its task; False if it had ended before."""

    def write(tx: Transaction) -> bool:
        chunk = chunks.get(attempt_id)
        if chunk is None or chunk.state not in ACTIVE_CHUNK:
            return False
        _end(ctx, tx, chunk, event, outcome)
        return True

    return ctx.database.transact(write)


def progress(
    ctx: Context, attempt_id: int, fraction: float, frames_done: int, frames: FrameSet | None
) -> None:
    """How far an active chunk is. `frames`: those that are saved, if that is known."""

    def write(tx: Transaction) -> None:
        chunk = chunks.get(attempt_id)
        if chunk is not None and chunk.state in ACTIVE_CHUNK:
            _write(ctx, tx, chunk, _further(chunk, fraction, frames_done, frames))

    ctx.database.transact(write)


def report(ctx: Context, seen: Chunk, sequence: int, events: Sequence[NodeEvent]) -> bool:
    """Take a node's report, whole; False if the attempt is not current any more.

    `seen` is the attempt as it was found when the report came. Raises FrameError if it names
    frames that are none; nothing is taken then.
    """
    latest: Chunk | None = seen

    def write(tx: Transaction) -> bool:
        nonlocal latest
        # What was seen will do: a change that it does not fit raises Stale, and it is read again.
        chunk, latest = latest or chunks.get(seen.attempt_id), None
        if chunk is None or chunk.state not in ACTIVE_CHUNK:
            # An end that is told again, since our answer was lost, is not news.
            return chunk is not None and sequence <= chunk.sequence
        if sequence > chunk.sequence and events:
            _take(ctx, tx, chunk, sequence, events)
        return True

    return ctx.database.transact(write)


def cancel(ctx: Context, task_id: int, reason: str, wait: bool = False) -> bool:
    """Take a task (all its variants) out of the queue and stop it where it runs; False if it had
    ended.

    `wait`: return only when the machines have answered, or have not in time.
    """
    stop = ctx.stop_render if wait else partial(ctx.background, ctx.stop_render)
    end_time = whole_seconds(ctx.local_now())

    def write(tx: Transaction) -> bool:
        jobs = [tasks.locked(number) for number in variants.parts(task_id)]
        live = [job.task for job in jobs if job is not None and job.task.state in QUEUED_TASK]
        for before in live:
            task = take_back(ctx, tx, before, reason, stop)
            columns = {"end_time": end_time, "message": reason, **frame_columns(task)}
            _move_task(ctx, tx, before, TaskEvent.CANCEL, columns)
            tx.after_commit(partial(ctx.changed, before.task_id))
        return bool(live)

    return ctx.database.transact(write)


# --------------------------------------------------------------------------- inside a transaction


def take_back(
    ctx: Context, tx: Transaction, task: Task, reason: str, stop: Callable[[Chunk, str], None]
) -> Task:
    """End a locked task's chunks at once; the task with what they had done, and still owed."""
    for chunk in chunks.active(task_id=task.task_id):
        interrupt(ctx, tx, chunk, reason, stop)
        if task.todo is not None:
            done = task.done | chunk.done
            rest = (chunk.frame_set | task.todo) - done - task.failed
            task = replace(task, todo=rest, done=done)
    return task


def interrupt(
    ctx: Context, tx: Transaction, chunk: Chunk, reason: str, stop: Callable[[Chunk, str], None]
) -> None:
    """End a chunk that is not wanted any more, and tell its machine after the commit."""
    outcome = Outcome(False, cause=Cause.INTERRUPTED, message=reason)
    _end_chunk(ctx, tx, chunk, chunk, ChunkEvent.INTERRUPT, outcome)
    tx.after_commit(lambda: stop(chunk, reason))


def move(ctx: Context, tx: Transaction, task: Task, settlement: ledger.Settlement) -> None:
    """Write what was settled about a locked task, and end the chunks that nobody needs."""
    stop = partial(ctx.background, ctx.stop_render)
    for chunk in settlement.superfluous:
        interrupt(ctx, tx, chunk, settlement.message or ELSEWHERE, stop)
    moved = replace(task, todo=settlement.todo, done=settlement.done, failed=settlement.failed)
    columns = frame_columns(moved)
    if settlement.event in (TaskEvent.SUCCEED, TaskEvent.FAIL):
        columns |= {
            "end_time": whole_seconds(ctx.local_now()),
            "cause": settlement.cause.value if settlement.cause else None,
            "message": settlement.message,
        }
    elif settlement.event is TaskEvent.RELEASE and not settlement.done.runs:
        # As the original has a waiting task, so that its own queries read the same.
        columns |= {"start_time": None, "machine_id": None}
    _move_task(ctx, tx, task, settlement.event, columns)
    if settlement.event not in (TaskEvent.CHANGE, TaskEvent.RELEASE):
        tx.after_commit(lambda: ctx.changed(task.task_id))


def frame_columns(task: Task) -> dict[str, Any]:
    """A task's frames as columns; none where it is one piece."""
    if task.todo is None:
        return {}
    return {
        "todo": str(task.todo),
        "done": str(task.done),
        "failed": str(task.failed),
        "preview": str(task.preview & task.todo),
    }


def _is_to_be_had(job: Job, assignment: Assignment) -> bool:
    """Whether what was planned is still there. Another api may have been quicker, and a limit on
    licences or machines is looked at behind its lock."""
    task, engine = job.task, job.engine
    if task.state not in (TaskState.QUEUED, TaskState.RUNNING):
        return False
    here = {assignment.machine_id}
    limit = task.machine_limit
    if limit is not None and len(chunks.machines_at_work(task.task_id) | here) > limit:
        return False
    limit = engine.machine_limit
    if limit is not None and len(chunks.machines_with(engine.engine_id) | here) > limit:
        return False
    if assignment.copy_of is not None:
        return _is_to_be_copied(assignment)
    if assignment.frames is None:
        return task.todo is None and not chunks.active(task_id=task.task_id)
    wanted = assignment.frames
    return task.todo is not None and bool(wanted.runs) and not (wanted - task.todo).runs


def _is_to_be_copied(assignment: Assignment) -> bool:
    copied = chunks.get(assignment.copy_of or 0)
    if copied is None or copied.state not in ACTIVE_CHUNK:
        return False
    original = chunks.get(copied.copy_of) if copied.copy_of is not None else None
    if original is not None and original.state in ACTIVE_CHUNK:
        return False  # a helper has its frames from a chunk that is still at work on them, too
    wanted = assignment.frames or FrameSet()
    done = copied.done | chunks.saved_by_copies(copied.attempt_id)
    for helper in chunks.related(copied):
        if helper.copy_of == copied.attempt_id:
            done |= helper.frame_set  # another one has these
    return bool(wanted.runs) and not (wanted - (copied.frame_set - done)).runs


def _taken(task: Task, assignment: Assignment, start_time: datetime) -> dict[str, Any]:
    columns: dict[str, Any] = {"machine_id": assignment.machine_id}
    if task.start_time is None:
        columns["start_time"] = start_time
    if assignment.frames is not None and assignment.copy_of is None:
        assert task.todo is not None
        columns |= frame_columns(replace(task, todo=task.todo - assignment.frames))
    return columns


def _take(
    ctx: Context, tx: Transaction, before: Chunk, sequence: int, events: Sequence[NodeEvent]
) -> None:
    """Work in what is news of an active chunk, and write it at once: its row changes only once."""
    now = ctx.clock.now()
    chunk = replace(before, sequence=sequence)
    for event in events:
        if event.type is EventType.STARTED:
            chunk = _started(chunk, now)
        elif event.type is EventType.PROGRESS:
            frames = FrameSet.parse(event.frames) if event.frames else None
            chunk = _further(chunk, event.progress or 0.0, event.frames_done or 0, frames)
        elif event.type is EventType.WARNING and event.message:
            tasks.add_warning(chunk.task_id, event.message, now)
        elif event.type is EventType.ENDED:
            outcome = outcome_of(event)
            _end(ctx, tx, before, event_of(outcome), outcome, chunk)
            return
    _write(ctx, tx, before, chunk)


def _started(chunk: Chunk, now: datetime) -> Chunk:
    if chunk.state is not ChunkState.ASSIGNED:
        return chunk
    return replace(chunk, state=next_chunk(chunk.state, ChunkEvent.START), started_at=now)


def _further(chunk: Chunk, fraction: float, frames_done: int, frames: FrameSet | None) -> Chunk:
    done = chunk.done | ((frames or FrameSet()) & chunk.frame_set)
    return replace(
        chunk,
        progress=min(max(fraction, chunk.progress, 0.0), 1.0),
        frames_done=max(frames_done, chunk.frames_done, len(done)),
        done=done,
    )


def _write(ctx: Context, tx: Transaction, before: Chunk, chunk: Chunk) -> None:
    """Write what is new of a chunk that goes on. Raises Stale."""
    if not chunks.set_(before.attempt_id, before.state, **_course(before, chunk)):
        raise Stale
    if chunk.done != before.done or chunk.state is not before.state:
        tx.after_commit(lambda: ctx.chunk_changed(chunk))
    if chunk.done != before.done:
        _stop_overtaken(ctx, tx, chunk)


def _course(before: Chunk, chunk: Chunk) -> dict[str, Any]:
    """How far a chunk is, as columns."""
    columns: dict[str, Any] = {"sequence": chunk.sequence, "progress": chunk.progress}
    if chunk.state is not before.state:
        columns |= {"state": chunk.state.value, "started_at": chunk.started_at}
    if chunk.frames_done != before.frames_done:
        columns["frames_done"] = chunk.frames_done
    if chunk.done != before.done:
        columns["done"] = str(chunk.done)
    return columns


def _stop_overtaken(ctx: Context, tx: Transaction, chunk: Chunk) -> None:
    """End a chunk that has come to frames which a copy has rendered, and would do them again."""
    owed = chunk.frame_set - chunk.done
    if not owed.runs:
        return
    if owed.first in chunks.saved_by_copies(chunk.attempt_id):
        outcome = Outcome(False, cause=Cause.INTERRUPTED, message=ELSEWHERE)
        _end(ctx, tx, chunk, ChunkEvent.INTERRUPT, outcome)
        tx.after_commit(lambda: ctx.background(ctx.stop_render, chunk, ELSEWHERE))


def _end(
    ctx: Context,
    tx: Transaction,
    before: Chunk,
    event: ChunkEvent,
    outcome: Outcome,
    latest: Chunk | None = None,
) -> None:
    """End an active chunk. `latest`: what the same report said of it, not written yet. Raises Stale."""
    job = tasks.locked(before.task_id)
    chunk = latest or before
    chunk = replace(chunk, done=ledger.saved(chunk, outcome))
    culprit = None if job is None else ledger.culprit(job.task, chunk, chunk.done)
    _end_chunk(ctx, tx, before, chunk, event, outcome, culprit)
    if job is not None:
        records.note(ctx, tx, job, chunk, event, outcome)
        if job.task.state in QUEUED_TASK:
            move(ctx, tx, job.task, _settle(ctx, job, chunk, event, outcome))
    tx.after_commit(lambda: ctx.machine_free(chunk.machine_id, chunk.attempt_id))


def _settle(
    ctx: Context, job: Job, chunk: Chunk, event: ChunkEvent, outcome: Outcome
) -> ledger.Settlement:
    """What the end of a chunk means for its task. Of a thousand machines that work on it, only
    those are looked at that have the same frames."""
    task = job.task
    judgement = records.judge(ctx, job, chunk, event)
    if judgement.fails_task:
        others, is_shared = chunks.active(task_id=task.task_id), False
    else:
        others = chunks.related(chunk)
        known = {chunk.attempt_id, *(other.attempt_id for other in others)}
        is_shared = chunks.has_active(task.task_id, known)
    why = None if judgement.gives_up else records.why_given_up(task)
    return ledger.settle(task, chunk, others, outcome, judgement, why, is_shared)


def _end_chunk(
    ctx: Context,
    tx: Transaction,
    before: Chunk,
    chunk: Chunk,
    event: ChunkEvent,
    outcome: Outcome,
    culprit: int | None = None,
) -> None:
    state = next_chunk(chunk.state, event)
    columns = _course(before, chunk) | {
        "state": state.value,
        "ended_at": ctx.clock.now(),
        "exit_code": outcome.exit_code,
        "cause": outcome.cause.value if outcome.cause else None,
        "message": outcome.message,
        "reason": outcome.reason.value if outcome.reason else None,
        "memory_bytes": outcome.memory_bytes,
        "frames_done": max(outcome.frames_done or 0, chunk.frames_done, len(chunk.done)),
    }
    if event is ChunkEvent.FAIL:
        columns["culprit"] = culprit
    if outcome.is_success:
        columns["progress"] = 1.0
    if not chunks.set_(before.attempt_id, before.state, **columns):
        raise Stale
    tx.after_commit(lambda: ctx.chunk_changed(replace(chunk, state=state)))


def _move_task(
    ctx: Context, tx: Transaction, task: Task, event: TaskEvent, columns: dict[str, Any]
) -> None:
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
    if task.parent_id is not None and state is not task.state:
        variants.roll_up(ctx, tx, task.parent_id)
