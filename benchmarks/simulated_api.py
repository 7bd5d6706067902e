"""The real api in virtual time, for scale.py: its planner, dispatcher, states, routes and database.

Owns the clock and the queue of events. Of the api all is real but its sockets and threads: reports
go through its WSGI app, and what its loops and pools would do is done here, one after the other. What
the api does costs it the CPU time that it really takes, and meanwhile everybody else waits, as for
one Python process: so latencies and makespans hold what a busy api adds to them.
"""

from __future__ import annotations

import heapq
import io
import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from unittest import mock
from wsgiref.util import setup_testing_defaults

from simulated_nodes import Answered, Node

from renderonline import wire
from renderonline.api import app
from renderonline.api.domain.model import Machine
from renderonline.api.hpc_client import HpcClient, NotDelivered
from renderonline.api.loops import DISPATCH_TICK_S, WATCH_TICK_S
from renderonline.api.services.dispatch import Dispatcher
from renderonline.api.services.watch import Watch
from renderonline.config import ApiSettings

M = TypeVar("M", bound=wire.Message)

START = datetime(2026, 1, 1, tzinfo=UTC)
NETWORK_S = 0.0005
"""One way, on a local network."""


class Timeline:
    """Virtual time: what is to happen, in order. Also the api's clock."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self._now_s)

    def monotonic(self) -> float:
        return self._now_s

    def at(self, delay_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._now_s + delay_s, next(self._numbers), event))

    def step(self) -> None:
        """Let the next thing happen."""
        self._now_s, _, event = heapq.heappop(self._events)
        event()


@dataclass
class Cost:
    """CPU of one kind of the api's work."""

    calls: int = 0
    cpu_s: float = 0.0
    largest_s: float = 0.0

    def add(self, cpu_s: float) -> None:
        self.calls += 1
        self.cpu_s += cpu_s
        self.largest_s = max(self.largest_s, cpu_s)


