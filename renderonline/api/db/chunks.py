"""Reads and writes of chunks (attempts) and of what each machine did with each task.

Every function runs inside the caller's `Database.reading` or `Database.transact`; see `tasks`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import peewee

from renderonline.api.db import rows, statements, tables
from renderonline.api.db.connection import is_mysql
from renderonline.api.domain import model
from renderonline.api.domain.transitions import ACTIVE_CHUNK
from renderonline.frames import FrameSet
from renderonline.wire import Cause, ChunkState

_ACTIVE = [state.value for state in ACTIVE_CHUNK]
_RECORD = "`task_id` = ? AND `machine_id` = ?"
_NO_RECORD = {"frames": 0, "render_s": 0.0, "is_warm": False, "failures": 0, "is_avoided": False}
_ENDED_BY_ITSELF = [ChunkState.SUCCEEDED.value, ChunkState.FAILED.value]


def add(chunk: model.Chunk) -> int:
    """A new attempt, whatever number it has; its own."""
    return statements.insert(
        tables.Chunk,
        {
            "task_id": chunk.task_id,
            "machine_id": chunk.machine_id,
            "state": chunk.state.value,
            "frames": chunk.frames,
            "key_hash": chunk.key_hash,
            "sequence": chunk.sequence,
            "progress": chunk.progress,
            "frames_done": chunk.frames_done,
            "assigned_at": chunk.assigned_at,
            "copy_of": chunk.copy_of,
            "after": chunk.after,
        },
    )


def get(attempt_id: int) -> model.Chunk | None:
    for row in statements.select(tables.Chunk, "WHERE `attempt_id` = ?", attempt_id):
        return rows.chunk(row)
    return None


def latest(task_id: int, machine_id: int | None = None) -> model.Chunk | None:
    """The task's last attempt, on this machine or on any."""
    query = tables.Chunk.select().where(tables.Chunk.task_id == task_id)
    if machine_id is not None:
        query = query.where(tables.Chunk.machine_id == machine_id)
    row = query.order_by(tables.Chunk.attempt_id.desc()).first()
    return None if row is None else rows.chunk(row)


def of_task(task_id: int, limit: int | None = None) -> list[model.Chunk]:
    """The task's chunks, oldest first; with a limit the newest so many of them."""
    query = (
        tables.Chunk.select()
        .where(tables.Chunk.task_id == task_id)
        .order_by(tables.Chunk.attempt_id.desc())
    )
    found = query.limit(limit) if limit is not None else query
    return [rows.chunk(row) for row in found][::-1]


def active(*, task_id: int | None = None, machine_id: int | None = None) -> list[model.Chunk]:
    """Chunks that a machine is, or may be, working on; oldest first."""
    asked = {"task_id": task_id, "machine_id": machine_id}
    given = {name: value for name, value in asked.items() if value is not None}
    where = "".join(f" AND `{name}` = ?" for name in given)
    found = statements.select(
        tables.Chunk,
        f"WHERE `state` IN (?, ?){where} ORDER BY `attempt_id`",
        *_ACTIVE,
        *given.values(),
    )
    return [rows.chunk(row) for row in found]


def courses() -> dict[int, tuple[int, ChunkState, str]]:
    """Of every active chunk, by attempt: its task, its state, and the frames that it has saved."""
    chunk = tables.Chunk
    query: Any = (
        chunk.select(chunk.attempt_id, chunk.task_id, chunk.state, chunk.done)
        .where(chunk.state.in_(_ACTIVE))
        .tuples()
    )
    return {attempt: (task, ChunkState(state), done or "") for attempt, task, state, done in query}


def related(chunk: model.Chunk) -> list[model.Chunk]:
    """The other active chunks that have some of the same frames: its copies, or what it copies."""
    columns = f"`state` IN (?, ?) AND `attempt_id` <> {int(chunk.attempt_id)}"
    wanted = [number for number in (chunk.attempt_id, chunk.copy_of) if number is not None]
    places = ", ".join("?" for _ in wanted)
    found = statements.select(
        tables.Chunk, f"WHERE `copy_of` IN ({places}) AND {columns}", *wanted, *_ACTIVE
    )
    if chunk.copy_of is not None:
        found += statements.select(
            tables.Chunk, f"WHERE `attempt_id` = ? AND {columns}", chunk.copy_of, *_ACTIVE
        )
    return [rows.chunk(row) for row in found]


