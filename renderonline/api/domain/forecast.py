"""When each task of the queue will be done: the plan played forward with the paces that were measured. Pure.

Frames are a fluid here: at each moment the machines are dealt out as the planner deals them
(priority, the users' shares, age, limits), down to parts of a machine, until the next task ends,
begins to be wanted, has started up, or a machine is done with the chunk that it has. What nothing is
known of is given the pace of its likes, so that it takes its place in line, and no forecast.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from renderonline.api.domain.dealing import Job, Line, Pool
from renderonline.api.domain.estimate import owed_frames
from renderonline.api.domain.pace import FASTEST_FRAME_S, Outlook, chunk_seconds_left, outlook
from renderonline.api.domain.sizing import START_SHARE
from renderonline.api.domain.workload import Roster, Waiting

MOST_DEALS = 30_000
"""So often a task is dealt machines; what has not ended by then is taken to follow in its order."""

MOST_TASKS = 5_000
"""Those that come behind so many others get none; playing costs some 0.1 ms for each."""

SOON_S = 1e-6

PAUSED = "It is paused."
NOT_KNOWN = "Not known yet: nothing like it has been measured."
NO_MACHINE = "No machine that takes work could render it."
NEVER_FREE = (
    "Not known yet: the machines that could render it are at work for nobody knows how long."
)

NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a task is done: seconds from now, or None and a sentence that says why not."""

    seconds: float | None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """What has been measured of something like a task."""

    frame_s: float
    startup_s: float | None = None
    stays_warm: bool = False


def forecast(
    tasks: Iterable[Waiting],
    roster: Roster,
    now: datetime,
    *,
    usage: Mapping[int, float] = NOTHING,
    engine_limits: Mapping[str, int] = NOTHING,
    families: Mapping[int, Pace] = NOTHING,
    pieces: Mapping[int, float] = NOTHING,
) -> dict[int, Forecast]:
    """Of `tasks`, which are all that the queue has; of the first MOST_TASKS.

    `usage` and `engine_limits` as in `plan`; `families`: what the variants of a task, by its id, have
    shown, those that are over among them; `pieces`: seconds left of tasks in one piece that are
    rendered just now, as far as that can be told.
    """
    found = list(tasks)
    if len(found) > MOST_TASKS:
        found = heapq.nsmallest(MOST_TASKS, found, key=_place)
    played = _Play(found, roster, now, usage, engine_limits, families, pieces)
    played.run()
    return played.told()


def _place(task: Waiting) -> tuple[bool, int, int]:
    return (not task.active, -task.priority, task.order)


