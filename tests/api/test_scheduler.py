"""The eight failures of the original's scheduler, each a test of ours, and what belongs to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.original_node import Answer, OriginalNode
from support.processes import Service, end_all, write_config
from support.waiting import wait_until

from renderonline.api.app import open_database
from renderonline.api.domain.reconcile import START_GRACE
from renderonline.api.services import admin
from renderonline.api.services import tasks as task_services
from renderonline.api.services.context import Refused
from renderonline.api.services.watch import LOST_AFTER_POLLS
from renderonline.config import ApiSettings, parse

from .control import POLL_S, Control, started
from .house import FRAMES, House, fill, running_house


@pytest.fixture
def any_engine(control: Control) -> int:
    return control.add_engine("any")


# --------------------------------------------------------------------------- 1


def test_unreachable_machine_keeps_nobody_waiting(
    control: Control, any_engine: int, machine: OriginalNode, other: OriginalNode
) -> None:
    """In the original it throws out of the loop over machines."""
    control.add_machine(machine)
    control.add_machine(other)
    machine.down()
    first, second = control.add_task(any_engine), control.add_task(any_engine)
    control.turn()
    assert (control.state(first), control.state(second)) == ("running", "queued")
    other.finish()
    control.turn()
    assert (control.state(first), control.state(second)) == ("succeeded", "running")
    assert started(other) == [first, second]


def test_machine_that_goes_between_question_and_start(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    control.turn()
    task_id = control.add_task(any_engine)
    machine.down()
    control.step_dispatcher()
    job = control.job(task_id)
    assert job.task.state == "queued"
    assert (job.task.start_time, job.task.machine_id) == (None, None), "as one that waits"
    machine.up()
    control.turn()
    assert control.state(task_id) == "running"


@pytest.mark.parametrize(
    "answer",
    [(200, b"<html>"), (200, b""), (500, b""), (404, b"null"), (200, {"EngineIds": 5})],
)
def test_what_answers_nonsense_is_no_machine(
    control: Control, any_engine: int, machine: OriginalNode, other: OriginalNode, answer: Answer
) -> None:
    control.add_machine(machine)
    control.add_machine(other)
    machine.override["/hpc/status"] = answer
    task_id = control.add_task(any_engine)
    control.turn()
    assert (started(machine), started(other)) == ([], [task_id])


# --------------------------------------------------------------------------- 2


@pytest.mark.parametrize("success", [True, False])
def test_another_tasks_end_is_not_this_ones(
    control: Control, any_engine: int, machine: OriginalNode, success: bool
) -> None:
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    machine.report_as(task_id + 1000)
    machine.finish(success)
    control.turn()
    assert control.attempts(task_id)[0] == "lost"
    assert control.state(task_id) == "running", "it was given out again"
    machine.finish()
    control.turn()
    assert control.state(task_id) == "succeeded"


# --------------------------------------------------------------------------- 3


def test_machine_that_restarted_has_lost_its_render(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    machine.forget()
    control.turn()
    assert control.attempts(task_id) == ["lost", "running"]
    assert started(machine) == [task_id, task_id]
    assert control.chunks(task_id)[0].message


def test_machine_that_is_away_for_long_has_lost_its_render(
    control: Control, any_engine: int, machine: OriginalNode, other: OriginalNode
) -> None:
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    machine.down()
    for _ in range(LOST_AFTER_POLLS):
        control.turn()
        assert control.attempts(task_id) == ["running"], "it may come back"
    control.turn()
    assert control.attempts(task_id) == ["lost"]
    assert control.state(task_id) == "queued"
    control.add_machine(other)
    control.turn()
    assert started(other) == [task_id]


def test_machine_that_comes_back_in_time_goes_on(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    machine.down()
    for _ in range(LOST_AFTER_POLLS - 1):
        control.turn()
    machine.up()
    control.turn()
    machine.down()
    for _ in range(LOST_AFTER_POLLS):
        control.turn()
    machine.up()
    machine.finish()
    control.turn()
    assert control.attempts(task_id) == ["succeeded"]
    assert started(machine) == [task_id]


def test_machine_that_was_removed_has_lost_its_render(
    control: Control, any_engine: int, machine: OriginalNode, other: OriginalNode
) -> None:
    machine_id = control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    admin.remove(control.database, "machine", machine_id)
    control.add_machine(other)
    control.turn()
    assert control.attempts(task_id) == ["lost", "running"]
    assert started(other) == [task_id]


# --------------------------------------------------------------------------- 4


@pytest.mark.parametrize("success", [True, False])
def test_start_time_stays_what_it_was(
    control: Control, any_engine: int, machine: OriginalNode, success: bool
) -> None:
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    began = control.job(task_id).task.start_time
    assert began == control.ctx.local_now()
    control.turn()
    machine.finish(success)
    control.turn()
    task = control.job(task_id).task
    assert task.start_time == began
    assert task.end_time == began + timedelta(seconds=2 * POLL_S)
    assert (task.is_running, task.is_success) == (False, success)
    assert task.state == ("succeeded" if success else "failed")
    assert not control.is_queued(task_id)
    assert success or task.message, "a failure says something"


# --------------------------------------------------------------------------- 5


def test_dequeued_task_is_over_and_stopped(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    control.clock.pass_s(7)
    task_services.dequeue(control.ctx, control.user(), task_id)
    task = control.job(task_id).task
    assert (task.is_running, task.is_success, task.state) == (False, False, "cancelled")
    assert task.end_time == control.ctx.local_now()
    assert not control.is_queued(task_id)
    assert [stop["taskid"] for stop in machine.stops] == [task_id]
    assert control.attempts(task_id) == ["interrupted"]
    later = control.add_task(any_engine)
    control.turn(0)
    assert started(machine) == [task_id, later], "the machine is free at once"


def test_deleted_task_is_stopped_first(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    """The original leaves the process running, in a folder that is gone."""
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    folder = control.folder(task_id)
    task_services.delete(control.ctx, control.user(), task_id)
    assert [stop["taskid"] for stop in machine.stops] == [task_id]
    assert not folder.exists()
    with pytest.raises(Refused):
        task_services.delete(control.ctx, control.user(), task_id)


def test_deletion_does_not_wait_for_a_machine_that_is_away(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    folder = control.folder(task_id)
    machine.down()
    task_services.delete(control.ctx, control.user(), task_id)
    assert not folder.exists()


def test_task_cancelled_while_its_machine_was_away_is_stopped(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    machine.down()
    task_services.dequeue(control.ctx, control.user(), task_id)
    assert control.state(task_id) == "cancelled"
    assert machine.stops == []
    machine.up()
    control.turn()
    assert [stop["taskid"] for stop in machine.stops] == [task_id]
    assert machine.task is not None
    assert machine.task["IsRunning"] is False
    later = control.add_task(any_engine)
    control.turn()
    assert started(machine) == [task_id, later]


def test_a_render_that_is_not_ours_is_left_alone(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    """Somebody starts a render on the machine by hand, under a number that we know nothing of."""
    control.add_machine(machine)
    machine.task = {"TaskId": 4711, "IsSuccess": False, "IsRunning": True, "TotalSeconds": 5}
    task_id = control.add_task(any_engine)
    control.turn()
    assert (machine.stops, started(machine)) == ([], [])
    machine.finish()
    control.turn()
    assert started(machine) == [task_id]


# --------------------------------------------------------------------------- 6


def test_machine_is_offered_what_it_has(
    control: Control, any_engine: int, machine: OriginalNode, other: OriginalNode
) -> None:
    povray = control.add_engine("povray")
    machine.engine_ids = ["PovRay", "maya"]
    control.add_machine(machine)
    control.add_machine(other)
    nobodys = control.add_task(control.add_engine("houdini"))
    task_id = control.add_task(any_engine)
    second = control.add_task(povray)
    control.turn()
    assert (started(machine), started(other)) == ([second], [task_id])
    assert control.state(nobodys) == "queued"


def test_machine_that_gets_an_engine_is_offered_it(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    machine.engine_ids = []
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    control.turn()
    assert started(machine) == []
    machine.engine_ids = ["ANY"]
    control.turn()
    assert started(machine) == [task_id]


# --------------------------------------------------------------------------- a machine that refuses


def test_refused_task_waits_and_is_offered_again(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    task_id = control.add_task(any_engine)
    machine.refuse_starts("No room.")
    control.turn()
    task = control.job(task_id).task
    assert (task.state, task.start_time, task.machine_id) == ("queued", None, None)
    assert control.is_queued(task_id)
    detail = task_services.detail(control.ctx, control.user(), task_id)
    assert detail.warnings == ["The machine refused: No room."]
    control.turn(0)
    assert started(machine) == [task_id], "not at once again"
    for _ in range(10):
        control.turn()
    assert 2 < len(started(machine)) <= 8, "ever more seldom"
    assert len(control.chunks(task_id)) == 1, "one row tells it as well as ten"
    machine.recover()
    for _ in range(5):
        control.turn()
    assert control.state(task_id) == "running"


def test_refused_task_goes_to_the_other_machine(
    control: Control, any_engine: int, machine: OriginalNode, other: OriginalNode
) -> None:
    control.add_machine(machine)
    control.add_machine(other)
    machine.refuse_starts()
    first, second = control.add_task(any_engine), control.add_task(any_engine)
    control.turn()
    assert (started(machine), started(other)) == ([first], [second])
    other.finish()
    control.turn()
    control.turn(0)  # whether or not the first machine was offered it once more
    assert started(other) == [second, first]


def test_start_whose_answer_was_lost_is_not_repeated(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    """The machine may have started: only it can tell, and it does."""
    control.add_machine(machine)
    control.turn()
    task_id = control.add_task(any_engine)
    machine.override["/hpc/start"] = (200, b"garbage")
    control.step_dispatcher()
    assert control.attempts(task_id) == ["assigned"]
    machine.recover()
    machine.task = {"TaskId": task_id, "IsSuccess": False, "IsRunning": True, "TotalSeconds": 0}
    control.turn(0)
    assert control.attempts(task_id) == ["running"]
    assert len(machine.starts) == 1


def test_start_that_never_arrived_is_repeated_after_a_while(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    control.turn()
    task_id = control.add_task(any_engine)
    machine.override["/hpc/start"] = (200, b"garbage")
    control.step_dispatcher()
    machine.recover()
    control.turn(0)
    assert control.attempts(task_id) == ["assigned"]
    control.turn(START_GRACE.total_seconds())
    assert control.attempts(task_id) == ["lost", "running"]


# --------------------------------------------------------------------------- 7


@pytest.fixture
def slow_house(tmp_path: Path) -> Iterator[House]:
    """An api that polls once an hour: what happens in a test happens without the poll."""
    with running_house(tmp_path / "house", PollSeconds=3600) as running:
        yield running


def add_machine(house: House, node: OriginalNode) -> None:
    house.rows("INSERT INTO machines (ip_address, port) VALUES ('127.0.0.1', ?)", node.port)


def test_task_starts_at_once_and_past_a_machine_that_hangs(
    slow_house: House, machine: OriginalNode, other: OriginalNode
) -> None:
    machine.hang()
    add_machine(slow_house, machine)
    add_machine(slow_house, other)
    wait_until(lambda: other.status_requests, "the machine has been asked")
    task_id = slow_house.task()
    wait_until(lambda: started(other) == [task_id], "the task runs without a poll")


def test_end_that_is_reported_is_noticed_at_once(slow_house: House, machine: OriginalNode) -> None:
    add_machine(slow_house, machine)
    first, second = slow_house.task(), slow_house.task()
    wait_until(lambda: started(machine) == [first], "the first runs")
    machine.finish()
    start = machine.starts[0]
    report = {"Sequence": 1, "Events": [{"Type": "ended", "IsSuccess": True, "ExitCode": 0}]}
    answer = slow_house.request(
        "POST",
        f"node/attempts/{start['attemptid']}/events",
        json=report,
        headers={"X-Attempt-Key": start["reportkey"]},
    )
    assert answer.json()["Accepted"] is True
    assert slow_house.get(f"tasks/{first}")["Task"]["State"] == "succeeded"
    assert answer.json()["Next"]["TaskId"] == second, "without a poll, with the answer"


# --------------------------------------------------------------------------- 8, and test_two_apis


def test_machine_that_another_api_has_given_a_task_is_left_alone(
    control: Control, any_engine: int, machine: OriginalNode, other: OriginalNode
) -> None:
    """An original node tells of its last render only: a start would hide how the one before ended."""
    control.add_machine(machine)
    second_api = Control(control.settings, beside=control)
    control.turn()
    second_api.turn(0)  # both have seen the machine idle
    first, second = control.add_task(any_engine), control.add_task(any_engine)
    control.step_dispatcher()
    machine.finish()  # noticed by nobody yet
    second_api.ctx.changed(second)
    second_api.step_dispatcher()
    assert started(machine) == [first]
    second_api.turn(1)
    assert control.attempts(first) == ["succeeded"]
    assert started(machine) == [first, second]


def test_two_submissions_at_once_keep_the_limit(connection_string: str, tmp_path: Path) -> None:
    """Eight at a time where three have room: three are taken, on either database."""
    raw: dict[str, Any] = {
        "ConnectionString": connection_string,
        "Port": "0",
        "Host": "127.0.0.1",
        "DataPath": str(tmp_path / "data"),
    }
    database = open_database(parse(ApiSettings, raw, tmp_path)[0])
    people = fill(database)
    admin.change(database, "subscription", "Default", {"queue_limit": 3})
    database.close()
    service = Service("api", write_config(tmp_path / "RenderAPI.json", raw))
    house = House(tmp_path, service, Path(), tmp_path / "data", None, people)
    statuses: list[int] = []
    together = threading.Barrier(8)

    def submit() -> None:
        together.wait()
        statuses.append(house.enqueue(arguments=FRAMES).status_code)

    try:
        threads = [threading.Thread(target=submit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200] * 3 + [403] * 5
        assert len(house.get("info")["Tasks"]) == 3
        projects = list((house.data / "projects").rglob("*.any"))
        assert len(projects) == 3
    finally:
        end_all([service])
