"""When tasks will be done, as their detail and their list say it, on both kinds of database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.original_node import OriginalNode

from renderonline import wire
from renderonline.api.db import chunks, tasks
from renderonline.api.domain.forecast import NOT_KNOWN, PAUSED
from renderonline.api.services import control as service
from renderonline.api.services import tasks as looking
from renderonline.wire import TaskState

from .control import Control
from .test_control_sql import any_engine, split_task

__all__ = ["any_engine"]


def measured(control: Control, task_id: int, frame_s: float, **columns: object) -> None:
    """A machine that is gone has rendered ten frames of the task."""
    known = {"frames": 10, "render_s": 10 * frame_s} | columns
    control.database.transact(lambda _tx: chunks.set_record(task_id, 99, True, **known))
    control.ctx.changed(task_id)


def left(control: Control, task_id: int) -> tuple[int | None, str | None]:
    task = looking.detail(control.ctx, control.user(), task_id).task
    return task.eta_seconds, task.eta_unknown


def test_who_waits_is_told_when_it_is_over(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    first, second, third = (split_task(control, any_engine, "1-10") for _ in range(3))
    control.turn()
    assert left(control, first) == (None, NOT_KNOWN)
    for task_id in (first, second):
        measured(control, task_id, 60.0)
    control.add_machine(machine)
    control.turn(0.0)  # it gets five frames of the first
    control.turn(0.6)
    assert control.attempts(first) == ["running"]
    told = {task_id: left(control, task_id)[0] for task_id in (first, second)}
    assert told == {first: pytest.approx(600, abs=60), second: pytest.approx(1200, abs=60)}
    assert left(control, third) == (None, NOT_KNOWN)
    listed = looking.page(control.ctx, control.user(), None, None, 10).tasks
    assert {item.task.task_id: item.task.eta_seconds for item in listed} == told | {third: None}
    control.clock.pass_s(0.3)
    assert left(control, second)[0] == told[second], "asked again at once it is not made anew"


def test_paused_late_and_dependent_tasks_say_what_they_can(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    task_ids = [split_task(control, any_engine, "1-10") for _ in range(4)]
    paused, late, behind, ended = task_ids
    for task_id in task_ids:
        measured(control, task_id, 6.0)
    ctx, user = control.ctx, control.user()
    start_at = (control.clock.now() + timedelta(seconds=1000)).isoformat()
    service.change(ctx, user, late, wire.TaskChange(start_at=start_at))
    service.change(ctx, user, behind, wire.TaskChange(after=[paused]))
    service.pause(ctx, user, paused, now=True)
    service.cancel(ctx, user, ended)
    control.step_dispatcher()
    control.turn(0.6)
    assert left(control, paused) == (None, PAUSED)
    assert left(control, late)[0] == pytest.approx(1060, abs=5)
    why = f"It waits for task {paused}, whose end is not known."
    assert left(control, behind) == (None, why)
    assert left(control, ended) == (None, None)
    service.resume(ctx, user, paused)
    control.turn(0.6)
    assert left(control, behind)[0] == pytest.approx(120, abs=5)


def test_a_variant_takes_what_another_one_took(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    """Also one that is over, and so not in the queue any more."""
    control.add_machine(machine)
    first, second, whole = (split_task(control, any_engine, "1-10") for _ in range(3))
    measured(control, first, 7.0, startup_s=3.0, is_warm=True)

    def make_family(_tx: object) -> None:
        for task_id, name in ((first, "a"), (second, "b")):
            version = tasks.locked(task_id).task.version  # type: ignore[union-attr]
            assert tasks.set_task(task_id, version, parent_id=whole, variant=name)
        assert tasks.set_task(whole, 1, variant="", state=TaskState.PAUSED.value)

    control.database.transact(make_family)
    service.cancel(control.ctx, control.user(), first)
    with control.database.reading():
        assert chunks.family_paces([whole, 77]) == {whole: (7.0, 3.0, True)}
    control.step_dispatcher()
    assert control.attempts(second) == []
    assert left(control, second) == (None, "No machine that takes work could render it.")
    control.turn(0.6)
    control.turn(0.6)
    assert left(control, second)[0] == pytest.approx(3 + 70, abs=8)
    assert left(control, whole)[0] == left(control, second)[0]
