"""A keeper with real processes: what its tests order from it and see of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from renderonline.engines.generic import GenericAdapter
from renderonline.engines.session import FrameSpan, Session
from renderonline.node.inputs import Place
from renderonline.node.orders import Order
from renderonline.node.process import Rendering, RenderProcess, Spawner, system_spawner
from renderonline.node.renderers import Renderer
from renderonline.node.warm import WarmRenderers
from renderonline.wire import HpcStart, Limits, Owes

STAYS_OPEN = '''
"""A renderer that stays open. argv: its project. A frame says what is done instead of rendering."""
import json, os, sys, time
print("loaded", open(sys.argv[1]).read(), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    code = 0
    for first, _last, _step in request["spans"]:
        print("frame", first, flush=True)
        if first == 404:
            code = 1
        elif first == 500:
            os._exit(9)
        elif first == 600:
            time.sleep(600)
    print(f"renderonline: chunk 0000 ended with {code}")  # whoever does not know the token
    print(f"renderonline: chunk {request['token']} ended with {code}", flush=True)
print("quit", flush=True)
'''
FAILS, DIES, HANGS = 404, 500, 600


class OpenAdapter(GenericAdapter):
    """Python as a renderer that stays open; the last argument is the frame."""

    def session(self, command: Sequence[str]) -> Session:  # type: ignore[override]
        *shared, frame = command
        span = FrameSpan(int(frame), int(frame))
        return Session(tuple(shared), (command[-2],), (span,))


@dataclass
class Kit:
    """Orders, and the processes that were started for them."""

    warm: WarmRenderers
    spawner: Spawner
    folder: Path
    started: list[RenderProcess] = field(default_factory=list)
    requests: list[bool] = field(default_factory=list)  # which of them have a pipe for requests

    def order(
        self,
        command: Sequence[str],
        renderer: Renderer,
        *,
        task_id: int = 1,
        attempt_id: int | None = 1,
    ) -> Order:
        return Order(
            task_id=task_id,
            attempt_id=attempt_id,
            renderer=renderer,
            command=tuple(command),
            place=Place(self.folder),
            owes=Owes(),
            limits=Limits(),
            report_to=None,
            start=HpcStart(engine_id="x", task_id=task_id),
        )

    def begin(self, order: Order) -> Rendering:
        def start(command: list[str], takes_requests: bool) -> RenderProcess:
            environment = {**os.environ, "PWD": str(self.folder)}
            process = RenderProcess(self.spawner, command, self.folder, environment, takes_requests)
            self.started.append(process)
            self.requests.append(takes_requests)
            return process

        return self.warm.process(order, start)

    def frame(self, number: int, **order: object) -> Rendering:
        """A chunk of STAYS_OPEN."""
        script, project = self.folder / "open.py", self.folder / "project"
        if not script.exists():
            script.write_text(STAYS_OPEN, encoding="utf-8")
            project.write_text("scene")
        is_warm = bool(order.pop("is_warm", True))
        renderer = Renderer("x", OpenAdapter(), sys.executable, (), is_warm)
        command = [sys.executable, str(script), str(project), str(number)]
        return self.begin(self.order(command, renderer, **order))  # type: ignore[arg-type]


def finish(chunk: Rendering) -> tuple[list[str], int]:
    """Its lines and its exit code."""
    lines = list(chunk.lines())
    return lines, chunk.wait()


@contextmanager
def warm_kit(folder: Path, warm: WarmRenderers) -> Iterator[Kit]:
    """A keeper with a guard of its own; what it started ends with it."""
    spawner = system_spawner()
    try:
        yield Kit(warm, spawner, folder)
    finally:
        warm.close()
        spawner.close()
