"""The other machine of the reporter's tests: a real HTTP server that takes an attempt's events."""

from __future__ import annotations

import threading

import bottle

from renderonline import wire
from renderonline.serving import JsonApp, Server, reply
from renderonline.wire import HpcStart, NodeEvent, NodeHello, NodeReport, ReportAnswer


class ListeningApi:
    """Answers reports as the api does; can be down, refuse, or give an attempt away."""

    def __init__(self, port: int = 0) -> None:
        self.reports: list[NodeReport] = []
        self.keys: set[str] = set()
        self.paths: set[str] = set()
        self.by_path: dict[str, list[NodeReport]] = {}
        self.hellos: list[NodeHello] = []
        self.next: list[HpcStart] = []  # each goes out once, with the answer to a report
        self.then: list[HpcStart] = []  # the same, behind a `next`
        self.tries = 0
        self.status = 200
        self.accepted = True
        self.location = ""  # of an answer that sends its reader elsewhere
        self._ports: set[str] = set()
        self._lock = threading.Lock()
        app = JsonApp()
        app.route("/<path:path>", "POST", self._take)
        self._server = Server(app, "127.0.0.1", port)
        self._server.start()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def events(self) -> list[NodeEvent]:
        with self._lock:
            return [event for report in self.reports for event in report.events]

    @property
    def types(self) -> list[str]:
        return [event.type.value for event in self.events]

    @property
    def connections(self) -> int:
        """How many connections brought the reports."""
        with self._lock:
            return len(self._ports)

    def close(self) -> None:
        self._server.close()

    def of(self, attempt_id: int) -> list[NodeEvent]:
        """The events of one attempt."""
        path = f"renderapi/v1/node/attempts/{attempt_id}/events"
        with self._lock:
            return [event for report in self.by_path.get(path, []) for event in report.events]

    def end_of(self, attempt_id: int) -> NodeEvent | None:
        """How an attempt ended, if that has been told."""
        events = self.of(attempt_id)
        return events[-1] if events and events[-1].type == "ended" else None

    def _take(self, path: str) -> bottle.HTTPResponse:
        if path.endswith("/hello"):
            return self._greet(wire.decode(bottle.request.body.read(), NodeHello))
        report = wire.decode(bottle.request.body.read(), NodeReport)
        with self._lock:
            self.tries += 1
            if self.status != 200:
                return bottle.HTTPResponse("no", self.status, {"Location": self.location})
            self.reports.append(report)
            self._ports.add(bottle.request.environ["REMOTE_PORT"])
            self.paths.add(path)
            self.by_path.setdefault(path, []).append(report)
            self.keys.add(bottle.request.headers.get("X-Attempt-Key", ""))
            following = self.next.pop(0) if self.next else None
            behind = self.then.pop(0) if following and self.then else None
            answer = ReportAnswer(self.accepted, "somebody else has it", following, behind)
            return reply(answer)

    def _greet(self, hello: NodeHello) -> bottle.HTTPResponse:
        with self._lock:
            self.hellos.append(hello)
            return bottle.HTTPResponse("", self.status)