def saved_by_copies(attempt_id: int) -> FrameSet:
    """What the attempt's copies have rendered, those at work and those that are over."""
    whole = FrameSet()
    for done in statements.values(tables.Chunk, "done", "WHERE `copy_of` = ?", attempt_id):
        whole |= FrameSet.parse(done) if done else FrameSet()
    return whole


def has_active(task_id: int, but: Collection[int]) -> bool:
    """Whether a chunk of the task is active that is none of these."""
    excluded = ", ".join(str(int(number)) for number in sorted(but))
    rest = f"WHERE `task_id` = ? AND `state` IN (?, ?) AND `attempt_id` NOT IN ({excluded}) LIMIT 1"
    return bool(statements.values(tables.Chunk, "attempt_id", rest, task_id, *_ACTIVE))


def machines_at_work(task_id: int) -> set[int]:
    """The machines that have an active chunk of the task."""
    rest = "WHERE `task_id` = ? AND `state` IN (?, ?)"
    return set(statements.values(tables.Chunk, "machine_id", rest, task_id, *_ACTIVE))


def active_of(task_ids: Sequence[int]) -> dict[int, list[model.Chunk]]:
    """The active chunks of each of these tasks."""
    found: dict[int, list[model.Chunk]] = {task_id: [] for task_id in task_ids}
    query = tables.Chunk.select().where(
        tables.Chunk.task_id.in_(list(task_ids)), tables.Chunk.state.in_(_ACTIVE)
    )
    for row in query.order_by(tables.Chunk.attempt_id) if task_ids else ():
        found[row.task_id].append(rows.chunk(row))
    return found


def set_(attempt_id: int, was: ChunkState, **columns: Any) -> bool:
    """Write `columns` if the chunk's state is still `was`; whether it was."""
    return statements.update(
        tables.Chunk, columns, "`attempt_id` = ? AND `state` = ?", attempt_id, was.value
    )


def forget_refusals(task_id: int, machine_id: int, but: int) -> None:
    """Drop earlier attempts that this machine refused; one row tells the story as well as ten."""
    tables.Chunk.delete().where(
        tables.Chunk.task_id == task_id,
        tables.Chunk.machine_id == machine_id,
        tables.Chunk.state == ChunkState.INTERRUPTED.value,
        tables.Chunk.started_at.is_null(),
        tables.Chunk.attempt_id != but,
    ).execute()


def machines_with(engine_id: int) -> set[int]:
    """The machines that have chunks of this engine; its row stays locked until the commit.

    Two claims that look at a limit on licences wait for each other there.
    """
    row = tables.Engine.select(tables.Engine.engine_id).where(tables.Engine.engine_id == engine_id)
    list(row.for_update() if is_mysql() else row)
    query: Any = (
        tables.Chunk.select(tables.Chunk.machine_id)
        .join(tables.Task, on=(tables.Task.task_id == tables.Chunk.task_id))
        .join(tables.Render, on=(tables.Render.render_id == tables.Task.render_id))
        .where(tables.Chunk.state.in_(_ACTIVE), tables.Render.engine_id == engine_id)
        .tuples()
    )
    return {machine_id for (machine_id,) in query}


def engine_limits() -> dict[str, int]:
    """How many machines may have an engine at once, by lower-case name; only those limited."""
    query = tables.Engine.select().where(tables.Engine.machine_limit.is_null(False))
    return {row.name.lower(): int(row.machine_limit) for row in query}


def failures(task_id: int, since: int) -> list[model.Failure]:
    """The task's failed attempts after the attempt `since`, oldest first."""
    chunk = tables.Chunk
    query: Any = (
        chunk.select(chunk.machine_id, chunk.cause, chunk.culprit)
        .where(
            chunk.task_id == task_id,
            chunk.state == ChunkState.FAILED.value,
            chunk.attempt_id > since,
        )
        .order_by(chunk.ended_at, chunk.attempt_id)
        .tuples()
    )
    return [model.Failure(machine, Cause(cause), frame) for machine, cause, frame in query]


def last_failure(task_id: int, frames: FrameSet) -> model.Outcome | None:
    """The task's last failed attempt that stumbled over one of these frames."""
    chunk = tables.Chunk
    query: Any = (
        chunk.select(chunk.culprit, chunk.exit_code, chunk.cause, chunk.message)
        .where(chunk.task_id == task_id, chunk.state == ChunkState.FAILED.value)
        .order_by(chunk.attempt_id.desc())
        .tuples()
    )
    for culprit, exit_code, cause, message in query:
        if culprit in frames:
            return model.Outcome(False, exit_code, Cause(cause), message)
    return None


