"""Variants behind the services, on both databases: the row of the whole follows those of its parts."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from support.original_node import OriginalNode

from renderonline import wire
from renderonline.api.db import chunks, tasks
from renderonline.api.domain.model import Outcome, Task
from renderonline.api.domain.transitions import ChunkEvent
from renderonline.api.services import control as service
from renderonline.api.services import states, variants
from renderonline.api.services import tasks as looking
from renderonline.api.services.enqueue import Upload, enqueue

from .control import Control, started


@pytest.fixture
def farm(control: Control) -> Control:
    control.add_engine("any")
    return control


def submit(control: Control, *names: str, **fields: Any) -> tuple[int, list[int]]:
    """A submission with these variants; its task, and theirs."""
    file = control.ctx.folders.incoming_file()
    file.write_bytes(b"a project")
    named = [wire.Variant(name=name) for name in names]
    request = wire.EnqueueRequest(engine_id="0", variants=named, **fields)
    sha256 = hashlib.sha256(b"a project").hexdigest()
    upload = Upload(file, "scene.any", 9, 1, wire.encode(request), sha256)
    task_id = enqueue(control.ctx, control.user(), upload)
    with control.database.reading():
        return task_id, [part.task_id for part in tasks.variants(task_id)]


def whole(control: Control, task_id: int) -> tuple[str, bool, bool, bool]:
    """Its state, and what the original reads of it."""
    task = control.job(task_id).task
    return task.state.value, task.is_running, task.is_success, control.is_queued(task_id)


def states_of(control: Control, task_ids: Sequence[int]) -> list[str]:
    return [control.state(task_id) for task_id in task_ids]


RUNNING = ("running", True, False, True)
QUEUED = ("queued", False, False, True)


def test_variants_are_rendered_one_after_the_other_and_the_whole_tells_it(
    farm: Control, machine: OriginalNode
) -> None:
    machine_id = farm.add_machine(machine)
    task_id, (first, second) = submit(farm, "first", "second")
    assert whole(farm, task_id) == QUEUED
    farm.turn()
    assert whole(farm, task_id) == RUNNING
    begun = farm.job(task_id).task
    assert (begun.machine_id, begun.start_time) == (machine_id, farm.job(first).task.start_time)
    machine.finish()
    farm.turn()
    assert states_of(farm, [first, second]) == ["succeeded", "running"]
    assert whole(farm, task_id) == RUNNING
    machine.finish()
    farm.turn()
    assert whole(farm, task_id) == ("succeeded", False, True, False)
    ended = farm.job(task_id).task
    assert ended.start_time == begun.start_time
    assert ended.end_time == farm.job(second).task.end_time
    assert started(machine) == [first, second], "the whole itself is on no machine"
    assert farm.chunks(task_id) == []


def test_two_machines_take_two_variants_at_once(
    farm: Control, machine: OriginalNode, other: OriginalNode
) -> None:
    farm.add_machine(machine)
    farm.add_machine(other)
    task_id, (first, second) = submit(farm, "first", "second")
    farm.turn()
    assert sorted(started(machine) + started(other)) == [first, second]
    detail = looking.detail(farm.ctx, farm.user(), task_id)
    assert [(chunk.variant, chunk.machine_id) for chunk in detail.chunks] == [
        ("first", 1),
        ("second", 2),
    ]


def test_one_that_fails_makes_the_whole_fail_once_all_are_over(
    farm: Control, machine: OriginalNode
) -> None:
    farm.add_machine(machine)
    task_id, (first, second) = submit(farm, "first", "second")
    farm.turn()
    machine.finish(success=False)
    farm.turn()
    assert states_of(farm, [first, second]) == ["failed", "running"]
    assert whole(farm, task_id) == RUNNING
    machine.finish()
    farm.turn()
    assert whole(farm, task_id) == ("failed", False, False, False)
    message = farm.job(first).task.message
    assert message
    assert farm.job(task_id).task.message == f"Variant first: {message}"
    service.requeue(farm.ctx, farm.user(), task_id, "failed")
    assert states_of(farm, [first, second]) == ["queued", "succeeded"]
    assert whole(farm, task_id) == QUEUED
    again = farm.job(task_id).task
    assert (again.message, again.cause, again.end_time) == (None, None, None)


def test_a_task_that_comes_after_one_with_variants_waits_for_all_of_them(
    farm: Control, machine: OriginalNode
) -> None:
    farm.add_machine(machine)
    task_id, (first, second) = submit(farm, "first", "second")
    after = farm.add_task(farm.job(task_id).engine.engine_id)
    columns = {"after_tasks": str(task_id), "priority": 99}
    farm.database.transact(lambda _tx: tasks.set_task(after, 0, **columns))
    for _ in range(2):
        farm.turn()
        machine.finish()
    farm.turn()
    assert states_of(farm, [first, second, task_id]) == ["succeeded"] * 3
    farm.turn()
    assert started(machine) == [first, second, after]


def test_another_api_sees_that_what_a_task_waited_for_is_over(
    farm: Control, machine: OriginalNode
) -> None:
    farm.add_machine(machine)
    beside = Control(farm.settings, beside=farm)
    task_id, (only,) = submit(farm, "only")
    after = farm.add_task(farm.job(task_id).engine.engine_id)
    farm.database.transact(lambda _tx: tasks.set_task(after, 0, after_tasks=str(task_id)))
    farm.turn()
    beside.turn(0)
    machine.finish()
    (attempt,) = farm.chunks(only)
    states.end(farm.ctx, attempt.attempt_id, ChunkEvent.SUCCEED, Outcome(True))
    assert farm.state(task_id) == "succeeded"
    beside.turn()
    beside.turn()
    assert started(machine) == [only, after]


def test_cancelling_stops_all_that_render(
    farm: Control, machine: OriginalNode, other: OriginalNode
) -> None:
    farm.add_machine(machine)
    farm.add_machine(other)
    task_id, parts = submit(farm, "first", "second", "third")
    farm.turn()
    assert states.cancel(farm.ctx, task_id, "Enough.")
    assert states_of(farm, parts) == ["cancelled"] * 3
    assert whole(farm, task_id) == ("cancelled", False, False, False)
    assert farm.job(task_id).task.message == "Enough."
    assert len(machine.stops) == len(other.stops) == 1
    assert not any(farm.is_queued(part) for part in parts)
    assert not states.cancel(farm.ctx, task_id, "Again.")


def test_pausing_and_resuming_the_whole(farm: Control) -> None:
    task_id, parts = submit(farm, "first", "second")
    service.pause(farm.ctx, farm.user(), parts[0], now=False)
    assert whole(farm, task_id) == QUEUED, "the other one may still be rendered"
    service.pause(farm.ctx, farm.user(), task_id, now=False)
    assert whole(farm, task_id) == ("paused", False, False, True)
    service.resume(farm.ctx, farm.user(), parts[1])
    assert whole(farm, task_id) == QUEUED
    service.resume(farm.ctx, farm.user(), task_id)
    assert states_of(farm, parts) == ["queued", "queued"]


def test_of_two_variants_that_change_at_the_same_moment_neither_is_overlooked(
    farm: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that rolls up first is held before its commit: the other cannot see it yet."""
    task_id, parts = submit(farm, "first", "second")
    first, second = (
        threading.Thread(target=service.pause, args=(farm.ctx, farm.user(), part, False))
        for part in parts
    )
    roll_up = variants.roll_up

    def held(*args: Any) -> None:
        roll_up(*args)
        if threading.current_thread() is first:
            second.start()
            second.join(1)  # in vain: it waits for this one's commit

    monkeypatch.setattr(variants, "roll_up", held)
    first.start()
    first.join()
    second.join()
    assert states_of(farm, parts) == ["paused", "paused"]
    assert whole(farm, task_id) == ("paused", False, False, True)


