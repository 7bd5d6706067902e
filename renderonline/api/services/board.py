"""The queue as the planner sees it: kept up to date by events, compared with the database now and then.

In memory, one per api process. It is only ever used to plan: a claim looks at the database again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Set
from dataclasses import replace
from datetime import datetime, timedelta

from renderonline.api.db import chunks, tasks
from renderonline.api.db.connection import Database
from renderonline.api.domain import model, workload
from renderonline.api.domain.dealing import HALF_LIFE_S
from renderonline.api.domain.pace import outlook
from renderonline.api.domain.planner import UNDECIDED, Queue
from renderonline.api.domain.transitions import ACTIVE_CHUNK, QUEUED_TASK
from renderonline.api.domain.workload import NO_FRAMES, Assignment
from renderonline.api.services.commands import adapter_of, takes_step
from renderonline.api.services.fleet import Fleet
from renderonline.frames import FrameSet
from renderonline.lifecycle import Clock
from renderonline.wire import ChunkState, TaskState

COMPARE_S = 2.0
"""How often all versions are compared with the database's, for what other processes did."""

COMPARE_SHARE = 0.02
"""The most of the time that comparing may take; with a huge queue it is done less often."""


class Board:
    """All methods but `plan`'s `sync` may be called from any thread; `sync` on one at a time."""

    def __init__(self, database: Database, fleet: Fleet, clock: Clock) -> None:
        self._database = database
        self._fleet = fleet
        self._clock = clock
        self.queue = Queue()
        self.engine_limits: dict[str, int] = {}
        self._versions: dict[int, int] = {}
        self._places: dict[int, tuple[int, float]] = {}  # the queue's number, the user's weight
        self._blocked: dict[int, frozenset[int]] = {}  # task → the tasks that it waits for
        self._refused: dict[tuple[int, int], datetime] = {}
        self._dirty: set[int] = set()
        self._news: dict[int, dict[int, model.Chunk]] = {}  # task → attempt → as it is now
        self._reserved: dict[int, list[Assignment]] = {}  # decided on, and not claimed yet
        self._lock = threading.Lock()
        self._compare_at = 0.0
        self._used: dict[int, tuple[float, float]] | None = None  # user → seconds, as of when
        # attempt → how many frames it had saved when it was read last, and since when
        self._saved: dict[int, tuple[int, datetime | None]] = {}
        self._helped: dict[int, FrameSet] = {}  # attempt → what others have rendered of it
        # attempt → its task, and as it was read last
        self._courses: dict[int, tuple[int, ChunkState, str]] = {}
        # attempt → the attempt that it copies, and all the frames that it was given of that
        self._copies: dict[int, tuple[int, FrameSet]] = {}
        self._warm: dict[int, int] = {}  # machine → the task whose renderer it keeps open

    def changed(self, task_id: int) -> None:
        """This task is not what it was; it is read again before the next plan."""
        with self._lock:
            self._dirty.add(task_id)

    def chunk_changed(self, chunk: model.Chunk) -> None:
        """The chunk has begun, gone on or ended. Of its task only that is worked in: a thousand
        machines at work on one task must not make each other's reports dearer."""
        with self._lock:
            self._news.setdefault(chunk.task_id, {})[chunk.attempt_id] = chunk

    def refused(self, task_id: int, machine_id: int, until: datetime) -> None:
        """The machine has just refused this task, and is not offered it before `until`."""
        with self._lock:
            self._refused[task_id, machine_id] = until
            self._dirty.add(task_id)

    def used(self, user_id: int, seconds: float) -> None:
        """A user has used a machine for so long."""
        now = self._clock.monotonic()
        with self._lock:
            if self._used is not None:
                before = self._used.get(user_id, (0.0, now))
                self._used[user_id] = (_decayed(before, now) + seconds, now)

    def reserve(self, assignment: Assignment) -> None:
        """Until `unreserve`, plan as if the machine had this already. The plan's thread only."""
        with self._lock:
            self._reserved.setdefault(assignment.task_id, []).append(assignment)
        task = self.queue.get(assignment.task_id)
        if task is not None:
            self.queue.put(_with(task, assignment))
        self._cool(assignment.machine_id, but=assignment.task_id)

    def unreserve(self, assignment: Assignment, chunk: model.Chunk | None) -> None:
        """The claim has been written as `chunk`, or (None) was not to be had. Any thread."""
        task_id = assignment.task_id
        with self._lock:
            self._reserved[task_id].remove(assignment)
            if not self._reserved[task_id]:
                del self._reserved[task_id]
            if chunk is None:
                self._dirty.add(task_id)
            else:
                # It may have gone on already, or even ended.
                self._news.setdefault(task_id, {}).setdefault(chunk.attempt_id, chunk)

    def usage(self) -> Mapping[int, float]:
        """What each user used lately, in machines: one machine all the time is 1."""
        now = self._clock.monotonic()
        with self._lock:
            used = dict(self._used or {})
        return {user: _decayed(entry, now) / HALF_LIFE_S for user, entry in used.items()}

    def pace(self, task_id: int) -> tuple[float | None, bool]:
        """Seconds per frame of the task, if measured, and whether any machine has failed it."""
        task = self.queue.get(task_id)
        if task is None:
            return None, False
        has_failures = any(record.not_before is not None for record in task.records.values())
        return outlook(task).frame_s, has_failures

    def sync(self) -> None:
        """Bring the queue up to date. One thread at a time. Raises DatabaseError."""
        if self._used is None:
            self._recall()
        began = self._clock.monotonic()
        if began >= self._compare_at:
            self._compare()
            took = self._clock.monotonic() - began
            self._compare_at = began + max(COMPARE_S, took / COMPARE_SHARE)
        with self._lock:
            dirty, self._dirty = self._dirty, set()
            news, self._news = self._news, {}
        if not dirty and not news:
            return
        try:
            with self._database.reading():
                for task_id in sorted(dirty):
                    self._read(task_id)
                for task_id in news.keys() - dirty:
                    self._work_in(task_id, news[task_id])
        except BaseException:
            with self._lock:
                self._dirty |= dirty | news.keys()
            raise

    def _recall(self) -> None:
        """What was used before this process began."""
        with self._database.reading():
            found = chunks.recent_use(self._clock.now() - timedelta(seconds=2 * HALF_LIFE_S))
        now = self._clock.monotonic()
        with self._lock:
            self._used = {user: (seconds, now) for user, seconds in found.items()}

    def _compare(self) -> None:
        with self._database.reading():
            versions = tasks.versions()
            courses = chunks.courses()
            self.engine_limits = chunks.engine_limits()
        self._places.clear()  # an admin may have given a subscription another weight
        with self._lock:
            gone = set(self._versions) - set(versions)
            self._dirty |= gone
            self._dirty |= {n for n, v in versions.items() if self._versions.get(n) != v}
            # A chunk's start wakes nobody, and what it saves may be told to another process.
            self._dirty |= {
                task_id
                for attempt_id, (task_id, *course) in courses.items()
                if self._courses.get(attempt_id) != (task_id, *course)
            }
            ended = self._courses.keys() - courses.keys()
            self._dirty |= {self._courses[attempt_id][0] for attempt_id in ended}
            now = self._clock.now()
            self._refused = {pair: end for pair, end in self._refused.items() if end > now}

    def _read(self, task_id: int) -> None:
        """All of the task anew."""
        job = self._job(task_id)
        if job is None:
            return
        active = chunks.active(task_id=task_id)
        self._forget_attempts(task_id, {chunk.attempt_id for chunk in active})
        known = chunks.records(task_id)
        self._copies |= {
            c.attempt_id: (c.copy_of, c.frame_set) for c in active if c.copy_of is not None
        }
        for chunk in active:
            self._helped[chunk.attempt_id] = (chunk.frame_set & job.task.done) - chunk.done
        waiting = self._waiting(
            job,
            tuple(self._marked({c.attempt_id: self._active(c) for c in active}).values()),
            self._records(task_id, known),
        )
        memory_bytes = [record.memory_bytes or 0 for record in known.values()]
        peaks_bytes = [record.peak_bytes or 0 for record in known.values()]
        self._put(
            replace(
                waiting,
                min_memory_bytes=max(memory_bytes, default=0) or None,
                memory_bytes=max(peaks_bytes, default=0) or None,
            )
        )

    def _work_in(self, task_id: int, news: Mapping[int, model.Chunk]) -> None:
        """What some of its chunks did."""
        before = self.queue.get(task_id)
        if before is None:
            self._read(task_id)
            return
        active = {c.attempt_id: c for c in before.active if c.attempt_id != UNDECIDED}
        is_only_further = all(
            attempt in active and chunk.state in ACTIVE_CHUNK for attempt, chunk in news.items()
        )
        for attempt_id, chunk in news.items():
            if chunk.state in ACTIVE_CHUNK:
                if chunk.copy_of is not None:
                    self._copies[attempt_id] = chunk.copy_of, chunk.frame_set
                active[attempt_id] = self._active(chunk)
            else:
                active.pop(attempt_id, None)
                self._forget_attempt(attempt_id)
                self._note_help(chunk, active)
        active = self._marked(active)
        if is_only_further:
            undecided = [c for c in before.active if c.attempt_id == UNDECIDED]
            going_on = tuple(active.values())
            with self._lock:
                reserved = tuple(self._reserved.get(task_id, ()))
            for assignment in reserved:
                going_on = workload.with_helper(
                    going_on, assignment.copy_of, assignment.frames or NO_FRAMES
                )
            self.queue.put(replace(before, active=(*going_on, *undecided)))
            return
        job = self._job(task_id)
        if job is None:
            return
        ended = {c.machine_id for c in news.values() if c.state not in ACTIVE_CHUNK}
        found = {machine_id: chunks.record(task_id, machine_id) for machine_id in ended}
        known = {machine_id: record for machine_id, record in found.items() if record is not None}
        records = {**before.records, **self._records(task_id, known)}
        larger = [r.memory_bytes or 0 for r in known.values()]
        peaks = [r.peak_bytes or 0 for r in known.values()]
        self._put(
            replace(
                self._waiting(job, tuple(active.values()), records),
                min_memory_bytes=max([before.min_memory_bytes or 0, *larger]) or None,
                memory_bytes=max([before.memory_bytes or 0, *peaks]) or None,
            )
        )

    def _job(self, task_id: int) -> model.Job | None:
        """The task, if it is in the queue and to be planned; else what was known is forgotten."""
        job = tasks.job(task_id)
        place = self._places.get(task_id) or (tasks.place_in_queue(task_id) if job else None)
        if job is None or place is None or job.task.state not in QUEUED_TASK:
            self._forget(task_id)
            return None
        self._versions[task_id] = job.task.version
        if job.task.has_variants:
            return None  # it is not planned, they are
        self._places[task_id] = place
        return job

    def _waiting(
        self,
        job: model.Job,
        active: tuple[workload.ActiveChunk, ...],
        records: Mapping[int, workload.Record],
    ) -> workload.Waiting:
        task, engine, wanted = job.task, job.engine, workload.requirement_of(job)
        order, weight = self._places[task.task_id]
        is_paused, waits_for = task.state is TaskState.PAUSED, self._blocking(task)
        return workload.Waiting(
            task_id=task.task_id,
            user_id=task.user_id,
            weight=weight,
            order=order,
            priority=task.priority,
            engine=wanted.engine,
            version=wanted.version,
            tags=wanted.tags,
            todo=task.todo,
            active=active,
            chunk_frames=engine.chunk_frames if task.chunk_frames is None else task.chunk_frames,
            machine_limit=task.machine_limit,
            start_at=task.start_at,
            is_blocked=is_paused or bool(waits_for),
            is_paused=is_paused,
            waits_for=waits_for,
            family=task.parent_id,
            preview=task.preview,
            records=records,
            tells_frames=adapter_of(engine).tells_frames,
            takes_step=takes_step(engine),
        )

    def _put(self, waiting: workload.Waiting) -> None:
        """Into the queue, with what has been decided on and is not claimed yet."""
        with self._lock:
            reserved = tuple(self._reserved.get(waiting.task_id, ()))
        for assignment in reserved:
            waiting = _with(waiting, assignment)
        self.queue.put(waiting)

    def _cool(self, machine_id: int, but: int) -> None:
        """The machine closes the renderer of another task before it begins this one."""
        task = self.queue.get(self._warm.pop(machine_id, but))
        if task is None or task.task_id == but or machine_id not in task.records:
            return
        record = replace(task.records[machine_id], is_warm=False)
        self.queue.put(replace(task, records={**task.records, machine_id: record}))

    def _note_help(self, copy: model.Chunk, active: dict[int, workload.ActiveChunk]) -> None:
        """What a copy that is over has rendered, the chunk that it helped owes no more."""
        helped = active.get(copy.copy_of or 0)
        if helped is not None and copy.done.runs:
            known = self._helped.get(helped.attempt_id, NO_FRAMES)
            self._helped[helped.attempt_id] = known | copy.done
            active[helped.attempt_id] = replace(helped, frames=helped.frames - copy.done)

    def _marked(
        self, active: Mapping[int, workload.ActiveChunk]
    ) -> dict[int, workload.ActiveChunk]:
        """The chunks of a task, each with what others work on of its frames, and without what they
        have saved of them. A copy whose original is over is a chunk like any other."""
        helped: dict[int, FrameSet] = {}
        saved: dict[int, FrameSet] = {}
        copies: set[int] = set()
        for attempt_id, (of, frames) in self._copies.items():
            if attempt_id in active and of in active:
                copies.add(attempt_id)
                helped[of] = helped.get(of, NO_FRAMES) | frames
                saved[of] = saved.get(of, NO_FRAMES) | (frames - active[attempt_id].frames)
        marked = dict(active)
        # Of a thousand chunks only these: it is done for each report.
        before = {attempt_id for attempt_id, chunk in active.items() if chunk.is_shared}
        for attempt_id in before | copies | helped.keys():
            chunk = active[attempt_id]
            marked[attempt_id] = replace(
                chunk,
                frames=chunk.frames - saved.get(attempt_id, NO_FRAMES),
                is_copy=attempt_id in copies,
                helped=helped.get(attempt_id, NO_FRAMES),
            )
        return marked

    def _forget_attempts(self, task_id: int, but: Set[int] = frozenset()) -> None:
        known = self.queue.get(task_id)
        for chunk in known.active if known else ():
            if chunk.attempt_id not in but:
                self._forget_attempt(chunk.attempt_id)

    def _forget_attempt(self, attempt_id: int) -> None:
        for remembered in (self._saved, self._helped, self._courses, self._copies):
            remembered.pop(attempt_id, None)

    def _forget(self, task_id: int) -> None:
        self._forget_attempts(task_id)
        self.queue.drop(task_id)
        self._versions.pop(task_id, None)
        self._places.pop(task_id, None)
        self._blocked.pop(task_id, None)
        with self._lock:
            self._dirty |= {task for task, others in self._blocked.items() if task_id in others}

    def _blocking(self, task: model.Task) -> frozenset[int]:
        """The tasks that it comes after and that have not succeeded. A deleted one holds up nobody."""
        states = tasks.states_of(task.after_tasks)
        waits_for = frozenset(n for n, state in states.items() if state is not TaskState.SUCCEEDED)
        self._blocked[task.task_id] = waits_for
        return waits_for

    def _active(self, chunk: model.Chunk) -> workload.ActiveChunk:
        owed = chunk.frame_set - chunk.done - self._helped.get(chunk.attempt_id, NO_FRAMES)
        self._courses[chunk.attempt_id] = (chunk.task_id, chunk.state, str(chunk.done))
        before = self._saved.get(chunk.attempt_id)
        if before is None or before[0] != len(chunk.done):
            since = chunk.started_at if before is None else self._clock.now()
            self._saved[chunk.attempt_id] = before = (len(chunk.done), since)
        return workload.ActiveChunk(
            attempt_id=chunk.attempt_id,
            machine_id=chunk.machine_id,
            frames=owed,
            started_at=chunk.started_at,
            frame_since=before[1] or chunk.started_at,
        )

    def _records(
        self, task_id: int, records: Mapping[int, model.Record]
    ) -> dict[int, workload.Record]:
        with self._lock:
            refused = {m: end for (task, m), end in self._refused.items() if task == task_id}
        return {
            machine_id: self._record(task_id, machine_id, records.get(machine_id), refused)
            for machine_id in {*records, *refused}
        }

    def _record(
        self,
        task_id: int,
        machine_id: int,
        record: model.Record | None,
        refused: Mapping[int, datetime],
    ) -> workload.Record:
        known = record or model.Record()
        is_warm = known.is_warm and self._fleet.last_task(machine_id) == task_id
        if is_warm:
            self._warm[machine_id] = task_id
        moments = [m for m in (known.not_before, refused.get(machine_id)) if m is not None]
        return workload.Record(
            not_before=max(moments, default=None),
            avoid=known.is_avoided,
            frame_s=known.frame_s,
            startup_s=known.startup_s,
            is_warm=is_warm,
            frames_done=known.frames,
        )


def _with(task: workload.Waiting, assignment: Assignment) -> workload.Waiting:
    """The task as it will be once the assignment is claimed; the same if it is already."""
    frames = assignment.frames or FrameSet()
    is_copy = assignment.copy_of is not None
    chunk = workload.ActiveChunk(UNDECIDED, assignment.machine_id, frames, None, is_copy)
    active = workload.with_helper(task.active, assignment.copy_of, frames)
    todo = task.todo if task.todo is None else task.todo - frames
    return replace(task, todo=todo, preview=task.preview - frames, active=(*active, chunk))


def _decayed(entry: tuple[float, float], now: float) -> float:
    seconds, as_of = entry
    return float(seconds * 0.5 ** (max(now - as_of, 0.0) / HALF_LIFE_S))
