"""A machine that takes its time, or never answers, costs nobody else any.

The api runs in this process, with time-outs longer than a test may last: what happens at all
happens while the machine still hangs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from support.original_node import Answer, OriginalNode, original_node
from support.processes import Service
from support.waiting import wait_until

from renderonline import wire
from renderonline.api import hpc_client
from renderonline.api.app import Api
from renderonline.config import ApiSettings
from renderonline.lifecycle import SystemClock

from .house import House, fill
from .workshop import SlowNode, add_machine, attempts, slow_node, state, wait_for_attempts

FOR_EVER_S = 3600.0
AT_ONCE_S = 0.1


@pytest.fixture
def slow() -> Iterator[SlowNode]:
    with slow_node() as node:
        yield node


@pytest.fixture
def quick() -> Iterator[OriginalNode]:
    with original_node(["any"]) as node:
        yield node


@contextmanager
def house_here(folder: Path, machines: list[OriginalNode], poll_s: float = 0.2) -> Iterator[House]:
    """An api in this process. Its machines are gone before it ends, so that nobody waits for them."""
    file = folder / "farm.sqlite3"
    settings = ApiSettings(
        connection_string=f"sqlite:///{file.as_posix()}",
        data_path=folder / "data",
        port=0,
        poll_seconds=poll_s,
    )
    api = Api(settings, SystemClock())
    # All that a house's requests ask of its service is its address.
    house = House(folder, cast(Service, api), file, settings.data_path, None, fill(api.database))
    for machine in machines:
        add_machine(house, machine.port)
    api.start()
    try:
        yield house
    finally:
        for machine in machines:
            machine.down()
        api.close()
        wait_until(lambda: not busy_threads(), "the api's threads have ended")


def busy_threads() -> list[str]:
    """Threads of the api's pools: they must not reach into the next test's database."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("start_", "visit_"))]


def let_wait(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(hpc_client, "START_TIMEOUT_S", seconds)
    monkeypatch.setattr(hpc_client, "STATUS_TIMEOUT_S", FOR_EVER_S)


def test_start_that_hangs_delays_no_other(
    slow: SlowNode, quick: OriginalNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_wait(monkeypatch, FOR_EVER_S)
    with house_here(tmp_path, [slow, quick]) as house:
        first = house.task()
        assert slow.was_asked.wait(60)
        others = [house.task(), house.task()]
        for task_id in others:
            wait_for_attempts(house, task_id, "running")
            quick.finish()
            wait_for_attempts(house, task_id, "succeeded")
        assert attempts(house, first) == ["assigned"]
        assert (slow.starts, len(quick.starts)) == ([], 2)


def test_status_that_hangs_delays_no_other(
    slow: SlowNode, quick: OriginalNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_wait(monkeypatch, FOR_EVER_S)
    slow.hang()
    with house_here(tmp_path, [slow, quick]) as house:
        for _ in range(2):
            task_id = house.task()
            wait_for_attempts(house, task_id, "running")
            quick.finish()
            wait_for_attempts(house, task_id, "succeeded")
        assert slow.status_requests == 0, "it hangs to this moment"


def test_machine_that_hangs_hinders_nobody_who_asks(
    slow: SlowNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request to a machine is made with the database held."""
    let_wait(monkeypatch, FOR_EVER_S)
    with house_here(tmp_path, [slow]) as house:
        task_id = house.task()
        assert slow.was_asked.wait(60)
        assert house.get("info")["Tasks"][0]["Task"]["State"] == "running"
        assert house.request("POST", "dequeue", json={"TaskId": task_id}).status_code == 200
        assert state(house, task_id) == "cancelled"


def test_start_that_was_taken_but_not_answered_in_time(
    slow: SlowNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_wait(monkeypatch, AT_ONCE_S)
    slow.may_take.set()
    with house_here(tmp_path, [slow]) as house:
        task_id = house.task()
        wait_for_attempts(house, task_id, "running")
        slow.finish()
        wait_for_attempts(house, task_id, "succeeded")
        assert len(slow.starts) == 1


class ReportingNode(SlowNode):
    """A machine of ours, which is trusted to report: it is not asked often."""

    def _status(self, body: bytes) -> Answer:
        code, said = super()._status(body)
        task = said["Task"] and {**said["Task"], "AttemptId": self.starts[-1]["attemptid"]}
        return code, {**said, "Task": task, "Protocol": wire.PROTOCOL}


def test_task_cancelled_while_its_start_is_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop overtakes the start: the machine is told again when it says that it has begun."""
    let_wait(monkeypatch, FOR_EVER_S)
    slow = ReportingNode(["any"])
    slow.up()
    with house_here(tmp_path, [slow], poll_s=FOR_EVER_S) as house:
        task_id = house.task()
        assert slow.was_asked.wait(60)
        asked = slow.status_requests
        assert house.request("POST", "dequeue", json={"TaskId": task_id}).status_code == 200
        wait_until(lambda: slow.stops, "the machine has been told to stop what it has not begun")
        wait_until(lambda: slow.status_requests > asked, "it was asked after that; now no more")
        slow.may_take.set()
        slow.may_answer.set()
        wait_until(lambda: slow.task and not slow.task["IsRunning"], "the render is stopped")
        assert state(house, task_id) == "cancelled"
