"""Reads and writes of tasks, their renders, the queue and the chunks.

Every function runs inside the caller's `Database.reading` or `Database.transact`. A change of state
names the state (a task's version) it was decided on and says whether it was still so: the row count
decides, so that two api processes cannot both have done it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Any

import peewee

from renderonline.api.db import rows, tables
from renderonline.api.db.connection import is_mysql
from renderonline.api.domain import model
from renderonline.api.domain.planner import Waiting
from renderonline.api.domain.transitions import ACTIVE_CHUNK
from renderonline.wire import ChunkState, TaskState

_ACTIVE = [state.value for state in ACTIVE_CHUNK]


def _jobs() -> Any:
    return (
        tables.Task.select(tables.Task, tables.Render, tables.Engine)
        .join(
            tables.Render,
            on=(tables.Render.render_id == tables.Task.render_id),
            attr="render",
        )
        .join(
            tables.Engine,
            on=(tables.Engine.engine_id == tables.Render.engine_id),
            attr="engine",
        )
    )


def job(task_id: int) -> model.Job | None:
    row = _jobs().where(tables.Task.task_id == task_id).first()
    return None if row is None else rows.job(row)


def jobs(
    user_id: int | None, limit: int, below: int | None = None, state: str | None = None
) -> list[model.Job]:
    """Newest first. `user_id` None: everybody's. `below`: only ids under it, for paging."""
    query = _jobs().order_by(tables.Task.task_id.desc()).limit(limit)
    if user_id is not None:
        query = query.where(tables.Task.user_id == user_id)
    if below is not None:
        query = query.where(tables.Task.task_id < below)
    if state is not None:
        query = query.where(tables.Task.state == state)
    return [rows.job(row) for row in query]


def waiting() -> list[Waiting]:
    """The tasks in the queue that nobody works on, oldest first."""
    query: Any = (
        tables.Queue.select(tables.Task.task_id, tables.Task.version, tables.Engine.name)
        .join(tables.Task, on=(tables.Task.task_id == tables.Queue.task_id))
        .join(tables.Render, on=(tables.Render.render_id == tables.Task.render_id))
        .join(tables.Engine, on=(tables.Engine.engine_id == tables.Render.engine_id))
        .where(tables.Task.state == TaskState.QUEUED.value)
        .order_by(tables.Queue.queue_id)
        .tuples()
    )
    return [Waiting(task_id, version, name) for task_id, version, name in query]


def queued_count(user_id: int) -> int:
    """How many of the user's tasks have a row in `queue`, running ones too."""
    return int(
        tables.Queue.select(peewee.fn.COUNT(tables.Queue.queue_id))
        .join(tables.Task, on=(tables.Task.task_id == tables.Queue.task_id))
        .where(tables.Task.user_id == user_id)
        .scalar()
        or 0
    )


def is_queued(task_id: int) -> bool:
    return bool(tables.Queue.select().where(tables.Queue.task_id == task_id).exists())


def lock_user(user_id: int) -> None:
    """Make two submissions of one user wait for each other, so that both count the queue right.

    On SQLite the transaction has the write lock already; on MySQL this row's lock does it.
    """
    query = tables.User.select().where(tables.User.user_id == user_id)
    list(query.for_update() if is_mysql() else query)


def add(user_id: int, queue_time: datetime, render: dict[str, Any], frames: str | None) -> int:
    """A new task in the queue; `render` holds the columns of `renders`. Returns its id."""
    render_id = tables.Render.insert(**render).execute()
    task_id = tables.Task.insert(
        user_id=user_id,
        queue_time=queue_time,
        is_running=0,
        is_success=0,
        render_id=render_id,
        state=TaskState.QUEUED.value,
        frames=frames,
    ).execute()
    tables.Queue.insert(task_id=task_id).execute()
    return int(task_id)


def set_task(task_id: int, version: int, **columns: Any) -> bool:
    """Write `columns` if the task is still at `version`; whether it was."""
    changed = (
        tables.Task.update(version=version + 1, **columns)
        .where(tables.Task.task_id == task_id, tables.Task.version == version)
        .execute()
    )
    return bool(changed)


def unqueue(task_id: int) -> None:
    tables.Queue.delete().where(tables.Queue.task_id == task_id).execute()


