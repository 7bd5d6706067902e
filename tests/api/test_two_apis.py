"""Two api processes over one database: neither takes from the other, each can go on alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.original_node import Answer, OriginalNode
from support.processes import Service, end_all, write_config
from support.waiting import wait_until

from renderonline.api.app import open_database
from renderonline.api.services import admin
from renderonline.config import ApiSettings, parse

from .house import House, fill
from .workshop import attempts, state, wait_for_attempts


class CountingNode(OriginalNode):
    """Remembers which starts it has taken."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.taken: list[int] = []

    def _start(self, body: bytes) -> Answer:
        status, said = super()._start(body)
        if status == 200:
            self.taken.append(int(self.starts[-1]["taskid"]))
        return status, said


@dataclass
class Pair:
    """Two apis and two machines."""

    apis: list[House]
    nodes: list[CountingNode]

    def starter(self) -> tuple[House, House, CountingNode]:
        """The api that has started the farm's one render, the other one, and the machine."""
        (node,) = (node for node in self.nodes if node.starts)
        url = node.starts[0]["apiurl"]
        first, second = self.apis
        return (first, second, node) if first.service.url == url else (second, first, node)


@pytest.fixture
def pair(connection_string: str, tmp_path: Path) -> Iterator[Pair]:
    """Over one empty database, of each kind, and one data folder."""
    raw: dict[str, Any] = {
        "ConnectionString": connection_string,
        "Port": "0",
        "Host": "127.0.0.1",
        "PollSeconds": 0.2,
    }
    with ExitStack() as stack:
        nodes = [CountingNode(["any"]) for _ in range(2)]
        for node in nodes:
            node.up()
            stack.callback(node.down)
        data = tmp_path / "data"
        database = open_database(parse(ApiSettings, {**raw, "DataPath": str(data)}, tmp_path)[0])
        people = fill(database)
        for node in nodes:
            admin.add(database, "machine", {"ip_address": "127.0.0.1", "port": node.port})
        database.close()
        apis = []
        for name in ("first", "second"):
            folder = tmp_path / name
            config = write_config(folder / "RenderAPI.json", {**raw, "DataPath": str(data)})
            service = Service("api", config)
            stack.callback(end_all, [service])
            apis.append(House(tmp_path, service, Path(), data, None, people))
        yield Pair(apis, nodes)


def test_each_task_is_started_once(pair: Pair) -> None:
    """Six wait when the machines come up, which both apis see at about the same time."""
    for node in pair.nodes:
        node.down()
    ids = [pair.apis[number % 2].task() for number in range(6)]
    for node in pair.nodes:
        node.up()
    with finishing(pair.nodes):
        for task_id in ids:
            wait_until(lambda t=task_id: state(pair.apis[0], t) == "succeeded", "all six are done")
    assert sorted(pair.nodes[0].taken + pair.nodes[1].taken) == sorted(ids)
    assert [node.task and node.task["IsRunning"] for node in pair.nodes] == [False, False]


def finishing(nodes: list[CountingNode]) -> ExitStack:
    """While the block lasts, every render ends a moment after it began."""
    done = threading.Event()

    def finish() -> None:
        while not done.wait(0.05):
            for node in nodes:
                if node.task is not None and node.task["IsRunning"]:
                    node.finish()

    thread = threading.Thread(target=finish, daemon=True)
    thread.start()
    stack = ExitStack()
    stack.callback(thread.join)
    stack.callback(done.set)
    return stack


def test_one_ends_what_the_other_began(pair: Pair) -> None:
    """The one that had started it is killed; a render that runs is not started again."""
    task_id = pair.apis[0].task()
    wait_for_attempts(pair.apis[0], task_id, "running")
    starter, other, node = pair.starter()
    starter.service.kill()
    node.finish()
    wait_for_attempts(other, task_id, "succeeded")
    assert state(other, task_id) == "succeeded"
    assert len(node.starts) == 1


def test_one_takes_a_report_for_the_other(pair: Pair) -> None:
    """As when the node's api is behind an address that several share."""
    task_id = pair.apis[0].task()
    wait_for_attempts(pair.apis[0], task_id, "running")
    starter, other, node = pair.starter()
    start = node.starts[0]
    event = {"Type": "ended", "IsSuccess": True, "ExitCode": 0, "FramesDone": 3}
    answer = other.request(
        "POST",
        f"node/attempts/{start['attemptid']}/events",
        json={"Sequence": 1, "Events": [event]},
        headers={"X-Attempt-Key": start["reportkey"]},
    )
    assert (answer.status_code, answer.json()["Accepted"]) == (200, True)
    assert attempts(starter, task_id) == ["succeeded"]


def test_one_cancels_what_the_other_began(pair: Pair) -> None:
    task_id = pair.apis[0].task()
    wait_for_attempts(pair.apis[0], task_id, "running")
    _, other, node = pair.starter()
    assert other.request("POST", "dequeue", json={"TaskId": task_id}).status_code == 200
    wait_until(lambda: node.task and not node.task["IsRunning"], "the render is stopped")
    assert {stop["taskid"] for stop in node.stops} == {task_id}
    assert len(node.taken) == 1
