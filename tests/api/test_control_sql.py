"""Control of tasks and machines on both kinds of database, one step at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from support.original_node import OriginalNode

from renderonline import wire
from renderonline.api.db import catalog, chunks, tasks
from renderonline.api.domain.model import Chunk, Machine, MachineState, Role
from renderonline.api.services import admin, machines
from renderonline.api.services import control as service
from renderonline.frames import FrameSet
from renderonline.wire import ChunkState

from .control import Control, started
from .test_ledger import chunk

RECIPE = {"template": "any $RENDERONLINE:start_frame $RENDERONLINE:end_frame", "values": {}}


@pytest.fixture
def any_engine(control: Control) -> int:
    engine_id = control.add_engine("any")
    admin.change(control.database, "engine", engine_id, {"render_argument": RECIPE["template"]})
    return engine_id


def split_task(control: Control, engine_id: int, todo: str = "1-10") -> int:
    """A task in the queue that is cut into chunks of five frames."""
    task_id = control.add_task(engine_id, todo)
    columns = {"todo": todo, "command": json.dumps(RECIPE), "chunk_frames": 5}
    assert control.database.transact(lambda _tx: tasks.set_task(task_id, 0, **columns))
    return task_id


def places(control: Control, task_id: int) -> tuple[str, str, str]:
    task = control.job(task_id).task
    assert task.todo is not None
    return str(task.todo), str(task.done), str(task.failed)


def test_a_task_is_paused_resumed_cancelled_and_requeued(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    task_id, ctx, user = split_task(control, any_engine), control.ctx, control.user()
    control.turn()
    service.pause(ctx, user, task_id, now=False)
    assert (control.state(task_id), machine.stops) == ("paused", [])
    machine.finish()
    control.turn()
    assert (control.state(task_id), places(control, task_id)) == ("paused", ("6-10", "1-5", ""))
    assert control.attempts(task_id) == ["succeeded"], "nobody gets a task that is paused"
    service.resume(ctx, user, task_id)
    control.turn()
    assert control.state(task_id) == "running"
    service.pause(ctx, user, task_id, now=True)
    assert (len(machine.stops), places(control, task_id)[0]) == (1, "6-10")
    service.cancel(ctx, user, task_id)
    assert not control.is_queued(task_id)
    service.requeue(ctx, user, task_id, "1-2")
    assert (control.is_queued(task_id), places(control, task_id)[0]) == (True, "1-2,6-10")
    service.requeue(ctx, user, task_id, "all")
    assert (control.is_queued(task_id), places(control, task_id)) == (True, ("1-10", "", ""))


def test_a_start_that_was_not_confirmed_is_taken_back_by_a_pause(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    """It would begin after the pause, and render all its frames."""
    control.add_machine(machine)
    task_id = split_task(control, any_engine)
    control.turn()
    (attempt,) = control.chunks(task_id)
    control.database.transact(
        lambda _tx: chunks.set_(attempt.attempt_id, attempt.state, state="assigned")
    )
    service.pause(control.ctx, control.user(), task_id, now=False)
    assert control.attempts(task_id) == ["interrupted"]
    assert places(control, task_id) == ("1-10", "", "")
    assert len(machine.stops) == 1


def test_frames_are_changed(control: Control, any_engine: int) -> None:
    task_id = split_task(control, any_engine)
    wanted = wire.TaskChange(frames="1-4,20", priority=70)
    seen = service.change(control.ctx, control.user(), task_id, wanted)
    assert (seen.task.frames, seen.task.priority, seen.task.frames_total) == ("1-4,20", 70, 5)
    assert places(control, task_id)[0] == "1-4,20"


def test_forgiving_a_machine_lets_it_try_again_at_once(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    machine_id, task_id = control.add_machine(machine), split_task(control, any_engine)
    control.turn()
    machine.finish(success=False)
    control.turn(1.1)
    columns = {"failures": 9, "not_before": control.clock.now() + timedelta(hours=1)}
    control.database.transact(lambda _tx: chunks.set_record(task_id, machine_id, False, **columns))
    control.ctx.changed(task_id)
    control.turn(5)
    assert control.attempts(task_id) == ["failed"], "it is kept away"
    version = control.job(task_id).task.version
    shown = admin.set_machine(control.database, machine_id, "forgive")
    assert (shown["state"], shown["reason"]) == ("enabled", None)
    with control.database.reading():
        found, record = catalog.machine(machine_id), chunks.record(task_id, machine_id)
        last = chunks.last_attempt_id()
    assert found is not None
    assert (found.forgiven, record.failures, record.not_before) == (last, 0, None)
    assert control.job(task_id).task.version == version + 1, "so that every api reads it again"
    control.turn(2.1)
    assert control.attempts(task_id) == ["failed", "running"]


def test_a_disabled_machine_gives_all_back_and_gets_nothing_more(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    machine_id = control.add_machine(machine)
    task_id = split_task(control, any_engine)
    control.turn()
    user = replace(control.user(), role=Role.ADMIN)
    for _ in range(2):
        assert machines.act(control.ctx, user, machine_id, "disable").state == "disabled"
    assert (control.attempts(task_id), control.state(task_id)) == (["interrupted"], "queued")
    assert (len(machine.stops), places(control, task_id)[0]) == (1, "1-10")
    control.turn()
    assert started(machine) == [task_id]
    machines.act(control.ctx, user, machine_id, "enable")
    control.turn()
    assert started(machine) == [task_id, task_id]


def test_a_draining_machine_ends_what_it_has(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    machine_id = control.add_machine(machine)
    task_id = split_task(control, any_engine)
    control.turn()
    user = replace(control.user(), role=Role.ADMIN)
    machines.act(control.ctx, user, machine_id, "drain")
    assert (control.attempts(task_id), machine.stops) == (["running"], [])
    machine.finish()
    control.turn()
    control.turn()
    assert control.attempts(task_id) == ["succeeded"]


RUNNING, AHEAD = chunk("1-5"), replace(chunk("6-10"), after=1, state=ChunkState.ASSIGNED)
BEGUN = replace(AHEAD, state=ChunkState.RUNNING)
CLAIMED = replace(RUNNING, state=ChunkState.ASSIGNED)


@pytest.mark.parametrize(
    ("state", "active", "taken"),
    [
        (MachineState.ENABLED, [RUNNING, AHEAD], []),
        (MachineState.DRAINING, [RUNNING, AHEAD], [AHEAD]),
        (MachineState.DRAINING, [BEGUN], []),
        (MachineState.DRAINING, [CLAIMED], []),
        (MachineState.BENCHED, [RUNNING, AHEAD], [AHEAD]),
        (MachineState.DISABLED, [RUNNING, AHEAD], [RUNNING, AHEAD]),
        (MachineState.DISABLED, [CLAIMED], [CLAIMED]),
    ],
)
def test_what_a_machine_must_give_back(
    state: MachineState, active: list[Chunk], taken: list[Chunk]
) -> None:
    one = Machine(1, "127.0.0.1", 5001, state=state, reason="Dust.")
    found = machines.withdrawn([one, Machine(2, "127.0.0.1", 5002)], active)
    assert [chunk for chunk, _ in found] == taken
    assert all(reason == f"The machine is {state}. Dust." for _, reason in found)
    assert machines.withdrawn([Machine(2, "127.0.0.1", 5002, state=state)], active) == []


def test_frames_of_nothing_are_nothing(control: Control, any_engine: int) -> None:
    """A task of which nobody knows the frames can be paused and cancelled as any other."""
    task_id = control.add_task(any_engine, None)
    assert control.job(task_id).task.done == FrameSet()
    service.pause(control.ctx, control.user(), task_id, now=True)
    assert control.state(task_id) == "paused"
    service.requeue(control.ctx, control.user(), task_id, "all")
    assert control.state(task_id) == "paused"
    service.cancel(control.ctx, control.user(), task_id)
    service.requeue(control.ctx, control.user(), task_id, "failed")
    assert control.state(task_id) == "queued"


def test_an_attempt_that_went_on_while_its_task_was_requeued_is_forgiven(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    task_id = split_task(control, any_engine)
    control.turn()
    service.requeue(control.ctx, control.user(), task_id, "failed")
    machine.finish(success=False)
    control.turn(1.1)
    assert (control.attempts(task_id), places(control, task_id)[2]) == (["failed"], "")


def test_a_machine_that_was_disabled_in_the_database_gives_all_back(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    """As `renderonline admin machine disable` does it, while an api runs."""
    machine_id, task_id = control.add_machine(machine), split_task(control, any_engine)
    control.turn()
    admin.set_machine(control.database, machine_id, "disable")
    control.turn(1.1)
    assert (control.attempts(task_id), control.state(task_id)) == (["interrupted"], "queued")
    assert len(machine.stops) == 1


def test_a_plan_that_is_older_than_the_drain_gives_nothing(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    machine_id = control.add_machine(machine)
    control.turn()
    task_id = split_task(control, any_engine)
    admin.set_machine(control.database, machine_id, "drain")
    control.step_dispatcher()
    assert control.attempts(task_id) == []


def test_a_task_in_one_piece_that_is_requeued_begins_at_nothing(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    machine.finish()
    control.turn()
    seen = service.requeue(control.ctx, control.user(), task_id, "all")
    assert (seen.task.state, seen.task.progress, seen.task.frames_done) == ("queued", 0.0, 0)
