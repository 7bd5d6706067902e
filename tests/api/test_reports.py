"""What the api believes of a report: that it is its attempt's, that it is new, and that it matters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.original_node import OriginalNode, original_node
from support.waiting import wait_until

from .house import House
from .workshop import add_machine, state, wait_for_attempts

SUCCESS = {"Type": "ended", "IsSuccess": True, "ExitCode": 0}
FAILURE = {"Type": "ended", "IsSuccess": False, "ExitCode": 1, "Cause": "scene", "Message": "No."}


@pytest.fixture(scope="module")
def only_machine(house: House) -> Iterator[OriginalNode]:
    with original_node(["any"]) as node:
        add_machine(house, node.port)
        yield node


@pytest.fixture
def machine(house: House, only_machine: OriginalNode) -> Iterator[OriginalNode]:
    """The house's only machine, idle. What it renders ends with the test."""
    yield only_machine
    only_machine.finish()
    active = "SELECT * FROM chunks WHERE state IN ('assigned', 'running')"
    wait_until(lambda: not house.rows(active), "nothing runs any more")


def running_task(house: House, machine: OriginalNode) -> tuple[int, dict[str, Any]]:
    """A task that runs, and the start message that its machine got."""
    task_id = house.task()
    wait_for_attempts(house, task_id, "running")
    return task_id, machine.starts[-1]


def report(
    house: House, start: dict[str, Any], sequence: int, *events: dict[str, Any], key: str = ""
) -> requests.Response:
    """Report as the node of this start would; `key` other than its own."""
    return house.request(
        "POST",
        f"node/attempts/{start['attemptid']}/events",
        json={"Sequence": sequence, "Events": events},
        headers={"X-Attempt-Key": key or start["reportkey"], "email": "", "token": ""},
    )


def accepted(answer: requests.Response) -> bool:
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["Accepted"])


def test_report_ends_its_task(house: House, machine: OriginalNode) -> None:
    """The others show that reports change nothing; this one, that they could."""
    task_id, start = running_task(house, machine)
    assert accepted(report(house, start, 1, SUCCESS))
    assert state(house, task_id) == "succeeded"


@pytest.mark.parametrize("event", [SUCCESS, FAILURE], ids=["success", "failure"])
def test_late_report_of_a_lost_attempt(
    house: House, machine: OriginalNode, event: dict[str, Any]
) -> None:
    task_id, first = running_task(house, machine)
    machine.forget()
    wait_for_attempts(house, task_id, "lost", "running")
    before = house.snapshot()
    assert not accepted(report(house, first, 1, event))
    assert house.snapshot() == before
    second = machine.starts[-1]
    assert second["attemptid"] != first["attemptid"]
    assert accepted(report(house, second, 1, SUCCESS))
    wait_for_attempts(house, task_id, "lost", "succeeded")


def test_report_of_a_cancelled_attempt(house: House, machine: OriginalNode) -> None:
    task_id, start = running_task(house, machine)
    assert house.request("POST", "dequeue", json={"TaskId": task_id}).status_code == 200
    before = house.snapshot()
    assert not accepted(report(house, start, 1, SUCCESS)), "it is told to stop"
    assert house.snapshot() == before


@pytest.mark.parametrize("key", ["wrong", "-", "ключ".encode().decode("latin-1")])
def test_report_with_a_wrong_key(house: House, machine: OriginalNode, key: str) -> None:
    _, start = running_task(house, machine)
    before = house.snapshot()
    answer = report(house, start, 1, SUCCESS, key=key)
    assert answer.status_code == 401
    assert answer.json()["Error"] == "unauthorized"
    assert house.snapshot() == before


def test_key_opens_its_own_attempt_only(house: House, machine: OriginalNode) -> None:
    task_id, first = running_task(house, machine)
    machine.forget()
    wait_for_attempts(house, task_id, "lost", "running")
    second = machine.starts[-1]
    assert report(house, second, 1, SUCCESS, key=first["reportkey"]).status_code == 401
    assert report(house, first, 1, SUCCESS, key=second["reportkey"]).status_code == 401
    assert state(house, task_id) == "running"


def test_repeated_report(house: House, machine: OriginalNode) -> None:
    """Its sender did not get our answer, and is to hear the same again."""
    task_id, start = running_task(house, machine)
    progress = {"Type": "progress", "Progress": 0.5, "FramesDone": 1}
    warning = {"Type": "warning", "Message": "A texture is missing."}
    assert accepted(report(house, start, 7, progress, warning))
    before = house.snapshot()
    for sequence in (7, 6):
        more = {"Type": "progress", "Progress": 0.9, "FramesDone": 2}
        assert accepted(report(house, start, sequence, more, FAILURE))
        assert house.snapshot() == before
    assert accepted(report(house, start, 8, SUCCESS))
    ended = house.snapshot()
    assert accepted(report(house, start, 8, SUCCESS)), "said again, since the answer was lost"
    assert not accepted(report(house, start, 9, FAILURE)), "the attempt is over"
    assert house.snapshot() == ended
    detail = house.get(f"tasks/{task_id}")
    assert (detail["Task"]["State"], detail["Warnings"]) == ("succeeded", ["A texture is missing."])


def test_progress_never_goes_back(house: House, machine: OriginalNode) -> None:
    task_id, start = running_task(house, machine)
    for sequence, progress in ((1, 0.5), (2, 0.25), (3, -1e300), (4, None)):
        event = {"Type": "progress", "Progress": progress, "FramesDone": int(sequence == 1)}
        assert accepted(report(house, start, sequence, event))
        task = house.get(f"tasks/{task_id}")["Task"]
        assert (task["Progress"], task["FramesDone"]) == (0.5, 1)
    asked = machine.status_requests
    wait_until(lambda: machine.status_requests > asked + 1, "the machine's own status has come")
    assert house.get(f"tasks/{task_id}")["Task"]["Progress"] == 0.5


def test_log_stayed_quiet(house: House) -> None:
    house.assert_quiet()
