"""The api's scheduler without its threads: one step at a time, its clock in the test's hand.

Everything else is real: the database, the services, the requests to the machines.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.original_node import OriginalNode

from renderonline.api.app import open_database
from renderonline.api.db import catalog, chunks, tasks
from renderonline.api.domain.model import Chunk, Job, User
from renderonline.api.hpc_client import HpcClient
from renderonline.api.services import admin
from renderonline.api.services.board import Board
from renderonline.api.services.context import Context
from renderonline.api.services.dispatch import Dispatcher
from renderonline.api.services.fleet import Fleet
from renderonline.api.services.forecasts import Forecasts
from renderonline.api.services.starts import Addresses, Starts
from renderonline.api.services.stop import Stopper
from renderonline.api.services.storekeeping import Storekeeper
from renderonline.api.services.stores import open_stores
from renderonline.api.services.watch import Watch
from renderonline.config import ApiSettings
from renderonline.wire import HpcStart

POLL_S = 15.0


class HandClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self._start = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self._passed_s = 0.0

    def pass_s(self, seconds: float) -> None:
        self._passed_s += seconds

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed_s)

    def monotonic(self) -> float:
        return self._passed_s


class AtOnce(Executor):
    """A pool that does the work on the caller's thread, so that a step is over when it returns."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **options))
        return future


class Control:
    """One api's scheduler. `beside` is another api over the same database and clock."""

    def __init__(
        self, settings: ApiSettings, beside: Control | None = None, retries: int = 0
    ) -> None:
        self.settings = settings = replace(settings, poll_seconds=POLL_S, retries=retries)
        self.clock = beside.clock if beside else HandClock()
        # the tables are bound to one open database in a process
        self.database = beside.database if beside else open_database(settings)
        fleet, hpc, pool = Fleet(POLL_S, self.clock), HpcClient(), AtOnce()
        board = Board(self.database, fleet, self.clock)
        self._stores = stores = open_stores(settings, self.database, self.clock)
        self.ctx = Context(
            database=self.database,
            folders=stores.folders,
            contents=stores.contents,
            uploads=stores.uploads,
            room=stores.room,
            storekeeper=Storekeeper(stores),
            settings=settings,
            clock=self.clock,
            fleet=fleet,
            wake=lambda: None,
            changed=board.changed,
            chunk_changed=board.chunk_changed,
            forecast=Forecasts(self.database, board, fleet, self.clock).of,
            used=board.used,
            machine_free=fleet.freed,
            stop_render=Stopper(self.database, fleet, hpc, self.clock),
            background=lambda function, *args: function(*args),
        )
        self._watch = Watch(self.ctx, fleet, hpc, pool, Addresses(None))
        self._dispatcher = Dispatcher(self.ctx, board, hpc, pool, Starts(self.ctx, Addresses(None)))

    def close(self) -> None:
        self._stores.close()
        self.database.close()

    def turn(self, after_s: float = POLL_S) -> None:
        """Let time pass, then ask the machines that are due and hand out what can be."""
        self.clock.pass_s(after_s)
        self._watch.step()
        self._dispatcher.step()

    def step_dispatcher(self) -> int:
        return self._dispatcher.step()

    def next_for(self, machine_id: int) -> list[HpcStart]:
        """What goes with the answer to a report of this machine."""
        return self._dispatcher.next_for(machine_id)

    # ------------------------------------------------------------------ a farm

    def add_engine(self, name: str, adapter: str = "generic") -> int:
        row = {"name": name, "extension": f".{name}", "render_argument": f"{name} -x"}
        added = admin.add(self.database, "engine", {**row, "adapter": adapter})
        return int(added["engine_id"])

    def add_machine(self, node: OriginalNode) -> int:
        row = {"ip_address": "127.0.0.1", "port": node.port}
        return int(admin.add(self.database, "machine", row)["machine_id"])

    def user(self) -> User:
        """The farm's one artist."""
        with self.database.reading():
            found = catalog.user_by_email("artist@example.com")
        if found is None:
            admin.add(self.database, "user", {"email": "artist@example.com"})
            return self.user()
        return found[0]

    def add_task(self, engine_id: int, frames: str | None = "1-3", **columns: Any) -> int:
        """A task in the queue, with its folder. `columns`: more of `tasks`."""
        user, moment = self.user(), self.ctx.local_now()
        folder = self.ctx.folders.plan("", user.user_id, moment)
        folder.mkdir(parents=True)
        project = folder / "scene.any"
        project.write_bytes(b"a project")
        render = {
            "file_name": project.name,
            "file_path": str(project),
            "file_size": 9,
            "arguments": f"any -i {project}",
            "engine_id": engine_id,
        }
        queued = moment.replace(microsecond=0)
        task_id = self.database.transact(
            lambda _tx: tasks.add(user.user_id, queued, render, frames, **columns)
        )
        self.ctx.changed(task_id)
        return task_id

    # ------------------------------------------------------------------ looking

    def job(self, task_id: int) -> Job:
        with self.database.reading():
            found = tasks.job(task_id)
        assert found is not None
        return found

    def state(self, task_id: int) -> str:
        return self.job(task_id).task.state.value

    def chunks(self, task_id: int) -> list[Chunk]:
        with self.database.reading():
            return chunks.of_task(task_id)

    def attempts(self, task_id: int) -> list[str]:
        """The states of a task's attempts, oldest first."""
        return [chunk.state.value for chunk in self.chunks(task_id)]

    def is_queued(self, task_id: int) -> bool:
        with self.database.reading():
            return tasks.is_queued(task_id)

    def folder(self, task_id: int) -> Path:
        return self.job(task_id).render.task_dir


def started(node: OriginalNode) -> list[int]:
    """The ids of the tasks that a machine was told to start, refused ones too."""
    return [int(start["taskid"]) for start in node.starts]
