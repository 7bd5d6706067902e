"""A machine that is kept from one task: why is seen from both sides, and it can be forgiven for that task.

On both kinds of database, one step at a time; over HTTP see test_control.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.original_node import OriginalNode

from renderonline import wire
from renderonline.api.db import chunks
from renderonline.api.domain.model import Role, User
from renderonline.api.services import control as service
from renderonline.api.services import machines, tasks
from renderonline.api.services.context import Refused

from .control import Control, started
from .test_control_sql import any_engine, split_task  # any_engine is a fixture

__all__ = ["any_engine"]


@pytest.fixture
def shunned(
    control: Control, any_engine: int, machine: OriginalNode, other: OriginalNode
) -> tuple[int, int]:
    """A task with a chunk on another machine, and the machine that has failed it and is kept
    from it for an hour."""
    machine_id, task_id = control.add_machine(machine), split_task(control, any_engine)
    control.turn()
    machine.finish(success=False)
    control.turn(1.1)
    until = control.clock.now() + timedelta(hours=1)
    columns = {"failures": 2, "is_avoided": True, "not_before": until}
    control.database.transact(lambda _tx: chunks.set_record(task_id, machine_id, False, **columns))
    control.ctx.changed(task_id)
    control.add_machine(other)
    control.turn()
    assert (started(machine), started(other)) == ([task_id], [task_id])
    return task_id, machine_id


def kept_from(control: Control, user: User, machine_id: int) -> list[wire.KeptFrom]:
    listed = machines.listed(control.ctx, user).machines
    return next(m.kept_from for m in listed if m.machine_id == machine_id)


def test_both_sides_say_why(control: Control, shunned: tuple[int, int]) -> None:
    task_id, machine_id = shunned
    (told,) = tasks.detail(control.ctx, control.user(), task_id).machines
    assert (told.machine_id, told.name) == (machine_id, f"machine {machine_id}")
    assert (told.failures, told.is_avoided, told.cause) == (2, True, "machine")
    assert told.not_before is not None
    assert told.not_before.startswith("2026-03-01T13:00:")
    assert told.message == control.chunks(task_id)[0].message
    assert told.message
    own = kept_from(control, control.user(), machine_id)
    assert [(kept.task_id, kept.failures, kept.message) for kept in own] == [
        (task_id, 2, told.message)
    ]
    assert kept_from(control, replace(control.user(), user_id=99, role=Role.ADMIN), machine_id)
    assert kept_from(control, replace(control.user(), user_id=99), machine_id) == []
    control.clock.pass_s(3600)
    (later,) = tasks.detail(control.ctx, control.user(), task_id).machines
    assert (later.not_before, later.is_avoided) == (None, True), "the back-off is over"


@pytest.mark.parametrize("is_named", [True, False])
def test_a_machine_that_is_forgiven_gets_the_task_at_once(
    control: Control, shunned: tuple[int, int], machine: OriginalNode, is_named: bool
) -> None:
    task_id, machine_id = shunned
    before = control.job(task_id).task
    for _ in range(2):
        wanted = machine_id if is_named else None
        detail = service.forgive(control.ctx, control.user(), task_id, wanted)
        assert detail.machines == []
    assert kept_from(control, control.user(), machine_id) == []
    after = control.job(task_id).task
    assert after.version == before.version + 2, "so that every api reads it again"
    # What was tried counts on, unless all is forgiven.
    assert after.forgiven == (0 if is_named else len(control.chunks(task_id)))
    control.turn(0.1)
    assert started(machine) == [task_id, task_id]


def test_what_succeeds_forgives_itself(
    control: Control, shunned: tuple[int, int], machine: OriginalNode
) -> None:
    task_id, machine_id = shunned
    service.forgive(control.ctx, control.user(), task_id, machine_id)
    control.turn(0.1)
    machine.finish()
    control.turn()
    assert tasks.detail(control.ctx, control.user(), task_id).machines == []


def test_only_the_owner_and_an_admin_may(control: Control, shunned: tuple[int, int]) -> None:
    task_id, machine_id = shunned
    stranger = replace(control.user(), user_id=99)
    with pytest.raises(Refused, match="You have no task"):
        service.forgive(control.ctx, stranger, task_id, machine_id)
    assert tasks.detail(control.ctx, control.user(), task_id).machines
    boss = replace(stranger, role=Role.ADMIN)
    assert service.forgive(control.ctx, boss, task_id, machine_id).machines == []