def latest_ends(machine_id: int, since: int, limit: int) -> list[tuple[int, Cause | None]]:
    """The machine's last attempts that ended by themselves, newest first: their task, and the
    cause of those that failed."""
    chunk = tables.Chunk
    query: Any = (
        chunk.select(chunk.task_id, chunk.cause, chunk.state)
        .where(
            chunk.machine_id == machine_id,
            chunk.attempt_id > since,
            chunk.state.in_(_ENDED_BY_ITSELF),
        )
        .order_by(chunk.attempt_id.desc())
        .limit(limit)
        .tuples()
    )
    failed = ChunkState.FAILED.value
    return [(task, Cause(cause) if state == failed else None) for task, cause, state in query]


def failed_elsewhere(task_ids: Collection[int], machine_id: int) -> set[int]:
    """Which of these tasks another machine has failed, too, and no other one rendered."""
    query: Any = tables.Record.select(
        tables.Record.task_id, tables.Record.frames, tables.Record.failures
    ).where(tables.Record.task_id.in_(sorted(task_ids)), tables.Record.machine_id != machine_id)
    others = list(query.tuples()) if task_ids else []
    rendered = {task_id for task_id, frames, _ in others if frames}
    return {task_id for task_id, _, failed in others if failed} - rendered


def last_attempt_id() -> int:
    """The highest attempt id there is; 0 if there is none."""
    return int(tables.Chunk.select(peewee.fn.MAX(tables.Chunk.attempt_id)).scalar() or 0)


# --------------------------------------------------------------------------- records


def records(task_id: int) -> dict[int, model.Record]:
    """What each machine did with the task, by machine."""
    found = statements.select(tables.Record, "WHERE `task_id` = ?", task_id)
    return {row.machine_id: rows.record(row) for row in found}


def record(task_id: int, machine_id: int) -> model.Record | None:
    """What the machine did with the task; None if nothing yet."""
    found = statements.select(tables.Record, f"WHERE {_RECORD}", task_id, machine_id)
    return rows.record(found[0]) if found else None


def family_paces(task_ids: Sequence[int]) -> dict[int, tuple[float, float | None, bool]]:
    """Of these tasks what their variants took on the mean: seconds per frame and per start, and
    whether a renderer is kept open. Those of which no frame has been rendered are not there."""
    record, fn = tables.Record, peewee.fn
    query: Any = (
        record.select(
            tables.Task.parent_id,
            fn.SUM(record.frames),
            fn.SUM(record.render_s),
            fn.AVG(record.startup_s),
            fn.MAX(record.is_warm),
        )
        .join(tables.Task, on=(tables.Task.task_id == record.task_id))
        .where(tables.Task.parent_id.in_(list(task_ids)), record.frames > 0)
        .group_by(tables.Task.parent_id)
        .tuples()
    )
    return {
        task_id: (float(render_s) / int(frames), startup_s, bool(is_warm))
        for task_id, frames, render_s, startup_s, is_warm in query
    }


def set_record(task_id: int, machine_id: int, is_new: bool, **columns: Any) -> None:
    """Write `columns`, into a new row if there is none."""
    if is_new:
        fresh = {"task_id": task_id, "machine_id": machine_id, **_NO_RECORD, **columns}
        statements.insert(tables.Record, fresh)
    else:
        statements.update(tables.Record, columns, _RECORD, task_id, machine_id)


def forgive(*, task_id: int | None = None, machine_id: int | None = None) -> None:
    """Forget the failures of this task, or of this machine: all may try again at once."""
    query = tables.Record.update(failures=0, not_before=None, is_avoided=False, memory_bytes=None)
    if task_id is not None:
        query = query.where(tables.Record.task_id == task_id)
    if machine_id is not None:
        query = query.where(tables.Record.machine_id == machine_id)
    query.execute()


def recent_use(since: datetime) -> dict[int, float]:
    """The seconds of machines that each user has used since then."""
    chunk = tables.Chunk
    query: Any = (
        chunk.select(tables.Task.user_id, chunk.started_at, chunk.ended_at)
        .join(tables.Task, on=(tables.Task.task_id == chunk.task_id))
        .where(chunk.ended_at > since)
        .tuples()
    )
    used: dict[int, float] = {}
    for user_id, began, ended in query:
        if began is not None:
            used[user_id] = used.get(user_id, 0.0) + (ended - began).total_seconds()
    return used
