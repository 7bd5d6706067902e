"""A node that is killed and started again: what it ends, what it tells, and to whom it says hello."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.processes import Service, service
from support.waiting import wait_until

from renderonline.node import hello as hello_module
from renderonline.node.api_client import Api, ApiClient
from renderonline.node.hello import Hello
from renderonline.wire import Cause

from .fake_api import ListeningApi
from .remote import Json, Remote, ours, patient
from .renderers import BLENDER, TREE, family, is_alive, wait_until_gone, write_script

ENGINES = [
    {"EngineId": "python", "ExecutablePath": sys.executable, "Adapter": "generic"},
    {"EngineId": "blender", "ExecutablePath": sys.executable, "Adapter": "blender"},
]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Service]:
    with ExitStack() as running:
        yield running.enter_context(service("node", tmp_path, settings(tmp_path)))


def settings(folder: Path, **more: Any) -> Json:
    return {"Port": "0", "RenderingEngines": ENGINES, "DataPath": str(folder / "data"), **more}


def journal(folder: Path) -> list[Path]:
    """Its entries; one that is being replaced is a `.part` for a moment."""
    found = list((folder / "data" / "journal").iterdir())
    return sorted({file.with_suffix(".json"): file for file in found}.values())


def told(api: ListeningApi) -> Json:
    """Where a start's reports go."""
    return {"ApiUrl": api.url, "ReportKey": "k"}


def test_a_render_that_was_running_is_lost_but_not_its_frames(
    node: Service, tmp_path: Path, project: Path, api: ListeningApi
) -> None:
    output, gates = project / "output", project / "gates"
    gates.mkdir()
    script = write_script(project, BLENDER)
    start = ours(project, script, str(output), str(gates), "1", "2", "3", **told(api))
    remote = Remote(node.url)
    remote.start(**start | {"EngineId": "blender", "Owes": {"Frames": "1-3"}})
    waiting, _ = patient(project / "next", 4, After=3, TaskDir=str(project), **told(api))
    remote.start(**waiting)
    for frame in ("1", "2"):
        (gates / frame).touch()
    wait_until(
        lambda: any(b'"1-2"' in file.read_bytes() for file in journal(tmp_path)),
        "two frames are written down",
    )
    wait_until(lambda: api.of(3), "its start is told")
    boot = remote.status()["Boot"]
    node.kill()
    assert len(journal(tmp_path)) == 2
    node.restart()
    end = wait_until(lambda: api.end_of(3), "the running one's end is told")
    assert (end.is_success, end.cause, end.frames) == (False, Cause.LOST, "1-2")
    assert "restarted" in (end.message or "")
    end = wait_until(lambda: api.end_of(4), "the waiting one's end is told")
    assert (end.is_success, end.cause, end.frames) == (False, Cause.INTERRUPTED, None)
    wait_until(lambda: not journal(tmp_path), "nothing is left to tell")
    status = Remote(node.url).status()
    assert (status["Task"], status["Tasks"]) == (None, [])
    assert status["Boot"] != boot
    sequences = [report.sequence for report in api.by_path[_path(3)]]
    assert sequences == sorted(set(sequences))
    hello = wait_until(lambda: api.hellos, "it has said hello")[0]
    assert (hello.port, hello.boot) == (node.port, status["Boot"])


def _path(attempt_id: int) -> str:
    return f"renderapi/v1/node/attempts/{attempt_id}/events"


@pytest.mark.parametrize("end", [Service.kill, Service.terminate])
def test_an_end_that_could_not_be_told_is_told_by_the_next_start(
    node: Service, tmp_path: Path, project: Path, api: ListeningApi, end: Any
) -> None:
    """Nothing that was finished is rendered again."""
    api.status = 500
    remote = Remote(node.url)
    script = write_script(project, "open('output/frame', 'w').write('x'); print('done')")
    start = ours(project, script, **told(api))
    remote.start(**start)
    assert remote.ended()["IsSuccess"]
    end(node)
    node.restart()
    remote = Remote(node.url)
    (held,) = remote.status()["Tasks"]
    assert (held["AttemptId"], held["IsSuccess"], held["IsRunning"]) == (3, True, False)
    remote.start(**start)  # its answer was lost before the node ended
    assert remote.status()["Task"] is None
    remote.start(**start | {"ReportKey": "another database's", "ApiUrl": None})
    assert remote.ended()["AttemptId"] == 3
    api.status = 200
    told_end = wait_until(lambda: api.end_of(3), "the end is told")
    assert (told_end.is_success, told_end.exit_code) == (True, 0)
    wait_until(lambda: not journal(tmp_path), "nothing is left to tell")


