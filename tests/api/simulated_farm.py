"""A farm in virtual time around the real planner: machines with a pace, and nothing else real.

Frames are saved one by one, chunks begin and end with a latency, machines measure what they did,
and may be handed their next chunk ahead of time. Every frame is counted.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from renderonline.api.domain.estimate import attempt_seconds_left
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
from renderonline.api.domain.workload import with_helper
from renderonline.frames import FrameSet

START = datetime(2026, 1, 1, tzinfo=UTC)
AHEAD_S = 1.0
"""A machine is handed its next chunk when it will be done so soon."""


@dataclass(slots=True)
class Work:
    """A chunk on a machine."""

    chunk: ActiveChunk
    task_id: int
    copy_of: int | None
    began_s: float = 0.0
    startup_s: float = 0.0  # 0: began warm
    saved: int = 0


@dataclass(slots=True)
class Machine:
    machine_id: int
    frame_s: Callable[[int], float]  # frame → seconds
    startup_s: float = 1.2
    is_kept_warm: bool = False
    work: Work | None = None
    ahead: Work | None = None
    warm_for: int | None = None
    busy_s: float = 0.0


@dataclass
class SimulatedFarm:
    machines: Sequence[Machine]
    latency_s: float = 0.03  # from the end of a chunk to the next one's begin
    is_handed_ahead: bool = False
    now_s: float = 0.0
    chunks: int = 0
    done: dict[int, Counter[int]] = field(default_factory=dict)  # task → frame → how often saved
    ended_s: dict[int, float] = field(default_factory=dict)  # task → when its last frame was saved

    def __post_init__(self) -> None:
        self.queue = Queue()
        self._seats = {m.machine_id: Seat(m.machine_id, {"blender": None}) for m in self.machines}
        self.roster = Roster(self._seats.values())
        self._by_id = {m.machine_id: m for m in self.machines}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)

    def submit(self, task: Waiting) -> None:
        self.queue.put(task)
        self.done[task.task_id] = Counter()

    def at(self, second: float, look: Callable[[], None]) -> None:
        """Call `look` when it is so late."""
        self._at(second - self.now_s, look)

    def run(self) -> float:
        """Until nothing is left to do; when the last frame was saved, in seconds."""
        self._dispatch()
        while self._events:
            self.now_s, _, event = heapq.heappop(self._events)
            event()
            self._dispatch()
        return max(self.ended_s.values())

    # ----------------------------------------------------------------- the api

    def _dispatch(self) -> None:
        now = START + timedelta(seconds=self.now_s)
        seats = [seat for m in self.machines if (seat := self._seat(m, now)) is not None]
        for decision in plan(self.queue, seats, now, everyone=self.roster):
            self._assign(decision, now)

    def _seat(self, machine: Machine, now: datetime) -> Seat | None:
        seat = self._seats[machine.machine_id]
        if machine.work is None:
            return seat
        if machine.ahead is not None or not self.is_handed_ahead:
            return None
        attempt_id = machine.work.chunk.attempt_id
        left_s = attempt_seconds_left(self.queue, machine.machine_id, attempt_id, now)
        if left_s is None or left_s > AHEAD_S:
            return None
        return replace(seat, free_in_s=max(left_s, 0.001), after=attempt_id)

    def _assign(self, decision: Assignment, now: datetime) -> None:
        task = self.queue.get(decision.task_id)
        assert task is not None and task.todo is not None and decision.frames is not None
        machine = self._by_id[decision.machine_id]
        attempt_id = next(self._numbers)
        chunk = ActiveChunk(
            attempt_id,
            machine.machine_id,
            decision.frames,
            None,
            decision.copy_of is not None,
        )
        active = with_helper(task.active, decision.copy_of, decision.frames)
        left = task.todo - decision.frames
        self.queue.put(
            replace(
                task, todo=left, active=(*active, chunk), preview=task.preview - decision.frames
            )
        )
        self.chunks += 1
        work = Work(chunk, task.task_id, decision.copy_of)
        if machine.work is None:
            machine.work = work
            self._at(self.latency_s, lambda: self._begin(machine, work))
        else:
            machine.ahead = work

    # ----------------------------------------------------------------- the machine

    def _at(self, delay_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._numbers), event))

    def _begin(self, machine: Machine, work: Work) -> None:
        if machine.work is not work:
            return
        is_warm = machine.is_kept_warm and machine.warm_for == work.task_id
        work.startup_s = 0.0 if is_warm else machine.startup_s
        work.began_s = self.now_s
        self._note(machine, work, started=True)
        self._render_next(machine, work, work.startup_s)

    def _render_next(self, machine: Machine, work: Work, startup_s: float = 0.0) -> None:
        frames = list(work.chunk.frames)
        if work.saved == len(frames):
            self._end(machine, work)
            return
        frame = frames[work.saved]
        took_s = startup_s + machine.frame_s(frame)
        self._at(took_s, lambda: self._saved(machine, work, frame, took_s))

    def _saved(self, machine: Machine, work: Work, frame: int, took_s: float) -> None:
        if machine.work is not work:
            return  # stopped: somebody else was first
        work.saved += 1
        machine.busy_s += took_s
        self.done[work.task_id][frame] += 1
        self._note(machine, work, saved=frame)
        self._stop_those_without_frames(work.task_id)
        if machine.work is work:
            self._render_next(machine, work)

    def _note(
        self, machine: Machine, work: Work, *, started: bool = False, saved: int | None = None
    ) -> None:
        """The report: what is owed by whom, and the machine's record."""
        task = self.queue.get(work.task_id)
        assert task is not None
        gone = FrameSet.of([saved]) if saved is not None else FrameSet()
        now = START + timedelta(seconds=self.now_s)
        active = []
        for chunk in task.active:
            if chunk.attempt_id == work.chunk.attempt_id:
                chunk = replace(
                    chunk, frame_since=now, started_at=now if started else chunk.started_at
                )
            active.append(replace(chunk, frames=chunk.frames - gone, helped=chunk.helped - gone))
        self.queue.put(replace(task, active=tuple(active)))

    def _stop_those_without_frames(self, task_id: int) -> None:
        task = self.queue.get(task_id)
        assert task is not None and task.todo is not None
        for chunk in task.active:
            machine = self._by_id[chunk.machine_id]
            if not chunk.frames.runs:
                for work in (machine.work, machine.ahead):
                    if work is not None and work.chunk.attempt_id == chunk.attempt_id:
                        self._end(machine, work)
        task = self.queue.get(task_id)
        assert task is not None and task.todo is not None
        if not task.active and not task.todo.runs:
            self.queue.drop(task_id)
            self.ended_s[task_id] = self.now_s

    def _end(self, machine: Machine, work: Work) -> None:
        task = self.queue.get(work.task_id)
        assert task is not None
        left = [c for c in task.active if c.attempt_id != work.chunk.attempt_id]
        if work.copy_of is not None:
            left = [
                replace(c, helped=c.helped - work.chunk.frames)
                if c.attempt_id == work.copy_of
                else c
                for c in left
            ]
        record = self._measured(machine, work, task.record(machine.machine_id))
        records = {**task.records, machine.machine_id: record}
        self.queue.put(replace(task, active=tuple(left), records=records))
        if machine.ahead is work:
            machine.ahead = None
            return
        machine.work, machine.ahead = machine.ahead, None
        machine.warm_for = work.task_id
        if machine.work is not None:
            following = machine.work
            self._at(0.0, lambda: self._begin(machine, following))

    def _measured(self, machine: Machine, work: Work, before: Record) -> Record:
        if not work.saved:
            return before
        rendering_s = self.now_s - work.began_s - work.startup_s
        return Record(
            frame_s=rendering_s / work.saved,
            startup_s=work.startup_s or before.startup_s,
            is_warm=machine.is_kept_warm,
        )
