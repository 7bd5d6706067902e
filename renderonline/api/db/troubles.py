"""Which machines have failed which tasks, and are kept from them, as people ask for it.

Inside a reading; see `chunks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from renderonline.api.db import tables
from renderonline.api.domain.model import Trouble
from renderonline.api.domain.transitions import QUEUED_TASK
from renderonline.wire import Cause, ChunkState

_QUEUED = [state.value for state in QUEUED_TASK]


def of_tasks(task_ids: Sequence[int]) -> list[Trouble]:
    """Of these tasks, by task and machine."""
    return _found(tables.Record.task_id.in_(list(task_ids))) if task_ids else []


def of_queue(user_id: int | None) -> list[Trouble]:
    """Of every task that is in the queue; with a user of theirs only."""
    wanted = tables.Task.state.in_(_QUEUED)
    return _found(wanted if user_id is None else wanted & (tables.Task.user_id == user_id))


def _found(wanted: Any) -> list[Trouble]:
    record = tables.Record
    query: Any = (
        record.select()
        .join(tables.Task, on=(tables.Task.task_id == record.task_id))
        .where(wanted, record.failures > 0)
        .order_by(record.task_id, record.machine_id)
    )
    known = list(query)
    last = _last_failures(sorted({row.task_id for row in known}))
    return [
        Trouble(
            row.task_id,
            row.machine_id,
            row.failures,
            bool(row.is_avoided),
            row.not_before,
            *last.get((row.task_id, row.machine_id), (None, None)),
        )
        for row in known
    ]


def _last_failures(
    task_ids: Sequence[int],
) -> dict[tuple[int, int], tuple[Cause | None, str | None]]:
    """Cause and message of the last failure of each of these tasks on each machine."""
    if not task_ids:
        return {}
    chunk = tables.Chunk
    newest: Any = (
        chunk.select(peewee.fn.MAX(chunk.attempt_id))
        .where(chunk.task_id.in_(list(task_ids)), chunk.state == ChunkState.FAILED.value)
        .group_by(chunk.task_id, chunk.machine_id)
        .tuples()
    )
    attempts = [attempt_id for (attempt_id,) in newest]
    query: Any = (
        chunk.select(chunk.task_id, chunk.machine_id, chunk.cause, chunk.message)
        .where(chunk.attempt_id.in_(attempts))
        .tuples()
    )
    return {
        (task_id, machine_id): (None if cause is None else Cause(cause), message)
        for task_id, machine_id, cause, message in (query if attempts else ())
    }
