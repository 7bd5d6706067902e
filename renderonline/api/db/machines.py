"""Writes that concern one machine and many tasks. See `chunks` for where they may be called."""

from __future__ import annotations

from typing import Any

from renderonline.api.db import chunks, tables
from renderonline.api.domain.transitions import QUEUED_TASK

_QUEUED = [state.value for state in QUEUED_TASK]


def forgive(machine_id: int) -> None:
    """Forget all that the machine has failed. Every api reads the tasks that this is about again."""
    chunks.forgive(machine_id=machine_id)
    known: Any = tables.Record.select(tables.Record.task_id).where(
        tables.Record.machine_id == machine_id
    )
    tables.Task.update(version=tables.Task.version + 1).where(
        tables.Task.task_id.in_(known), tables.Task.state.in_(_QUEUED)
    ).execute()
    tables.Machine.update(forgiven=chunks.last_attempt_id()).where(
        tables.Machine.machine_id == machine_id
    ).execute()
