"""The other machine of the reporter's tests: a real HTTP server that takes an attempt's events."""

from __future__ import annotations

import threading

import bottle

from renderonline import wire
from renderonline.serving import JsonApp, Server, reply
from renderonline.wire import NodeEvent, NodeReport, ReportAnswer


class ListeningApi:
    """Answers reports as the api does; can be down, refuse, or give an attempt away."""

    def __init__(self, port: int = 0) -> None:
        self.reports: list[NodeReport] = []
        self.keys: set[str] = set()
        self.paths: set[str] = set()
        self.tries = 0
        self.status = 200
        self.accepted = True
        self.location = ""  # of an answer that sends its reader elsewhere
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

    def close(self) -> None:
        self._server.close()

    def _take(self, path: str) -> bottle.HTTPResponse:
        report = wire.decode(bottle.request.body.read(), NodeReport)
        with self._lock:
            self.tries += 1
            if self.status != 200:
                return bottle.HTTPResponse("no", self.status, {"Location": self.location})
            self.reports.append(report)
            self.paths.add(path)
            self.keys.add(bottle.request.headers.get("X-Attempt-Key", ""))
            return reply(ReportAnswer(accepted=self.accepted, message="somebody else has it"))
