"""Reads and writes of tasks, their renders and the queue.

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

from renderonline.api.db import rows, statements, tables
from renderonline.api.db.connection import is_mysql
from renderonline.api.domain import model
from renderonline.api.domain.transitions import QUEUED_TASK
from renderonline.wire import TaskState

_QUEUED = [state.value for state in QUEUED_TASK]


_JOB = (tables.Task, tables.Render, tables.Engine)
_JOIN = (
    "`tasks` JOIN `renders` ON `renders`.`render_id` = `tasks`.`render_id`"
    " JOIN `engines` ON `engines`.`engine_id` = `renders`.`engine_id`"
    " WHERE `tasks`.`task_id` = ?"
)


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


def job(task_id: int, for_update: bool = False) -> model.Job | None:
    """The task with all it is made of.

    `for_update`: until the transaction ends nobody else changes it. On SQLite the transaction has
    the write lock already; on MySQL the task's row is locked first.
    """
    if for_update and is_mysql():
        statements.lock(tables.Task, "task_id", task_id)
    for task, render, engine in statements.select_joined(_JOB, _JOIN, task_id):
        return model.Job(rows.task(task), rows.render(render), rows.engine(engine))
    return None


def jobs(
    user_id: int | None,
    limit: int,
    below: int | None = None,
    state: str | None = None,
    but_variants: bool = False,
) -> list[model.Job]:
    """Newest first. `user_id` None: everybody's. `below`: only ids under it, for paging."""
    query = _jobs().order_by(tables.Task.task_id.desc()).limit(limit)
    if user_id is not None:
        query = query.where(tables.Task.user_id == user_id)
    if below is not None:
        query = query.where(tables.Task.task_id < below)
    if state is not None:
        query = query.where(tables.Task.state == state)
    if but_variants:
        query = query.where(tables.Task.parent_id.is_null())
    return [rows.job(row) for row in query]


def variants(parent_id: int) -> list[model.Task]:
    """The variants of a task, as they were submitted; none of any other."""
    found = statements.select(tables.Task, "WHERE `parent_id` = ? ORDER BY `task_id`", parent_id)
    return [rows.task(row) for row in found]


def locked(task_id: int) -> model.Job | None:
    """The task, which until the transaction ends nobody else changes."""
    return job(task_id, for_update=True)


def versions() -> dict[int, int]:
    """The version of each task that has not ended, by its id."""
    query: Any = (
        tables.Task.select(tables.Task.task_id, tables.Task.version)
        .where(tables.Task.state.in_(_QUEUED))
        .tuples()
    )
    return dict(query)


def place_in_queue(task_id: int) -> tuple[int, float] | None:
    """The number of the task's row in `queue` and its user's weight; None if it has no such row."""
    query: Any = (
        tables.Queue.select(tables.Queue.queue_id, tables.Subscription.weight)
        .join(tables.Task, on=(tables.Task.task_id == tables.Queue.task_id))
        .join(tables.User, peewee.JOIN.LEFT_OUTER, on=(tables.User.user_id == tables.Task.user_id))
        .join(
            tables.Subscription,
            peewee.JOIN.LEFT_OUTER,
            on=(tables.Subscription.subscription_id == tables.User.subscription_id),
        )
        .where(tables.Queue.task_id == task_id)
        .order_by(tables.Queue.queue_id)
        .tuples()
    )
    row = query.first()
    return None if row is None else (int(row[0]), float(row[1] or 1.0))


def states_of(task_ids: Sequence[int]) -> dict[int, TaskState]:
    """The state of each of these that there is."""
    query: Any = tables.Task.select(tables.Task.task_id, tables.Task.state).where(
        tables.Task.task_id.in_(list(task_ids))
    )
    return {number: TaskState(state) for number, state in query.tuples()} if task_ids else {}


def queued_count(user_id: int) -> int:
    """How many of the user's tasks have a row in `queue`, running ones too. One with variants
    counts once."""
    return int(
        tables.Queue.select(peewee.fn.COUNT(tables.Queue.queue_id))
        .join(tables.Task, on=(tables.Task.task_id == tables.Queue.task_id))
        .where(tables.Task.user_id == user_id, tables.Task.parent_id.is_null())
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


def add(
    user_id: int,
    queue_time: datetime,
    render: dict[str, Any],
    frames: str | None,
    **columns: Any,
) -> int:
    """A new task in the queue; its id. `render` and `columns`: of `renders`, and more of `tasks`."""
    render_id = tables.Render.insert(**render).execute()
    task_id = tables.Task.insert(
        user_id=user_id,
        queue_time=queue_time,
        is_running=0,
        is_success=0,
        render_id=render_id,
        state=TaskState.QUEUED.value,
        frames=frames,
        **columns,
    ).execute()
    enqueue(task_id)
    return int(task_id)


def enqueue(task_id: int) -> None:
    """Give the task its row in `queue`."""
    tables.Queue.insert(task_id=task_id).execute()


def set_task(task_id: int, version: int, **columns: Any) -> bool:
    """Write `columns` if the task is still at `version`; whether it was."""
    columns["version"] = version + 1
    return statements.update(
        tables.Task, columns, "`task_id` = ? AND `version` = ?", task_id, version
    )


def unqueue(task_id: int) -> None:
    tables.Queue.delete().where(tables.Queue.task_id == task_id).execute()


def delete(task_id: int, render_id: int) -> None:
    """The task and all that is about it."""
    unqueue(task_id)
    for table in (tables.Chunk, tables.Record):
        table.delete().where(table.task_id == task_id).execute()
    tables.TaskWarning.delete().where(tables.TaskWarning.task_id == task_id).execute()
    tables.Task.delete().where(tables.Task.task_id == task_id).execute()
    tables.Render.delete().where(tables.Render.render_id == render_id).execute()


def has_render_in(folder: str) -> bool:
    """Whether a render's project lies in this folder."""
    # A folder holds one project; its separator is the platform's.
    query = tables.Render.select().where(tables.Render.file_path.startswith(folder))
    return any((row.folder or str(PurePath(row.file_path).parent)) == folder for row in query)


# --------------------------------------------------------------------------- warnings

MAX_WARNINGS = 50
"""Most warnings kept of one task; a scene can have thousands of missing textures."""


def add_warning(task_id: int, text: str, now: datetime, always: bool = False) -> None:
    """Keep a warning, unless it is there already or (not `always`) there are too many."""
    text = text[:500]
    present = [
        row.text for row in tables.TaskWarning.select().where(tables.TaskWarning.task_id == task_id)
    ]
    if text not in present and (always or len(present) < MAX_WARNINGS):
        tables.TaskWarning.insert(task_id=task_id, text=text, created_at=now).execute()


def warnings(task_id: int) -> list[str]:
    query = (
        tables.TaskWarning.select()
        .where(tables.TaskWarning.task_id == task_id)
        .order_by(tables.TaskWarning.warning_id)
    )
    return [row.text for row in query]
