"""When each task will be done: made on request for the whole queue at once, and kept for a moment."""

from __future__ import annotations

import threading

from renderonline.api.db import chunks
from renderonline.api.db.connection import Database
from renderonline.api.domain.forecast import NOT_KNOWN, Forecast, Pace, forecast
from renderonline.api.domain.standing import piece_seconds_left
from renderonline.api.domain.workload import Waiting
from renderonline.api.services.board import Board
from renderonline.api.services.fleet import Fleet
from renderonline.lifecycle import Clock

KEPT_S = 0.5
"""So long a forecast is good for whoever asks, on a small farm;"""

SHARE = 0.02
"""on a large one so long that making them takes no more than this part of the time."""


class Forecasts:
    """Any thread, but outside of a reading: it may make one of its own."""

    def __init__(self, database: Database, board: Board, fleet: Fleet, clock: Clock) -> None:
        self._database = database
        self._board = board
        self._fleet = fleet
        self._clock = clock
        self._known: dict[int, Forecast] = {}
        self._made_at: float | None = None
        self._until = 0.0
        self._lock = threading.Lock()

    def of(self, task_id: int) -> Forecast:
        """When the task is done, if it is in the queue. Raises DatabaseError."""
        with self._lock:
            now = self._clock.monotonic()
            if self._made_at is None or now >= self._until:
                self._known, self._made_at = self._make(), now
                took_s = self._clock.monotonic() - now
                self._until = now + max(KEPT_S, took_s / SHARE)
            found = self._known.get(task_id, Forecast(None, NOT_KNOWN))
            age_s = now - self._made_at
        return found if found.seconds is None else Forecast(max(found.seconds - age_s, 0.0))

    def _make(self) -> dict[int, Forecast]:
        tasks = self._board.queue.tasks()
        return forecast(
            tasks,
            self._fleet.roster(),
            self._clock.now(),
            usage=self._board.usage(),
            engine_limits=self._board.engine_limits,
            families=self._families(tasks),
            pieces=self._pieces(tasks),
        )

    def _families(self, tasks: list[Waiting]) -> dict[int, Pace]:
        """What the variants of tasks have shown that are in the queue, the ended ones too."""
        wanted = {task.family for task in tasks if task.family is not None and not task.records}
        if not wanted:
            return {}
        with self._database.reading():
            found = chunks.family_paces(sorted(wanted))
        return {
            number: Pace(frame_s, startup_s, stays_warm)
            for number, (frame_s, startup_s, stays_warm) in found.items()
        }

    def _pieces(self, tasks: list[Waiting]) -> dict[int, float]:
        """Seconds left of the tasks in one piece that are rendered, by their progress."""
        whole = [task.task_id for task in tasks if task.todo is None and task.active]
        if not whole:
            return {}
        with self._database.reading():
            active = chunks.active_of(whole)
        now = self._clock.now()
        left = {n: piece_seconds_left(found[-1], now) for n, found in active.items() if found}
        return {task_id: seconds for task_id, seconds in left.items() if seconds is not None}
