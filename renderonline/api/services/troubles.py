"""What machines have failed of tasks, as their owners and admins see it: kept apart, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from renderonline import wire
from renderonline.api.db import catalog, troubles
from renderonline.api.domain.model import Job, Machine, Role, Trouble, User
from renderonline.api.services.context import Context

MOST_SHOWN = 20
"""How many tasks a machine's view names that it is kept from, the newest."""


def of_tasks(ctx: Context, parts: Sequence[Job]) -> list[wire.TaskMachine]:
    """The machines that have failed these, which are one task or its variants. Inside a reading."""
    found = troubles.of_tasks([part.task.task_id for part in parts])
    variants = {part.task.task_id: part.task.variant for part in parts}
    names = {m.machine_id: m for m in catalog.machines()} if found else {}
    now = ctx.clock.now()
    return [
        wire.TaskMachine(
            machine_id=trouble.machine_id,
            name=name_of(names.get(trouble.machine_id), trouble.machine_id),
            failures=trouble.failures,
            is_avoided=trouble.is_avoided,
            not_before=_to_come(trouble.not_before, now),
            cause=trouble.cause,
            message=trouble.message,
            variant=variants[trouble.task_id] or None,
        )
        for trouble in found
    ]


def of_machines(ctx: Context, user: User) -> Mapping[int, list[wire.KeptFrom]]:
    """By machine, the user's tasks in the queue (an admin's: all) that it is kept from just now.
    Inside a reading."""
    now = ctx.clock.now()
    found: dict[int, list[wire.KeptFrom]] = defaultdict(list)
    for trouble in reversed(troubles.of_queue(None if user.role is Role.ADMIN else user.user_id)):
        not_before = _to_come(trouble.not_before, now)
        its = found[trouble.machine_id]
        if (trouble.is_avoided or not_before) and len(its) < MOST_SHOWN:
            its.append(_kept_from(trouble, not_before))
    return found


def name_of(machine: Machine | None, machine_id: int) -> str:
    """What people call it, where its address is nobody's business."""
    return machine.name if machine and machine.name else f"machine {machine_id}"


def _kept_from(trouble: Trouble, not_before: str | None) -> wire.KeptFrom:
    return wire.KeptFrom(
        task_id=trouble.task_id,
        failures=trouble.failures,
        is_avoided=trouble.is_avoided,
        not_before=not_before,
        cause=trouble.cause,
        message=trouble.message,
    )


def _to_come(moment: datetime | None, now: datetime) -> str | None:
    if moment is None or moment <= now:
        return None
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
