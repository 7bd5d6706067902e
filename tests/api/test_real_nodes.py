"""The api with real nodes: events without a poll, and renders that must not go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from support.processes import Service
from support.waiting import wait_until

from .house import House, running_house
from .workshop import (
    Cable,
    add_machine,
    add_sketch,
    attempts,
    cable,
    sketch_node,
    sketch_task,
    state,
    wait_for_attempts,
    wait_for_render,
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An api whose machines are this test's alone."""
    with running_house(tmp_path / "house") as running:
        add_sketch(running)
        yield running


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Service]:
    with sketch_node(tmp_path / "node") as running:
        yield running


@pytest.fixture
def line(house: House, node: Service) -> Iterator[Cable]:
    """The way from the api to the node."""
    with cable(node.port) as laid:
        add_machine(house, laid.port)
        yield laid


def test_everything_happens_without_a_poll(tmp_path: Path, node: Service) -> None:
    """Start, end and the next start, while the machines are asked once an hour."""
    with running_house(tmp_path / "house", PollSeconds=3600) as house:
        add_sketch(house)
        add_machine(house, node.port)
        first, second = sketch_task(house), sketch_task(house)
        render = wait_for_render(house, first)
        assert attempts(house, second) == []
        render.let_go()
        wait_for_attempts(house, first, "succeeded")
        wait_for_render(house, second).let_go()
        wait_for_attempts(house, second, "succeeded")


def test_cancelled_task_is_stopped(house: House, line: Cable) -> None:
    task_id = sketch_task(house)
    render = wait_for_render(house, task_id)
    assert house.request("POST", "dequeue", json={"TaskId": task_id}).status_code == 200
    assert state(house, task_id) == "cancelled"
    wait_until(lambda: render.is_gone, "the render is stopped")
    next_id = sketch_task(house)
    wait_for_render(house, next_id).let_go()
    wait_for_attempts(house, next_id, "succeeded")


def test_task_cancelled_while_its_machine_is_away(house: House, line: Cable, node: Service) -> None:
    """Stopped when the machine is back, also by an api that was started anew meanwhile; sooner if
    the machine reports by itself before that."""
    task_id = sketch_task(house)
    render = wait_for_render(house, task_id)
    wait_for_attempts(house, task_id, "running")
    line.cut()
    assert house.request("POST", "dequeue", json={"TaskId": task_id}).status_code == 200
    assert state(house, task_id) == "cancelled"
    assert house.service.terminate() == 0
    house.service.restart()
    line.mend()
    wait_until(lambda: render.is_gone, "the render is stopped")

    def message() -> str | None:
        said = requests.get(f"{node.url}/hpc/status", timeout=60).json()["Task"]["Message"]
        return None if said is None else str(said)

    wait_until(message, "its node has noticed")
    assert "Taken out of the queue" in (message() or "")
    assert attempts(house, task_id) == ["interrupted"]


def test_deleted_running_task_leaves_nothing(house: House, line: Cable) -> None:
    task_id = sketch_task(house)
    render = wait_for_render(house, task_id)
    assert house.request("POST", "delete", json={"TaskId": task_id}).status_code == 200
    assert not render.folder.exists()
    wait_until(lambda: render.is_gone, "no process is left")
    assert house.rows("SELECT * FROM chunks") == house.rows("SELECT * FROM tasks") == []


def test_lost_render_ends_too_late(
    house: House, tmp_path: Path, line: Cable, node: Service
) -> None:
    """Its machine was away, and another one has the task: the end that it reports is not heard."""
    with ExitStack() as stack:
        task_id = sketch_task(house)
        first = wait_for_render(house, task_id)
        wait_for_attempts(house, task_id, "running")
        line.cut()
        other = stack.enter_context(sketch_node(tmp_path / "other"))
        add_machine(house, other.port)
        second = wait_for_render(house, task_id, but=(first,))
        wait_for_attempts(house, task_id, "lost", "running")
        first.let_go()
        wait_until(lambda: "attempt 1 is stopped" in node.stderr, "its node has heard so")
        assert attempts(house, task_id) == ["lost", "running"]
        second.let_go()
        wait_for_attempts(house, task_id, "lost", "succeeded")
