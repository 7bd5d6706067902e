"""The other machine: an HPCServer as the original has it, on real HTTP, that does what a test says.

It answers with the original's fields and none of ours, keeps the last task until the next start,
and refuses a second one while one runs. It renders nothing: the test says when a render ends.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]
"""A status and what is answered: a value for JSON, or bytes as they are."""


@dataclass
class OriginalNode:
    """The machine and its script. Attributes may be changed at any time, from any thread."""

    engine_ids: list[str] = field(default_factory=lambda: ["blender"])
    task: dict[str, Any] | None = None  # what /hpc/status reports
    starts: list[dict[str, Any]] = field(default_factory=list)  # bodies received
    stops: list[dict[str, Any]] = field(default_factory=list)
    status_requests: int = 0
    override: dict[str, Answer] = field(default_factory=dict)
    """By path ("/hpc/start"): answer this instead of behaving."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._server: _Server | None = None
        self._port = 0
        self._started_at = 0.0

    # ------------------------------------------------------------------ what a test does to it

    def finish(self, success: bool = True) -> None:
        """The running render ends, with exit code 0 or another one."""
        with self._lock:
            assert self.task is not None, "nothing was started"
            self.task = {**self.task, "IsRunning": False, "IsSuccess": success}

    def forget(self) -> None:
        """It restarted: it knows of no task."""
        with self._lock:
            self.task = None

    def report_as(self, task_id: int) -> None:
        """Report what runs under another task's id."""
        with self._lock:
            assert self.task is not None, "nothing was started"
            self.task = {**self.task, "TaskId": task_id}

    def refuse_starts(self, message: str = "Engine with identifier not found: blender") -> None:
        """Answer every start with 400, in the original's words."""
        self.override["/hpc/start"] = (400, {"IsSuccess": False, "Message": message})

    def hang(self) -> None:
        """Take connections and requests, and answer none until `recover`."""
        self._may_answer.clear()

    def recover(self) -> None:
        """Answer again, what hung included; behave again."""
        self.override.clear()
        self._may_answer.set()

    # ------------------------------------------------------------------ the network

    @property
    def port(self) -> int:
        """The port, also while it is down."""
        return self._port

    @property
    def is_up(self) -> bool:
        """Whether it can be reached."""
        return self._server is not None

    def up(self) -> None:
        """Listen on loopback; on the same port as before, if it was up already."""
        assert self._server is None, "it is up"
        self._server = _Server(("127.0.0.1", self._port), _handler_for(self))
        self._port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def down(self) -> None:
        """Unreachable: connections are refused. What it renders goes on."""
        server, self._server = self._server, None
        self._may_answer.set()
        if server is not None:
            server.shutdown()
            server.server_close()
            server.hang_up()

    # ------------------------------------------------------------------ what it answers

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """The answer to one request. Called on the request's own thread."""
        self._may_answer.wait()
        routes: dict[tuple[str, str], Callable[[bytes], Answer]] = {
            ("GET", "/hpc/status"): self._status,
            ("POST", "/hpc/start"): self._start,
            ("POST", "/hpc/stop"): self._stop,
        }
        route = routes.get((method, path))
        if route is None:
            return 404, b""
        with self._lock:
            behaved = route(body) if path not in self.override else None
            if behaved is None:
                self._remember(path, body)
                return self.override[path]
            return behaved

    def _remember(self, path: str, body: bytes) -> None:
        if path == "/hpc/start":
            self.starts.append(_lower(body))
        elif path == "/hpc/stop":
            self.stops.append(_lower(body))
        else:
            self.status_requests += 1

    def _status(self, body: bytes) -> Answer:
        self._remember("/hpc/status", body)
        if self.task is not None and self.task["IsRunning"]:
            self.task["TotalSeconds"] = int(time.monotonic() - self._started_at)
        return 200, {"EngineIds": self.engine_ids, "Task": self.task}

    def _start(self, body: bytes) -> Answer:
        self._remember("/hpc/start", body)
        start = self.starts[-1]
        if self.task is not None and self.task["IsRunning"]:
            return 400, {"IsSuccess": False, "Message": "A render is already in progress!"}
        engine = str(start.get("engineid", ""))
        if engine.lower() not in [known.lower() for known in self.engine_ids]:
            message = f"Engine with identifier not found: {engine}"
            return 400, {"IsSuccess": False, "Message": message}
        self._started_at = time.monotonic()
        self.task = {
            "TaskId": int(start.get("taskid", 0)),
            "IsSuccess": False,
            "IsRunning": True,
            "TotalSeconds": 0,
        }
        message = f"Rendering using engine with identifier: {engine}"
        return 200, {"IsSuccess": True, "Message": message}

    def _stop(self, body: bytes) -> Answer:
        self._remember("/hpc/stop", body)
        if self.task is None or not self.task["IsRunning"]:
            return 200, {"IsSuccess": True, "Message": "There is no active render."}
        if self.task["TaskId"] != int(self.stops[-1].get("taskid", 0)):
            return 400, {"IsSuccess": False, "Message": "The active render is another task."}
        self.task = {**self.task, "IsRunning": False}
        return 200, {"IsSuccess": True, "Message": "Active render terminated!"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*arguments)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that are kept alive, as a process does that ends."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that gave up waiting is what some tests want; nothing to print."""


def _handler_for(node: OriginalNode) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answered = node.answer(self.command, self.path, body)
            if not node.is_up:  # a connection kept alive from before it went down
                self.close_connection = True
                return
            content = answered if isinstance(answered, bytes) else json.dumps(answered).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: pytest shows what the test prints."""

    return Handler


def _lower(body: bytes) -> dict[str, Any]:
    """A JSON body with its names in lower case: the original matches them in any."""
    return {str(name).lower(): value for name, value in json.loads(body or b"{}").items()}


@contextmanager
def original_node(engine_ids: list[str] | None = None) -> Iterator[OriginalNode]:
    """A machine of the original's, up and idle."""
    node = OriginalNode(engine_ids or ["blender"])
    node.up()
    try:
        yield node
    finally:
        node.down()