@dataclass
class Busy:
    """The api's one thread: jobs wait for each other, and take the CPU time that they take."""

    timeline: Timeline
    is_charged: bool = True  # False: an api that costs no time
    costs: dict[str, Cost] = field(default_factory=dict)
    _waiting: deque[tuple[str, Callable[[], Any], Callable[[Any], None]]] = field(
        default_factory=deque
    )
    _is_at_work: bool = False
    _began: float | None = None

    def do(self, kind: str, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Do `job` when its turn has come, and `done` with its result when it is over."""
        self._waiting.append((kind, job, done))
        if not self._is_at_work:
            self._next()

    def spent_s(self) -> float:
        """How long the job has been at work that is being done just now."""
        if self._began is None or not self.is_charged:
            return 0.0
        return time.thread_time() - self._began

    def _next(self) -> None:
        self._is_at_work = bool(self._waiting)
        if not self._waiting:
            return
        kind, job, done = self._waiting.popleft()
        self._began = began = time.thread_time()
        result = job()
        took_s = time.thread_time() - began
        self._began = None
        self.costs.setdefault(kind, Cost()).add(took_s)

        def over() -> None:
            done(result)
            self._next()

        self.timeline.at(took_s if self.is_charged else 0.0, over)

    @property
    def cpu_s(self) -> float:
        return sum(cost.cpu_s for cost in self.costs.values())


class SimulatedHpc(HpcClient):
    """The requests to the machines, without a network."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        """`nodes` by their address."""
        super().__init__()
        self._nodes = nodes

    def status(self, machine: Machine, headers: Mapping[str, str] | None = None) -> wire.HpcStatus:
        return _travelled(self._node(machine).status(), wire.HpcStatus)

    def start(self, machine: Machine, message: wire.HpcStart) -> wire.HpcAnswer:
        return self._node(machine).start(_travelled(message, wire.HpcStart))

    def stop(self, machine: Machine, message: wire.HpcStop) -> wire.HpcAnswer:
        return self._node(machine).stop(_travelled(message, wire.HpcStop))

    def _node(self, machine: Machine) -> Node:
        node = self._nodes[machine.ip_address]
        if not node.is_up:
            raise NotDelivered("It is away.")
        return node


def _travelled(message: M, shape: type[M]) -> M:
    """A message as it comes out of JSON at the other end."""
    return wire.decode(wire.encode(message), shape)


class AtOnce(Executor):
    """A pool that does the work on the caller's thread."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **options))
        return future


class Background:
    """The api's, likewise."""

    def __init__(self, *_: object) -> None:
        self.pool = AtOnce()

    def __call__(self, function: Callable[..., Any], *args: Any) -> None:
        function(*args)

    def close(self) -> None: ...


class Loops:
    """The api's loops: their steps are jobs here."""

    def __init__(self, timeline: Timeline, busy: Busy) -> None:
        self._timeline = timeline
        self._busy = busy
        self._is_due = False
        self.dispatcher: Dispatcher
        self.watch: Watch

    def wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._busy.do("dispatch", self._dispatch, lambda _: None)

    def _dispatch(self) -> None:
        self._is_due = False
        self.dispatcher.step()

    def start(self, dispatcher: Dispatcher, watch: Watch, *_others: object) -> None:
        self.dispatcher, self.watch = dispatcher, watch
        self._busy.do("first visits", watch.step, lambda _: self._tick_watch())
        self._tick_dispatch()

    def _tick_dispatch(self) -> None:
        self.wake()
        self._timeline.at(DISPATCH_TICK_S, self._tick_dispatch)

    def _tick_watch(self) -> None:
        def due() -> None:
            self._busy.do("watch", self.watch.step, lambda _: self._tick_watch())

        self._timeline.at(WATCH_TICK_S, due)

    def close(self) -> None: ...


class Socketless:
    """The api's server: its WSGI app is called, not connected to."""

    url = "http://api"

    def __init__(self, wsgi: Any, *_: object, **__: object) -> None:
        self._wsgi = wsgi

    def start(self) -> None: ...

    def close(self) -> None: ...

    def post(self, path: str, body: bytes, caller: str, key: str | None = None) -> bytes:
        """The body of the answer to a request."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": caller,
            "wsgi.input": io.BytesIO(body),
        }
        if key is not None:
            environ["HTTP_X_ATTEMPT_KEY"] = key
        setup_testing_defaults(environ)
        return b"".join(self._wsgi(environ, lambda *_: None))


class VirtualFarm:
    """An api and its machines in virtual time. Also the nodes' world."""

    def __init__(self, settings: ApiSettings, is_charged: bool = True) -> None:
        """`is_charged` False: an api that costs no time."""
        self.timeline = Timeline()
        self.busy = Busy(self.timeline, is_charged)
        self.nodes: dict[str, Node] = {}
        loops = Loops(self.timeline, self.busy)
        servers: list[Socketless] = []

        def server(*args: Any, **options: Any) -> Socketless:
            servers.append(Socketless(*args, **options))
            return servers[-1]

        with mock.patch.multiple(
            app,
            HpcClient=lambda: SimulatedHpc(self.nodes),
            Server=server,
            Loops=lambda **_: loops,
            Background=Background,
        ):
            self.api = app.Api(settings, self.timeline)
        self._server = servers[0]

    def add(self, node: Node) -> None:
        self.nodes[node.address] = node

    # ----------------------------------------------------------------- the nodes' world

    def now_s(self) -> float:
        return self.timeline.monotonic() + self.busy.spent_s()

    def at(self, delay_s: float, event: Callable[[], None]) -> None:
        self.timeline.at(self.busy.spent_s() + delay_s, event)

    def report(
        self, node: Node, start: wire.HpcStart, report: wire.NodeReport, answered: Answered
    ) -> None:
        path = f"/renderapi/v1/node/attempts/{start.attempt_id}/events"
        body = wire.encode(report)
        ends = any(event.type is wire.EventType.ENDED for event in report.events)
        kind = "end reports" if ends else "other reports"

        def post() -> bytes:
            return self._server.post(path, body, node.address, start.report_key)

        def over(answer: bytes) -> None:
            self.at(NETWORK_S, lambda: answered(wire.decode(answer, wire.ReportAnswer)))

        self.at(NETWORK_S, lambda: self.busy.do(kind, post, over))

    def hello(self, node: Node) -> None:
        body = wire.encode(wire.NodeHello(port=node.port))

        def post() -> bytes:
            return self._server.post("/renderapi/v1/node/hello", body, node.address)

        self.at(NETWORK_S, lambda: self.busy.do("hello", post, lambda _: None))