class _Play:
    """One forecast."""

    def __init__(
        self,
        tasks: list[Waiting],
        roster: Roster,
        now: datetime,
        usage: Mapping[int, float],
        engine_limits: Mapping[str, int],
        families: Mapping[int, Pace],
        pieces: Mapping[int, float],
    ) -> None:
        self._now = now
        self._now_s = 0.0
        self._pieces = pieces
        outlooks = {task.task_id: outlook(task) for task in tasks}
        paces = _paces(tasks, outlooks, families)
        self._known = {
            task.task_id: _known(task, outlooks[task.task_id], paces, pieces) for task in tasks
        }
        self._jobs: dict[int, Job] = {}
        self._why: dict[int, str] = {}
        self._pool = Pool(roster, tasks, engine_limits)
        self._line = Line(self._pool, usage)
        self._timed: list[tuple[float, int]] = []  # those whose start time is to come
        self._busy: list[tuple[float, int, int]] = []  # (is free in, machine, task)
        self._waits: dict[int, set[int]] = {}  # task → those in the queue that it comes after
        self._doubtful: set[int] = set()  # tasks that wait for one of which nothing is known
        for task in tasks:
            self._jobs[task.task_id] = self._job(task)
        self._bound: dict[int, Job] = {}  # tasks that have chunks
        self._bind(tasks)
        members = _members(tasks)
        for task in tasks:
            self._enter(task, members)

    def run(self) -> None:
        """Until nothing changes any more."""
        while self._line.deals < MOST_DEALS:
            at_work = self._line.deal(self._now_s, self._bound.values())
            upcoming = [job.next_s(self._now_s) for job in at_work]
            upcoming += [self._timed[0][0]] if self._timed else []
            upcoming += [self._busy[0][0]] if self._busy else []
            then_s = min(upcoming, default=math.inf)
            if then_s == math.inf:
                return
            self._pass(at_work, then_s)
        self._follow()

    def told(self) -> dict[int, Forecast]:
        return {task_id: self._of(task_id, job) for task_id, job in self._jobs.items()}

    def _of(self, task_id: int, job: Job) -> Forecast:
        if task_id in self._why:
            return Forecast(None, self._why[task_id])
        if not job.is_known:
            return Forecast(None, NOT_KNOWN)
        if job.end_s is None:
            return Forecast(None, NEVER_FREE if job.able else NO_MACHINE)
        return Forecast(job.end_s)

    # ----------------------------------------------------------------- what there is

    def _job(self, task: Waiting) -> Job:
        known, is_known = self._known[task.task_id]
        frames = 1.0
        if task.todo is not None:
            owed = owed_frames(task)
            at_work = len({chunk.machine_id for chunk in task.active})
            frames = len(task.todo) + owed - 0.5 * min(at_work, owed)  # they are at some already
        return Job(
            task,
            able=self._pool.able(task),
            left=frames,
            frame_s=max(_frame_s(task, known), FASTEST_FRAME_S),
            startup_s=0.0 if task.active else known.startup_s or 0.0,
            is_known=is_known,
        )

    def _bind(self, tasks: Iterable[Waiting]) -> None:
        """Machines stay at the chunks that they have until these are over."""
        free_in_s: dict[int, tuple[float, int]] = {}
        for task in tasks:
            known, _ = self._known[task.task_id]
            for chunk in task.active:
                if task.todo is None or known.frame_s == math.inf:
                    left_s = self._pieces.get(task.task_id, math.inf)
                else:
                    left_s = chunk_seconds_left(task, chunk, known, self._now) or 0.0
                before_s = free_in_s.get(chunk.machine_id, (0.0, 0))[0]
                free_in_s[chunk.machine_id] = (before_s + left_s, task.task_id)
        for machine_id, (left_s, task_id) in free_in_s.items():
            job = self._bound[task_id] = self._jobs[task_id]
            self._pool.take(machine_id)
            job.bind(machine_id)
            if left_s < math.inf:
                heapq.heappush(self._busy, (left_s, machine_id, task_id))

    def _enter(self, task: Waiting, members: Mapping[int, set[int]]) -> None:
        """Into the line, or where it waits for something."""
        task_id = task.task_id
        if task.is_paused:
            self._why[task_id] = PAUSED
        elif task.waits_for:
            self._wait(task, members)
        elif task.start_at is not None and task.start_at > self._now:
            begin_s = (task.start_at - self._now).total_seconds()
            heapq.heappush(self._timed, (begin_s, task_id))
        else:
            self._begin(self._jobs[task_id])

    def _begin(self, job: Job) -> None:
        if job.left <= SOON_S and not job.bound:
            job.end_s = self._now_s  # all is saved, and nobody has said so yet
        else:
            self._line.add(job)

    def _wait(self, task: Waiting, members: Mapping[int, set[int]]) -> None:
        for other in sorted(task.waits_for):
            if not members.get(other):
                self._why[task.task_id] = f"It waits for task {other}, which is not in the queue."
                return
        self._waits[task.task_id] = {
            number for other in task.waits_for for number in members[other]
        }
        first = min(task.waits_for)
        self._why[task.task_id] = f"It waits for task {first}, whose end is not known."

    # ----------------------------------------------------------------- time passes

    def _pass(self, at_work: Iterable[Job], then_s: float) -> None:
        for job in at_work:
            job.render(self._now_s, then_s)
        self._now_s = then_s
        for job in at_work:
            if job.left <= SOON_S:
                self._end(job)
        while self._timed and self._timed[0][0] <= then_s:
            self._begin(self._jobs[heapq.heappop(self._timed)[1]])
        while self._busy and self._busy[0][0] <= then_s + SOON_S:
            _, machine_id, task_id = heapq.heappop(self._busy)
            if self._jobs[task_id].release(machine_id):
                self._give_back(self._jobs[task_id], [machine_id])

    def _end(self, job: Job) -> None:
        job.end_s = self._now_s + job.last_round_s
        self._line.remove(job)
        self._give_back(job, job.release_all())
        for task_id, others in list(self._waits.items()):
            if job.task.task_id in others:
                others.discard(job.task.task_id)
                self._released(task_id, job, is_last=not others)

    def _give_back(self, job: Job, machines: Iterable[int]) -> None:
        for machine_id in machines:
            self._pool.give_back(machine_id)
        if not job.bound:
            self._bound.pop(job.task.task_id, None)

    def _released(self, task_id: int, by: Job, is_last: bool) -> None:
        """One that the task comes after is done."""
        if not by.is_known or by.task.task_id in self._doubtful:
            self._doubtful.add(task_id)
        if not is_last:
            return
        del self._waits[task_id]
        if task_id not in self._doubtful:
            del self._why[task_id]
        start_at = self._jobs[task_id].task.start_at
        begin_s = (start_at - self._now).total_seconds() if start_at else 0.0
        heapq.heappush(self._timed, (max(begin_s, self._now_s), task_id))

    def _follow(self) -> None:
        """Too many for playing: the rest one after the other, on all machines that could do it."""
        behind_s = 0.0
        for job in self._line.rest():
            behind_s += job.left * job.frame_s / max(len(job.able), 1)
            job.end_s = self._now_s + behind_s if behind_s < math.inf else None