def delete(task_id: int, render_id: int) -> None:
    """The task and all that is about it."""
    unqueue(task_id)
    tables.Chunk.delete().where(tables.Chunk.task_id == task_id).execute()
    tables.TaskWarning.delete().where(tables.TaskWarning.task_id == task_id).execute()
    tables.Task.delete().where(tables.Task.task_id == task_id).execute()
    tables.Render.delete().where(tables.Render.render_id == render_id).execute()


def has_render_in(folder: str) -> bool:
    """Whether a render's project lies in this folder."""
    # A folder holds one project; its separator is the platform's.
    query = tables.Render.select().where(tables.Render.file_path.startswith(folder))
    return any(str(PurePath(row.file_path).parent) == folder for row in query)


# --------------------------------------------------------------------------- chunks


def add_chunk(
    task_id: int, machine_id: int, frames: str | None, key_hash: str, now: datetime
) -> int:
    """A chunk, assigned; its attempt id."""
    return int(
        tables.Chunk.insert(
            task_id=task_id,
            machine_id=machine_id,
            state=ChunkState.ASSIGNED.value,
            frames=frames,
            key_hash=key_hash,
            assigned_at=now,
        ).execute()
    )


def chunk(attempt_id: int) -> model.Chunk | None:
    row = tables.Chunk.get_or_none(tables.Chunk.attempt_id == attempt_id)
    return None if row is None else rows.chunk(row)


def latest_chunk(task_id: int, machine_id: int) -> model.Chunk | None:
    """The task's last attempt on this machine."""
    query = tables.Chunk.select().where(
        tables.Chunk.task_id == task_id, tables.Chunk.machine_id == machine_id
    )
    row = query.order_by(tables.Chunk.attempt_id.desc()).first()
    return None if row is None else rows.chunk(row)


def chunks(task_ids: Sequence[int]) -> dict[int, list[model.Chunk]]:
    """The chunks of each task, oldest first."""
    found: dict[int, list[model.Chunk]] = {task_id: [] for task_id in task_ids}
    query = (
        tables.Chunk.select()
        .where(tables.Chunk.task_id.in_(list(task_ids)))
        .order_by(tables.Chunk.attempt_id)
    )
    for row in query if task_ids else ():
        found[row.task_id].append(rows.chunk(row))
    return found


def active_chunks(
    *, task_id: int | None = None, machine_id: int | None = None
) -> list[model.Chunk]:
    """Chunks that a machine is, or may be, working on."""
    query = tables.Chunk.select().where(tables.Chunk.state.in_(_ACTIVE))
    if task_id is not None:
        query = query.where(tables.Chunk.task_id == task_id)
    if machine_id is not None:
        query = query.where(tables.Chunk.machine_id == machine_id)
    return [rows.chunk(row) for row in query.order_by(tables.Chunk.attempt_id)]


def set_chunk(attempt_id: int, was: ChunkState, **columns: Any) -> bool:
    """Write `columns` if the chunk's state is still `was`; whether it was."""
    changed = (
        tables.Chunk.update(**columns)
        .where(tables.Chunk.attempt_id == attempt_id, tables.Chunk.state == was.value)
        .execute()
    )
    return bool(changed)


def forget_refusals(task_id: int, machine_id: int, but: int) -> None:
    """Drop earlier attempts that this machine refused; one row tells the story as well as ten."""
    tables.Chunk.delete().where(
        tables.Chunk.task_id == task_id,
        tables.Chunk.machine_id == machine_id,
        tables.Chunk.state == ChunkState.INTERRUPTED.value,
        tables.Chunk.started_at.is_null(),
        tables.Chunk.attempt_id != but,
    ).execute()


# --------------------------------------------------------------------------- warnings

MAX_WARNINGS = 50
"""Most warnings kept of one task; a scene can have thousands of missing textures."""


def add_warning(task_id: int, text: str, now: datetime) -> None:
    """Keep a warning, unless it is there already or there are too many."""
    text = text[:500]
    present = [
        row.text for row in tables.TaskWarning.select().where(tables.TaskWarning.task_id == task_id)
    ]
    if text not in present and len(present) < MAX_WARNINGS:
        tables.TaskWarning.insert(task_id=task_id, text=text, created_at=now).execute()


def warnings(task_id: int) -> list[str]:
    query = (
        tables.TaskWarning.select()
        .where(tables.TaskWarning.task_id == task_id)
        .order_by(tables.TaskWarning.warning_id)
    )
    return [row.text for row in query]
