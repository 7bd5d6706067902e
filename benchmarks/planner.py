"""What a decision costs: `python benchmarks/planner.py [--machines 1000]`.

The planner alone, without a database or a network, on queues of 100,000 waiting chunks and more.
For each queue it prints milliseconds per assignment: of one call with all machines idle, and of
calls with one machine each, as they come when a machine is done with its chunk while all the others
work. Of the latter the median and the 99th percentile, with the two changes of the queue that go
with it (the chunk that ended, the one that begins). To be held: 1 ms, whatever else waits.

Everything is in memory and on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from renderonline.api.domain.planner import (
    ActiveChunk,
    Assignment,
    Queue,
    Record,
    Roster,
    Seat,
    Waiting,
    plan,
)
from renderonline.frames import FrameSet

NOW = datetime(2026, 1, 1, tzinfo=UTC)
USERS = 50
EVENTS = 2000
"""Chunks that end, in the calls with one machine."""


def main() -> int:
    """Measure and print. The exit code: 1 where a decision costs more than 1 ms."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--machines", type=int, default=1000, help="how many (default 1000)")
    machines = options.parse_args().machines
    print(f"{'ms per assignment, ' + str(machines) + ' machines':44}    all   one: median    p99")
    worst = 0.0
    for name, tasks in queues():
        costs = measure(tasks, machines)
        worst = max(worst, costs[0], costs[1])
        print(f"{name:44} {costs[0]:6.3f}        {costs[1]:6.3f} {costs[2]:6.3f}")
    return int(worst > 1.0)


def queues() -> Iterator[tuple[str, list[Waiting]]]:
    """Names and contents."""
    yield "2,000 tasks of 50 frames", make(2000, 50)
    yield "20,000 tasks of 5 frames", make(20_000, 5)
    yield "20,000 tasks of 5 frames, of 20,000 users", make(20_000, 5, users=20_000)
    yield "1 task of 1,000,000 frames", make(1, 1_000_000)
    others = make(20_000, 5, first_id=100_000, engine="maya", priority=99)
    yield "2,000 of 50, 20,000 for an engine nobody has", [*make(2000, 50), *others]
    tagged = [
        replace(task, tags=frozenset({f"tag{task.task_id % 50}"}))
        for task in make(2000, 50, first_id=100_000)
    ]
    yield "2,000 of 50, 2,000 for 50 tags nobody has", [*make(2000, 50), *tagged]


def make(
    count: int,
    frames: int,
    *,
    first_id: int = 1,
    engine: str = "blender",
    priority: int = 50,
    users: int = USERS,
) -> list[Waiting]:
    return [
        Waiting(
            task_id=n,
            user_id=n % users,
            weight=1.0,
            order=n,
            priority=priority,
            engine=engine,
            version=None,
            tags=frozenset(),
            todo=FrameSet.between(1, frames),
        )
        for n in range(first_id, first_id + count)
    ]


def measure(tasks: Sequence[Waiting], machines: int) -> tuple[float, float, float]:
    """Milliseconds per assignment: all at once; one at a time, median and 99th percentile."""
    seats = [Seat(n, {"blender": "4.5.1"}, load=0.1) for n in range(1, machines + 1)]
    farm = Farm(Queue(tasks), Roster(seats))
    began = time.perf_counter()
    decisions = farm.decide(seats)
    all_ms = (time.perf_counter() - began) * 1e3 / len(decisions)
    for decision in decisions:
        farm.begin(decision)
    single_ms = []
    for n in range(EVENTS):
        seat = seats[n * 7919 % machines]
        began = time.perf_counter()
        farm.end(seat.machine_id)
        for decision in farm.decide([seat]):
            farm.begin(decision)
        single_ms.append((time.perf_counter() - began) * 1e3)
    return all_ms, statistics.median(single_ms), statistics.quantiles(single_ms, n=100)[98]


class Farm:
    """What the api does around a plan, in memory: chunks begin and end, records are kept."""

    def __init__(self, queue: Queue, roster: Roster) -> None:
        self._queue = queue
        self._roster = roster
        self._attempts = 0
        self._work: dict[int, int] = {}  # machine → task

    def decide(self, seats: Sequence[Seat]) -> list[Assignment]:
        usage = dict.fromkeys(range(USERS), 1.0)
        return plan(
            self._queue,
            seats,
            NOW + timedelta(seconds=self._attempts),
            everyone=self._roster,
            usage=usage,
            engine_limits={"blender": 100_000},
        )

    def begin(self, decision: Assignment) -> None:
        task = self._queue.get(decision.task_id)
        assert task is not None and task.todo is not None and decision.frames is not None
        self._attempts += 1
        chunk = ActiveChunk(self._attempts, decision.machine_id, decision.frames, NOW)
        self._work[decision.machine_id] = task.task_id
        todo = task.todo - decision.frames
        self._queue.put(replace(task, todo=todo, active=(*task.active, chunk)))

    def end(self, machine_id: int) -> None:
        task_id = self._work.pop(machine_id, None)
        task = self._queue.get(task_id) if task_id is not None else None
        if task is None or task.todo is None:
            return
        active = tuple(chunk for chunk in task.active if chunk.machine_id != machine_id)
        if not active and not task.todo.runs:
            self._queue.drop(task.task_id)
            return
        record = Record(frame_s=5.0 + machine_id % 7, startup_s=2.0, is_warm=True)
        records = {**task.records, machine_id: record}
        self._queue.put(replace(task, active=active, records=records))


if __name__ == "__main__":
    raise SystemExit(main())
