"""Real nodes with a renderer that a test lets go on, and the ways in which machines fail.

Owns the engine `sketch` (its project is a Python script that renders itself), what is asked of a
task while it renders, a network cable that can be cut, and a machine that is slow to take a start.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from support.original_node import Answer, OriginalNode
from support.processes import Service, service
from support.waiting import wait_until

from .house import House

# --------------------------------------------------------------------------- a renderer in the hand

SKETCH = b'''
"""Says who it is, waits until it is let go on, then writes a frame into the folder argv[1]."""
import os, subprocess, sys, time
from pathlib import Path

child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
begun = Path(f"{os.getpid()}.part")
begun.write_text(f"{os.getpid()} {child.pid}")
begun.replace(f"{os.getpid()}.begun")
while not Path(f"{os.getpid()}.go").exists():
    time.sleep(0.02)
Path(sys.argv[1], "frame_0001.txt").write_text(f"drawn by {os.getpid()}")
child.kill()
'''


@dataclass(frozen=True)
class Render:
    """One run of SKETCH, in its task's folder, with the child that it has."""

    folder: Path
    pid: int
    child_pid: int

    def let_go(self) -> None:
        """Let it draw its frame and end well."""
        (self.folder / f"{self.pid}.go").touch()

    @property
    def is_gone(self) -> bool:
        """Whether neither of the two processes is left."""
        return not any(map(_runs, (self.pid, self.child_pid)))


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_render(house: House, task_id: int, but: tuple[Render, ...] = ()) -> Render:
    """The render of this task that has begun, other than those of `but`."""
    folder = house.task_dir(task_id)
    known = {f"{render.pid}.begun" for render in but}

    def begun() -> list[Path]:
        return [file for file in folder.glob("*.begun") if file.name not in known]

    (file,) = wait_until(begun, f"task {task_id} is being drawn")
    pid, child_pid = map(int, file.read_text().split())
    return Render(folder, pid, child_pid)


# --------------------------------------------------------------------------- a house with machines


def add_machine(house: House, port: int) -> None:
    """Make a machine on loopback known to the house."""
    house.rows("INSERT INTO machines (ip_address, port) VALUES ('127.0.0.1', ?)", port)


def add_sketch(house: House) -> None:
    """Make the engine `sketch` known to the house."""
    house.rows(
        "INSERT INTO engines (name, extension, download_path, render_argument, adapter)"
        " VALUES ('sketch', '.py', '', ?, 'generic')",
        "sketch $RENDERONLINE:@uploaded_file $RENDERONLINE:@output_dir",
    )


def sketch_task(house: House) -> int:
    """A task of the engine `sketch`; its id."""
    return house.task(name="scene.py", content=SKETCH, arguments={})


@contextmanager
def sketch_node(folder: Path) -> Iterator[Service]:
    """A real node that has the engine `sketch`."""
    offered = [{"EngineId": "sketch", "ExecutablePath": sys.executable, "Adapter": "generic"}]
    with service("node", folder, {"RenderingEngines": offered}) as running:
        yield running


def attempts(house: House, task_id: int) -> list[str]:
    """The states of a task's attempts, oldest first."""
    return [chunk["State"] for chunk in house.get(f"tasks/{task_id}")["Chunks"]]


def state(house: House, task_id: int) -> str:
    return str(house.get(f"tasks/{task_id}")["Task"]["State"])


def wait_for_attempts(house: House, task_id: int, *states: str) -> None:
    wait_until(
        lambda: attempts(house, task_id) == list(states), f"task {task_id}: {', '.join(states)}"
    )


# --------------------------------------------------------------------------- how machines fail


class SlowNode(OriginalNode):
    """An original's machine that takes a start, and answers it, only when the test lets it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.was_asked = threading.Event()  # a start has arrived
        self.may_take = threading.Event()
        self.may_answer = threading.Event()

    def down(self) -> None:
        super().down()
        self.may_take.set()
        self.may_answer.set()

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        if path != "/hpc/start":
            return super().answer(method, path, body)
        self.was_asked.set()
        self.may_take.wait()
        answered = super().answer(method, path, body)
        self.may_answer.wait()
        return answered


@contextmanager
def slow_node() -> Iterator[SlowNode]:
    """One with the engine `any`, up and idle."""
    node = SlowNode(["any"])
    node.up()
    try:
        yield node
    finally:
        node.down()


class Cable:
    """A way to a port of this machine that can be cut and mended; what listens there stays up."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._ends: set[socket.socket] = set()
        self.port = 0
        self.mend()

    def mend(self) -> None:
        """Let connections through; on the same port as before."""
        self._server = _Forwarder(("127.0.0.1", self.port), self._forwarding())
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def cut(self) -> None:
        """End every connection and refuse new ones. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        for end in list(self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _forwarding(self) -> type[socketserver.BaseRequestHandler]:
        ends, to_port = self._ends, self._to_port

        class Forwarding(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(("127.0.0.1", to_port)) as far:
                    ends.update((self.request, far))
                    back = threading.Thread(target=_pump, args=(far, self.request), daemon=True)
                    back.start()
                    _pump(self.request, far)
                    back.join()
                    ends.difference_update((self.request, far))

        return Forwarding


class _Forwarder(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut; nothing to print."""


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Carry what comes until one end is closed, and close the other."""
    with suppress(OSError):
        while block := source.recv(1 << 16):
            target.sendall(block)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def cable(to_port: int) -> Iterator[Cable]:
    """A cable for as long as the block lasts."""
    laid = Cable(to_port)
    try:
        yield laid
    finally:
        laid.cut()