@pytest.mark.skipif(sys.platform == "win32", reason="a job ends with its node in any case")
def test_an_orphan_that_nobody_has_ended_is_ended(
    node: Service, tmp_path: Path, project: Path, api: ListeningApi
) -> None:
    """Node and guard are killed at once."""
    start = ours(project, write_script(project, TREE), str(project / "pids"), **told(api))
    Remote(node.url).start(**start)
    pids = family(project / "pids")
    (guard,) = (
        child for child in psutil.Process(node.pid).children() if "guard" in child.cmdline()[-1]
    )
    guard.suspend()  # so that it does not see the node's end
    node.kill()
    guard.kill()
    assert all(map(is_alive, pids))
    node.restart()
    wait_until_gone(pids)
    end = wait_until(lambda: api.end_of(3), "the end is told")
    assert end.cause is Cause.LOST
    assert "outlived its node" in node.stderr


def test_two_nodes_with_one_data_folder_leave_each_other_alone(
    node: Service, tmp_path: Path, project: Path, api: ListeningApi
) -> None:
    start, end = patient(project, **told(api))
    Remote(node.url).start(**start)
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    with service("node", other_folder, settings(tmp_path)):
        pass
    assert Remote(node.url).task()["IsRunning"]
    end.touch()
    told_end = wait_until(lambda: api.end_of(3), "the end is told")
    assert told_end.cause is not Cause.LOST


def test_a_node_that_is_told_its_api_says_hello(tmp_path: Path, api: ListeningApi) -> None:
    with service("node", tmp_path, settings(tmp_path, Api=f"{api.url}/")) as node:
        (hello,) = wait_until(lambda: api.hellos, "it has said hello")
        status = Remote(node.url).status()
        assert (hello.port, hello.boot) == (node.port, status["Boot"])


class Node:
    """What a hello is about."""

    boot = "b"
    idle = True

    def is_idle(self) -> bool:
        return self.idle


@pytest.fixture
def hello(api: ListeningApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hello]:
    """A hello to the api that is set, which beats quickly. Not started."""
    monkeypatch.setattr(hello_module, "EVERY_S", 0.05)
    monkeypatch.setattr(hello_module, "RETRY_FIRST_S", 0.05)
    client = ApiClient()
    hello = Hello(client, Api(api.url), 5001, Node())
    yield hello
    hello.close()
    client.close()


def test_it_says_hello_from_time_to_time(hello: Hello, api: ListeningApi) -> None:
    hello.start()
    wait_until(lambda: len(api.hellos) >= 5, "it goes on")


def test_it_says_nothing_while_it_renders(api: ListeningApi, hello: Hello) -> None:
    busy = Node()
    busy.idle = False
    client = ApiClient()
    quiet = Hello(client, Api(api.url), 5002, busy)
    quiet.start()
    hello.start()
    wait_until(lambda: len([h for h in api.hellos if h.port == 5001]) >= 5, "the other goes on")
    assert len([h for h in api.hellos if h.port == 5002]) == 1
    quiet.again()  # its versions are known by now
    wait_until(lambda: len([h for h in api.hellos if h.port == 5002]) == 2, "it says so")
    quiet.close()
    client.close()


def test_it_says_hello_until_it_is_answered(hello: Hello, api: ListeningApi) -> None:
    port = api.port
    api.close()
    hello.start()
    again = ListeningApi(port)
    try:
        wait_until(lambda: again.hellos, "it is answered")
    finally:
        again.close()


def test_without_an_api_it_greets_whom_the_journal_names(api: ListeningApi) -> None:
    client = ApiClient()
    node = Node()
    hello = Hello(client, None, 5001, node)
    hello.greet([Api(api.url)])
    hello.start()
    wait_until(lambda: api.hellos, "it has said hello")
    hello.close()
    nobody = Hello(client, None, 5001, node)
    nobody.greet([])
    nobody.start()
    nobody.again()
    nobody.close()
    client.close()
