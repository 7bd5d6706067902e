"""What planning is told and what it answers: tasks that want machines, machines that could take
something, and who gets what. Plain values, replaced whole when something changes. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from renderonline.api.domain.model import Job
from renderonline.frames import FrameSet

NO_FRAMES = FrameSet()


@dataclass(frozen=True, slots=True)
class Record:
    """One machine's history with one task."""

    not_before: datetime | None = None  # back-off: it gets nothing of the task until then
    avoid: bool = False  # benched for this task, as long as another machine could do it
    frame_s: float | None = None  # seconds per frame here
    startup_s: float | None = None  # of the last cold start here
    is_warm: bool = False  # its renderer is still open for this task
    frames_done: int = 0  # rendered here; counts where an engine tells no frame times


UNKNOWN = Record()


@dataclass(frozen=True, slots=True)
class ActiveChunk:
    """A chunk that a machine has: at work on it, or handed over ahead of time."""

    attempt_id: int
    machine_id: int
    frames: FrameSet  # still owed: not done by anyone
    started_at: datetime | None
    is_copy: bool = False  # its frames are another chunk's, too
    helped: FrameSet = NO_FRAMES  # of its frames: other machines are at these as well
    # When it last saved a frame; its start before that. None: not known, so never overdue.
    frame_since: datetime | None = None

    @property
    def is_shared(self) -> bool:
        """Whether another machine works on some of the same frames."""
        return self.is_copy or bool(self.helped.runs)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a machine must have; tasks that want the same are kept together."""

    engine: str
    version: str | None
    tags: frozenset[str]
    min_memory_bytes: int | None

    def suits(self, seat: Seat) -> bool:
        """Whether the machine has engine, version and tags. Memory is weighed by the Roster."""
        if self.engine not in seat.engines or not self.tags <= seat.tags:
            return False
        return self.version is None or _is_version(seat.engines[self.engine], self.version)


def requirement_of(job: Job) -> Requirement:
    """What the task wants of a machine, before any has run out of memory with it."""
    task, engine = job.task, job.engine
    version = task.engine_version or engine.version
    return Requirement(engine.name.lower(), version, task.tags, None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task that wants machines or has some."""

    task_id: int
    user_id: int
    weight: float  # of the user's subscription; 1.0 is the usual one
    order: int  # the queue's number: lower is older
    priority: int  # 0-100, higher first
    engine: str  # lower case
    version: str | None  # "4.5": major.minor that it wants; None: any
    tags: frozenset[str]  # a machine must have all of them
    todo: FrameSet | None  # nobody works on these; None: one piece, to be had if nothing is active
    active: tuple[ActiveChunk, ...] = ()
    chunk_frames: int | None = None  # fixed size; None: automatic
    machine_limit: int | None = None  # most machines at once
    start_at: datetime | None = None
    is_blocked: bool = False  # a task that it depends on has not ended
    preview: FrameSet = NO_FRAMES  # of `todo`, to be rendered first, one per chunk
    min_memory_bytes: int | None = None  # a machine with this much memory was too small
    records: Mapping[int, Record] = field(default_factory=dict)  # by machine id
    memory_bytes: int | None = None  # the most that a chunk of it has used
    tells_frames: bool = True  # it is known which frames of a chunk are done while it runs
    takes_step: bool = True  # a chunk may be of every nth frame
    is_paused: bool = False  # then it is blocked, too
    waits_for: frozenset[int] = frozenset()  # tasks that it is blocked by
    family: int | None = None  # of a variant: the task that it is one of

    @property
    def requirement(self) -> Requirement:
        return Requirement(self.engine, self.version, self.tags, self.min_memory_bytes)

    def record(self, machine_id: int) -> Record:
        return self.records.get(machine_id, UNKNOWN)


