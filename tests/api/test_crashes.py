"""An api or a node that is killed without a word: the next start goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.processes import Service
from support.waiting import wait_until

from .house import House, running_house
from .workshop import (
    Render,
    SlowNode,
    add_machine,
    add_sketch,
    sketch_node,
    sketch_task,
    slow_node,
    state,
    wait_for_attempts,
    wait_for_render,
)

LONG_AGO = "2001-01-01 00:00:00.000000"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An api of this test's own, which it may kill."""
    with running_house(tmp_path / "house") as running:
        add_sketch(running)
        yield running


@pytest.fixture
def slow(house: House) -> Iterator[SlowNode]:
    with slow_node() as node:
        add_machine(house, node.port)
        yield node


@pytest.fixture
def node(house: House, tmp_path: Path) -> Iterator[Service]:
    with sketch_node(tmp_path / "node") as running:
        add_machine(house, running.port)
        yield running


def begin(house: House) -> tuple[int, Render]:
    """A task that is being drawn, and known to be."""
    task_id = sketch_task(house)
    render = wait_for_render(house, task_id)
    wait_for_attempts(house, task_id, "running")
    return task_id, render


def is_idle(node: Service) -> bool:
    """Whether the node itself says that its render has ended."""
    task = requests.get(f"{node.url}/hpc/status", timeout=60).json()["Task"]
    return task is not None and not task["IsRunning"]


def frame(house: House, task_id: int) -> str:
    return (house.task_dir(task_id) / "output" / "frame_0001.txt").read_text()


# --------------------------------------------------------------------------- the api


def test_api_killed_before_its_start_arrived(house: House, slow: SlowNode) -> None:
    """The claim is in the database, the machine knows of nothing: the task is given out again."""
    task_id = house.task()
    assert slow.was_asked.wait(60)
    house.service.kill()
    slow.refuse_starts()  # what was on its way comes to nothing
    slow.may_take.set()
    slow.may_answer.set()
    wait_until(lambda: slow.starts, "the start is over")
    slow.recover()
    house.rows("UPDATE chunks SET assigned_at = ?", LONG_AGO)
    house.service.restart()
    wait_for_attempts(house, task_id, "lost", "running")
    slow.finish()
    wait_for_attempts(house, task_id, "lost", "succeeded")
    assert state(house, task_id) == "succeeded"
    assert len(slow.starts) == 2


def test_api_killed_before_it_heard_of_its_start(house: House, slow: SlowNode) -> None:
    """The machine renders, the database says assigned: the render is adopted, not repeated."""
    slow.may_take.set()
    task_id = house.task()
    wait_until(lambda: slow.task, "the machine renders")
    house.service.kill()
    slow.may_answer.set()
    house.service.restart()
    wait_for_attempts(house, task_id, "running")
    slow.finish()
    wait_for_attempts(house, task_id, "succeeded")
    assert len(slow.starts) == 1


@pytest.mark.parametrize("ends", ["while the api is down", "after the api is back"])
def test_api_killed_while_a_node_renders(house: House, node: Service, ends: str) -> None:
    task_id, render = begin(house)
    house.service.kill()
    if ends == "while the api is down":
        render.let_go()
        wait_until(lambda: is_idle(node), "the render has ended")
        house.service.restart()
    else:
        house.service.restart()
        wait_for_attempts(house, task_id, "running")
        render.let_go()
    wait_for_attempts(house, task_id, "succeeded")
    task = house.get(f"tasks/{task_id}")["Task"]
    assert (task["State"], task["IsRunning"], task["IsSuccess"]) == ("succeeded", False, True)
    assert frame(house, task_id) == f"drawn by {render.pid}"


# --------------------------------------------------------------------------- the node


def test_node_killed_while_it_renders(house: House, node: Service) -> None:
    task_id, first = begin(house)
    node.kill()
    wait_until(lambda: first.is_gone, "no process of a killed node's render is left")
    node.restart()
    second = wait_for_render(house, task_id, but=(first,))
    second.let_go()
    wait_for_attempts(house, task_id, "lost", "succeeded")
    assert state(house, task_id) == "succeeded"
    assert frame(house, task_id) == f"drawn by {second.pid}"
    wait_until(lambda: second.is_gone, "the second has ended as well")


def test_api_and_node_killed_at_once(house: House, node: Service) -> None:
    """As by a power cut: nobody is left who remembers."""
    task_id, first = begin(house)
    house.service.kill()
    node.kill()
    wait_until(lambda: first.is_gone, "nothing of the render is left")
    node.restart()
    house.service.restart()
    second = wait_for_render(house, task_id, but=(first,))
    second.let_go()
    wait_for_attempts(house, task_id, "lost", "succeeded")
    assert house.get(f"tasks/{task_id}")["Task"]["IsSuccess"] is True
