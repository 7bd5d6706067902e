"""`renderonline node` as a service manager sees it: ready, stopped, killed, misconfigured."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from support.processes import Service, run_cli, service, write_config
from support.waiting import wait_until

from .renderers import TREE, family, is_alive, wait_until_gone, write_script

PYTHON = {"EngineId": "python", "ExecutablePath": sys.executable, "Adapter": "generic"}


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "Port": "0",
        "RenderingEngines": [PYTHON],
        "DataPath": str(folder / "data"),
        **more,
    }


def start_tree(node: Service, folder: Path) -> list[int]:
    """Start a render with a family on the node; all their pids."""
    body = {
        "EngineId": "python",
        "TaskId": 7,
        "AttemptId": 1,
        "Argv": [write_script(folder, TREE), str(folder / "pids")],
        "TaskDir": str(folder),
        "OutputDir": str(folder / "output"),
    }
    answer = requests.post(f"{node.url}/hpc/start", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return family(folder / "pids")


@pytest.mark.parametrize("end", [Service.terminate, Service.interrupt])
def test_a_stop_ends_the_render_and_all_it_started(
    tmp_path: Path, end: Callable[[Service], int]
) -> None:
    with service("node", tmp_path, settings(tmp_path)) as node:
        pids = start_tree(node, tmp_path / "project")
        helpers = [child.pid for child in psutil.Process(node.pid).children()]
        assert end(node) == 0
        assert not any(map(is_alive, [*pids, *helpers]))
        assert node.stdout_lines == [f"listening on {node.url}"]
        assert "Traceback" not in node.stderr


def test_a_killed_node_takes_its_renders_along(tmp_path: Path) -> None:
    with service("node", tmp_path, settings(tmp_path)) as node:
        pids = start_tree(node, tmp_path / "project")
        boot = requests.get(f"{node.url}/hpc/status", timeout=120).json()["Boot"]
        node.kill()
        wait_until_gone(pids)
        node.restart()
        status = requests.get(f"{node.url}/hpc/status", timeout=120).json()
        assert status["Task"] is None
        assert status["Boot"] != boot


def test_ctrl_c_in_a_terminal_reaches_the_node_only(tmp_path: Path) -> None:
    """A terminal signals the whole foreground group; the renderer must end by the node's hand."""
    with service("node", tmp_path, settings(tmp_path)) as node:
        pids = start_tree(node, tmp_path / "project")
        groups = {psutil.Process(pid).pid: _group(pid) for pid in [node.pid, *pids]}
        assert groups.pop(node.pid) not in groups.values()


def _group(pid: int) -> int:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[2])


def refused(folder: Path, **more: Any) -> str:
    """The one sentence on stderr of a node that cannot start."""
    config = write_config(folder / "HPCServer.json", settings(folder, **more))
    done = run_cli("node", "--config", config, home=folder / "home", expected_exit=2)
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    return line


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = refused(tmp_path, Port=str(port))
    assert f"Cannot listen on 127.0.0.1:{port}" in line
    assert "`Port`" in line


@pytest.mark.parametrize("path", ["/no/such/blender", "no-such-program-on-path"])
def test_a_missing_executable_is_named_at_the_start(tmp_path: Path, path: str) -> None:
    line = refused(tmp_path, RenderingEngines=[{"EngineId": "x", "ExecutablePath": path}])
    file = tmp_path / "HPCServer.json"
    assert line.startswith(f"{file}: RenderingEngines: ExecutablePath of 'x'")
    assert path in line


def test_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    line = refused(tmp_path, DataPath="/dev/null/data")
    assert line.startswith("DataPath: the folder /dev/null/data cannot be used")


def test_an_open_node_says_so_loudly(tmp_path: Path) -> None:
    with service("node", tmp_path, settings(tmp_path, Host="0.0.0.0", Colour="red")) as node:
        assert "OPEN TO THE NETWORK: Host is 0.0.0.0" in node.stderr
        assert "unknown key 'Colour'" in node.stderr
        assert node.url == f"http://127.0.0.1:{node.port}"
        assert requests.get(f"{node.url}/hpc/status", timeout=120).status_code == 200
        assert node.terminate() == 0


def test_a_closed_node_does_not(tmp_path: Path) -> None:
    with service("node", tmp_path, settings(tmp_path)) as node:
        assert "OPEN" not in node.stderr


def test_no_guard_is_left_behind(tmp_path: Path) -> None:
    with service("node", tmp_path, settings(tmp_path)) as node:
        (guard,) = psutil.Process(node.pid).children()
        line = wait_until(guard.cmdline, "it has begun")
        assert line[-1] == "renderonline.node.guard"
        assert node.terminate() == 0
        assert not is_alive(guard.pid)


def test_the_guard_is_offered_to_nobody(tmp_path: Path) -> None:
    done = run_cli("nope", home=tmp_path, expected_exit=2)
    assert "'node'" in done.stderr, "the error lists what there is"
    assert "guard" not in done.stderr


def test_the_guard_can_be_a_command_of_the_program() -> None:
    """How a frozen program starts it."""
    argv = [sys.executable, "-m", "renderonline", "node-guard"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as guard:
        assert guard.stdin is not None
        guard.stdin.close()
        assert guard.wait(120) == 0