def _members(tasks: Iterable[Waiting]) -> dict[int, set[int]]:
    """What is in the queue of a task: itself, or its variants."""
    found: dict[int, set[int]] = {}
    for task in tasks:
        found.setdefault(task.task_id, set()).add(task.task_id)
        if task.family is not None:
            found.setdefault(task.family, set()).add(task.task_id)
    return found


Likes = tuple[str, int | str | None]
"""What is alike in some tasks: ("family", the number of the whole), ("engine", its name), or any."""


def _likes(task: Waiting) -> list[Likes]:
    """The closest first."""
    family: list[Likes] = [] if task.family is None else [("family", task.family)]
    return [*family, ("engine", task.engine), ("any", None)]


def _paces(
    tasks: Iterable[Waiting], outlooks: Mapping[int, Outlook], families: Mapping[int, Pace]
) -> dict[Likes, Pace]:
    """What to take a task for of which nothing is known: for one like its likes."""
    seen: dict[Likes, list[Outlook]] = {}
    for task in tasks:
        known = outlooks[task.task_id]
        if known.frame_s is not None and task.todo is not None:
            for key in _likes(task):
                seen.setdefault(key, []).append(known)
    told: dict[Likes, Pace] = {("family", number): pace for number, pace in families.items()}
    return told | {key: _mean(known) for key, known in seen.items()}


def _known(
    task: Waiting, own: Outlook, paces: Mapping[Likes, Pace], pieces: Mapping[int, float]
) -> tuple[Outlook, bool]:
    """The task's pace, and whether it is worth telling: its own, or that of its variants."""
    if task.todo is None:
        left_s = pieces.get(task.task_id)
        return replace(own, frame_s=math.inf if left_s is None else left_s), left_s is not None
    if own.frame_s is not None:
        return own, True
    for key in _likes(task):
        if (pace := paces.get(key)) is not None:
            guessed = replace(
                own,
                frame_s=pace.frame_s,
                startup_s=own.startup_s or pace.startup_s,
                stays_warm=own.stays_warm or pace.stays_warm,
            )
            return guessed, key[0] == "family"
    return replace(own, frame_s=math.inf), False


def _mean(known: list[Outlook]) -> Pace:
    startups = [one.startup_s for one in known if one.startup_s is not None]
    return Pace(
        sum(one.frame_s or 0.0 for one in known) / len(known),
        sum(startups) / len(startups) if startups else None,
        any(one.stays_warm for one in known),
    )


def _frame_s(task: Waiting, known: Outlook) -> float:
    """Seconds of a machine for a frame, with its part of a start-up where each chunk has one."""
    frame_s = known.frame_s or math.inf
    if known.stays_warm or not known.startup_s or frame_s == math.inf:
        return frame_s
    if task.chunk_frames:
        return frame_s + known.startup_s / task.chunk_frames
    return frame_s * (1 + 1 / START_SHARE)