@dataclass(frozen=True, slots=True)
class Seat:
    """A machine that could take something."""

    machine_id: int
    engines: Mapping[str, str | None]  # lower-case name → version; None: not known
    tags: frozenset[str] = frozenset()
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None
    load: float | None = None  # runnable processes per core
    free_in_s: float = 0.0  # 0: idle; else it works, and is expected to be free then
    after: int | None = None  # the attempt that it works on
    last_task: int | None = None  # that it was given; its renderer may still be open for it
    only_users: frozenset[int] = frozenset()  # whose tasks alone it takes; empty: everybody's
    reserve: str | None = None  # a tag of its own: others' tasks only where none that asks waits
    is_settled: bool = True  # nothing of ours is in its load and memory, no open renderer either


@dataclass(frozen=True, slots=True)
class Assignment:
    task_id: int
    machine_id: int
    frames: FrameSet | None  # evenly spaced; None: the whole task
    after: int | None = None  # to begin when this attempt of the machine is over; None: now
    copy_of: int | None = None  # the attempt whose last frames these are


class Roster:
    """Every machine that may get work, idle or busy, and which of them a requirement finds.

    Made anew when a machine comes, goes, or changes its engines, tags or memory; how it feels and
    what it does (load, free memory, `free_in_s`, `after`) is not read from here.
    """

    def __init__(self, seats: Iterable[Seat]) -> None:
        self._seats = tuple(seats)
        self._able: dict[Requirement, frozenset[int]] = {}
        self._private = {s.machine_id: s.only_users for s in self._seats if s.only_users}
        self._sizes: dict[Requirement, list[tuple[float, int]]] = {}  # (memory, machine), falling

    def able_for(self, task: Waiting) -> frozenset[int]:
        """The machines that could render the task of this user."""
        return self.able(task.requirement, task.user_id)

    def able(self, requirement: Requirement, user_id: int | None = None) -> frozenset[int]:
        """The machines that could render it: the larger ones where memory ran out, if there are;
        with a user without those that are kept for others."""
        if user_id is None or not self._private:
            return self._able_at_all(requirement)
        others = {m for m, users in self._private.items() if user_id not in users}
        return self._able_at_all(requirement) - others

    @property
    def has_private(self) -> bool:
        """Whether a machine is kept for some users."""
        return bool(self._private)

    def _able_at_all(self, requirement: Requirement) -> frozenset[int]:
        found = self._able.get(requirement)
        if found is None:
            fitting = [seat for seat in self._seats if requirement.suits(seat)]
            low = requirement.min_memory_bytes
            larger = [s for s in fitting if low is not None and (s.memory_bytes or 0) > low]
            found = frozenset(seat.machine_id for seat in larger or fitting)
            self._able[requirement] = found
        return found

    def has_larger(self, task: Waiting, needed_bytes: float, but: int) -> bool:
        """Whether another machine, not benched for the task, has so much memory, or does not say."""
        sizes = self._sizes.get(task.requirement)
        if sizes is None:
            able = self.able(task.requirement)
            found = [s for s in self._seats if s.machine_id in able]
            sizes = self._sizes[task.requirement] = [
                (math.inf if s.memory_bytes is None else s.memory_bytes, s.machine_id)
                for s in found
            ]
            sizes.sort(reverse=True)
        for size, machine_id in sizes:
            if size < needed_bytes:
                return False
            is_private = task.user_id not in self._private.get(machine_id, (task.user_id,))
            if machine_id != but and not is_private and not task.record(machine_id).avoid:
                return True
        return False

    def has_another(self, task: Waiting) -> bool:
        """Whether a machine could do the task that is not benched for it."""
        able = self.able_for(task)
        benched = sum(record.avoid and m in able for m, record in task.records.items())
        return len(able) > benched


def _is_version(version: str | None, wanted: str) -> bool:
    """Whether major and minor are the same: "4.5.1" is a "4.5"."""
    return version is not None and version.split(".")[:2] == wanted.split(".")[:2]


def with_helper(
    active: Iterable[ActiveChunk], copy_of: int | None, frames: FrameSet
) -> tuple[ActiveChunk, ...]:
    """The chunks, when another machine has taken these frames of the attempt `copy_of`, too."""
    return tuple(
        replace(chunk, helped=chunk.helped | frames) if chunk.attempt_id == copy_of else chunk
        for chunk in active
    )