def test_two_that_delete_the_last_two_variants_leave_nothing(farm: Control) -> None:
    task_id, parts = submit(farm, "first", "second")
    folder, gate = farm.folder(task_id), threading.Barrier(2)

    def delete(part: int) -> None:
        gate.wait()
        looking.delete(farm.ctx, farm.user(), part)

    threads = [threading.Thread(target=delete, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with farm.database.reading():
        assert [tasks.job(number) for number in (task_id, *parts)] == [None] * 3
        assert not tasks.is_queued(task_id)
    assert not folder.exists()


def test_a_variant_that_was_never_rendered_holds_up_nothing_when_it_is_deleted(
    farm: Control, machine: OriginalNode
) -> None:
    farm.add_machine(machine)
    task_id, (first, second) = submit(farm, "first", "second")
    farm.turn()
    machine.finish()
    looking.delete(farm.ctx, farm.user(), second)
    farm.turn()
    assert whole(farm, task_id) == ("succeeded", False, True, False)
    assert [c.state for c in farm.chunks(first)] == ["succeeded"]


def test_a_change_of_the_whole_is_one_of_each(farm: Control) -> None:
    task_id, parts = submit(farm, "first", "second", tags=["old"])
    wanted = wire.TaskChange(tags=["gpu"], priority=3)
    service.change(farm.ctx, farm.user(), task_id, wanted)
    changed: list[Task] = [farm.job(number).task for number in (task_id, *parts)]
    assert {(task.priority, task.tags) for task in changed} == {(3, frozenset({"gpu"}))}
    with farm.database.reading():
        assert chunks.active() == []
