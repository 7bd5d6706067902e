"""Who gets what: the queue, the machines and `now` in, decisions out. Pure.

The order is priority, then fair share, then age. Within a priority nobody starves: each machine
that a user gets, and what they recently had, makes the others go before them, and their own tasks
come oldest first. A lower priority waits while a higher one has something for the machine: that is
what a priority is for. Idle machines come before busy ones, which may be handed their next chunk
ahead of time; idle ones that find nothing help with the last frames of others (tails.py).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any

from renderonline.api.domain.pace import Outlook, seconds_alone, start_s
from renderonline.api.domain.pools import (
    MOST_HELPERS,
    MOST_TRIES,
    Helpers,
    Pool,
    reserved_for,
)
from renderonline.api.domain.queue_index import Queue, Rank
from renderonline.api.domain.sizing import START_SHARE, Situation, chunk_size, first_frames
from renderonline.api.domain.strain import PATIENCE_S, ROOM, as_it_will_be, is_full, strain
from renderonline.api.domain.tails import Tail, copied_frames, tail_of
from renderonline.api.domain.workload import (
    ActiveChunk,
    Assignment,
    Record,
    Requirement,
    Roster,
    Seat,
    Waiting,
    with_helper,
)
from renderonline.frames import FrameSet

__all__ = [
    "ActiveChunk",
    "Assignment",
    "Queue",
    "Record",
    "Roster",
    "Seat",
    "Waiting",
    "plan",
]

STAYING = 0.5
"""Machines by which a user may be behind before one leaves the task that it is warm for."""

NOTHING: Mapping[Any, Any] = MappingProxyType({})

UNDECIDED = 0
"""Attempt id of a chunk that is only planned."""


def plan(
    queue: Queue,
    seats: Sequence[Seat],
    now: datetime,
    *,
    everyone: Roster,
    usage: Mapping[int, float] = NOTHING,
    engine_limits: Mapping[str, int] = NOTHING,
) -> list[Assignment]:
    """At most one assignment for each of `seats`, all of which are in `everyone`.

    `usage` is what each user recently used, in machines; `engine_limits` the most machines that
    may have something of an engine (lower case) at once. The queue is left as it was found.
    """
    queue.advance(now)
    call = _Call(queue, everyone, now, usage, engine_limits)
    try:
        seats = [as_it_will_be(seat, queue.get(seat.last_task or 0)) for seat in seats]
        idle = [seat for seat in seats if seat.free_in_s <= 0]
        call.give(idle)
        call.copy(idle)
        call.give([seat for seat in seats if seat.free_in_s > 0])
    finally:
        call.undo()
    return call.decisions


class _Call:
    """One call of `plan`. Decisions are put into the queue, so that the next one sees them."""

    def __init__(
        self,
        queue: Queue,
        roster: Roster,
        now: datetime,
        usage: Mapping[int, float],
        engine_limits: Mapping[str, int],
    ) -> None:
        self.decisions: list[Assignment] = []
        self._queue = queue
        self._roster = roster
        self._now = now
        self._usage = usage
        self._limits = engine_limits
        self._before: dict[int, Waiting] = {}  # tasks that were changed, as they were
        self._outlooks: dict[int, Outlook] = {}
        self._alone: dict[int, tuple[Waiting, float | None]] = {}
        self._taken: set[int] = set()  # machines
        # user → how many of their machines are planned for, and so count as free
        self._leaving: Counter[int] = Counter()

    def give(self, seats: Sequence[Seat]) -> None:
        """Waiting frames to these machines, as long as there are some that suit one."""
        pools = self._pools(seats)
        self._leaving = Counter(filter(None, map(self._user_of, seats)))
        offers: dict[int, Iterator[Seat]] = {}  # task → machines that have not been offered it
        passed: set[int] = set()  # tasks that none of the machines can have
        while (found := self._next(pools, passed)) is not None:
            task, pool = found
            if task.task_id not in offers:
                offers[task.task_id] = self._offers(task, pool)
            for seat in offers[task.task_id]:
                stays = self._stays(seat, task, pool, pools)
                if (stays and self._give(stays[0], seat, stays[1])) or self._give(task, seat, pool):
                    self._take(seat, pools.values())
                    break
            else:
                passed.add(task.task_id)

    def copy(self, seats: Sequence[Seat]) -> None:
        """The last frames of others to those of these machines that found nothing: to one after the
        other, and always of the chunk that would take longest."""
        pools = self._pools(seats)
        tails = [(*tail.urgency, n, tail) for n, tail in enumerate(self._tails(pools))]
        heapq.heapify(tails)
        waiting = Counter(tail.task.requirement for *_, tail in tails)
        offers: dict[int, Helpers] = {}  # by task
        while tails:
            *_, number, tail = heapq.heappop(tails)
            requirement = tail.task.requirement
            seat = self._helper(tail, pools[requirement], offers, waiting[requirement])
            if seat is None:
                waiting[requirement] -= 1
                continue
            self._take(seat, pools.values())
            task = self._queue.get(tail.task.task_id)
            assert task is not None
            chunk = next(c for c in task.active if c.attempt_id == tail.chunk.attempt_id)
            again = tail_of(task, chunk, self._outlook(task), self._now)
            if again is None:
                waiting[requirement] -= 1
            else:
                heapq.heappush(tails, (*again.urgency, number, again))

    def _helper(
        self, tail: Tail, pool: Pool, offers: dict[int, Helpers], tails: int
    ) -> Seat | None:
        """The machine that was given a part of the chunk; None if none was. `tails`: so many chunks
        share the machines."""
        task_id = tail.task.task_id
        if not pool.seats or self._is_at_limit(tail.task.engine):
            return None
        if task_id not in pool.group.tails:  # a copy was the last it could have
            return None
        if task_id not in offers:
            offers[task_id] = Helpers(tail.task, self._offers(tail.task, pool))
        task = self._queue.get(task_id)
        assert task is not None
        best = offers[task_id].free(self._taken, MOST_TRIES)
        known = self._outlook(task)
        if not any(copied_frames(tail, task.record(seat.machine_id), known) for seat in best):
            return None
        helpers = len(offers[task_id].free(self._taken, MOST_HELPERS)) // tails
        return next((seat for seat in best if self._copy(tail, seat, max(1, helpers))), None)

    def undo(self) -> None:
        """Leave the queue as it was."""
        for task in self._before.values():
            self._queue.put(task)

    # ----------------------------------------------------------------- which task

    def _pools(self, seats: Sequence[Seat]) -> dict[Requirement, Pool]:
        """The machines that are free, by what they can do of what is wanted."""
        free = [seat for seat in seats if seat.machine_id not in self._taken]
        if not free:
            return {}
        free.sort(key=lambda seat: (seat.free_in_s, seat.machine_id))
        pools = {}
        wanted = [
            group.requirement
            for group in self._queue.groups()
            if group.ready and not self._is_at_limit(group.requirement.engine)
        ]
        reserved = reserved_for(free, wanted, self._roster)
        for group in self._queue.groups():
            able, tags = self._roster.able(group.requirement), group.requirement.tags
            others = {m for m, tag in reserved.items() if tag not in tags}
            fitting = [s for s in free if s.machine_id in able and s.machine_id not in others]
            if fitting:
                pools[group.requirement] = Pool(group, fitting)
        return pools

    def _next(
        self, pools: Mapping[Requirement, Pool], passed: set[int]
    ) -> tuple[Waiting, Pool] | None:
        """The task that comes first of all that one of the free machines could do."""
        best: tuple[Rank, Pool] | None = None
        for pool in pools.values():
            line = pool.group.line
            if not line or not pool.seats or (best and line[0] > best[0].negative_priority):
                continue
            if self._is_at_limit(pool.group.requirement.engine):
                continue
            is_passed = partial(self._is_passed, passed, pool)
            rank = self._queue.first(
                pool.group, self._usage, is_passed, self._leaving, pool.users()
            )
            if rank is not None and (best is None or rank < best[0]):
                best = (rank, pool)
        if best is None:
            return None
        task = self._queue.get(best[0].task_id)
        assert task is not None
        return task, best[1]

    def _is_passed(self, passed: set[int], pool: Pool, task_id: int) -> bool:
        """Whether none of the free machines may have the task; remembered in `passed`."""
        if task_id in passed:
            return True
        task = self._queue.get(task_id)
        assert task is not None
        is_free_of_doubt = not task.records and task.memory_bytes is None
        if is_free_of_doubt or any(self._may_have(task, seat) for seat in pool.seats.values()):
            return False
        passed.add(task_id)
        return True

    def _is_at_limit(self, engine: str) -> bool:
        limit = self._limits.get(engine)
        return limit is not None and self._queue.machines_with(engine) >= limit

    # ----------------------------------------------------------------- which machine

    def _offers(self, task: Waiting, pool: Pool) -> Iterator[Seat]:
        """The machines that may have the task, best first: at ease, warm for it, soon, fast."""
        known = self._outlook(task)
        recorded = [seat for seat in pool.with_record(task) if self._may_have(task, seat)]

        def key(seat: Seat) -> tuple[float, bool, float, float, int]:
            record = task.record(seat.machine_id)
            frame_s = record.frame_s or known.frame_s or 0.0
            return (
                strain(seat, task),
                not record.is_warm,
                seat.free_in_s,
                frame_s,
                seat.machine_id,
            )

        others = pool.without_record(task)
        offers = heapq.merge(sorted(recorded, key=key), others, key=key)
        return (s for s in offers if s.machine_id not in self._taken and self._serves(task, s))

    def _may_have(self, task: Waiting, seat: Seat) -> bool:
        record = task.record(seat.machine_id)
        if record.not_before is not None and record.not_before > self._now:
            return False
        if record.avoid and self._roster.has_another(task):
            return False
        return self._serves(task, seat)

    def _serves(self, task: Waiting, seat: Seat) -> bool:
        """False for users that the machine is not kept for, and while a task waits for a machine
        that has more memory free than this one."""
        if seat.only_users and task.user_id not in seat.only_users:
            return False
        if not is_full(seat, task) or not self._roster.has_larger(
            task, ROOM * (task.memory_bytes or 0), but=seat.machine_id
        ):
            return True
        if task.active:
            return False  # others are at it, and go on
        since = self._queue.cramped_since(task.task_id, self._now)
        return (self._now - since).total_seconds() >= PATIENCE_S

    def _stays(
        self, seat: Seat, task: Waiting, pool: Pool, pools: Mapping[Requirement, Pool]
    ) -> tuple[Waiting, Pool] | None:
        """What the machine should rather go on with than start up for `task`, if anything.

        Between users, as long as that costs the other one less than half a machine; between tasks
        of one user, until its start has paid off, unless another start pays off as well.
        """
        own = self._queue.get(seat.last_task or 0)
        if own is None or own.task_id == task.task_id or own.priority != task.priority:
            return None
        record, its_pool = own.record(seat.machine_id), pools.get(own.requirement)
        if not record.is_warm or its_pool is None or seat.machine_id not in its_pool.seats:
            return None
        if not self._queue.is_ready(own.task_id) or not self._may_have(own, seat):
            return None
        if own.user_id != task.user_id:
            is_close = self._share(own) <= self._share(task) + STAYING
        else:
            paid_s = START_SHARE * start_s(replace(record, is_warm=False), self._outlook(own))
            is_paid = record.frames_done * (record.frame_s or 0.0) >= paid_s
            is_close = not is_paid and not self._pays_off(task, seat, pool)
        return (own, its_pool) if is_close else None

    def _share(self, task: Waiting) -> float:
        return self._queue.share(task.user_id, self._usage, self._leaving)

    def _pays_off(self, task: Waiting, seat: Seat, pool: Pool) -> bool:
        """Whether the machine's part of the task is known to be worth a start."""
        known, record = self._outlook(task), task.record(seat.machine_id)
        frame_s = record.frame_s or known.frame_s
        if task.todo is None or frame_s is None:
            return task.todo is None
        part = self._situation(task, seat, pool).fair_share(record)
        return part * frame_s >= START_SHARE * start_s(record, known)

    def _user_of(self, seat: Seat) -> int | None:
        """Whose task the machine is at; None: nobody's."""
        found = seat.after and self._queue.at_work(seat.machine_id, seat.after)
        return found[0].user_id if found else None

    def _take(self, seat: Seat, pools: Iterable[Pool]) -> None:
        self._taken.add(seat.machine_id)
        user_id = self._user_of(seat)
        if user_id is not None:
            self._leaving -= Counter((user_id,))
        for pool in pools:
            pool.take(seat)

    # ----------------------------------------------------------------- what of it

    def _give(self, task: Waiting, seat: Seat, pool: Pool) -> bool:
        """Whether the machine got something of the task."""
        if task.todo is None:
            self._decide(task, Assignment(task.task_id, seat.machine_id, None, seat.after))
            return True
        record = task.record(seat.machine_id)
        if self._comes_too_late(task, seat, record):
            return False
        size = chunk_size(task.chunk_frames, record, self._situation(task, seat, pool))
        if not size:
            return False
        frames = first_frames(task, size)
        self._decide(task, Assignment(task.task_id, seat.machine_id, frames, seat.after))
        return True

    def _comes_too_late(self, task: Waiting, seat: Seat, record: Record) -> bool:
        """Whether those at work would have rendered everything before this machine had started
        and saved a frame."""
        known = self._outlook(task)
        wait_s = seat.free_in_s + start_s(record, known)
        if not known.machines or not wait_s or task.preview.runs:
            return False
        alone_s = self._alone_s(task)
        if alone_s is None:
            return False
        # Those at work are, on the mean, in the middle of a frame when the last one is begun.
        frame_s = record.frame_s or known.frame_s or 0.0
        return wait_s + frame_s > alone_s + 0.5 * (known.frame_s or 0.0)

    def _alone_s(self, task: Waiting) -> float | None:
        """See pace.seconds_alone; worked out once for each state of the task."""
        found = self._alone.get(task.task_id)
        if found is None or found[0] is not task:
            seconds = seconds_alone(task, self._outlook(task), self._now)
            found = self._alone[task.task_id] = (task, seconds)
        return found[1]

    def _situation(self, task: Waiting, seat: Seat, pool: Pool) -> Situation:
        assert task.todo is not None
        own = [c for c in task.active if c.machine_id == seat.machine_id] if seat.after else []
        known = self._outlook(task)
        able = len(self._roster.able(pool.group.requirement))
        # Each user with tasks like this one gets as many of the machines as the others, and where
        # there are fewer tasks than machines, those that are busy with others will come, too.
        free = (len(pool.seats) - 1) // pool.group.users(task.priority) if not own else 0
        coming = able // (pool.group.ready + len(pool.group.tails)) - known.machines - (not own)
        return Situation(
            known,
            todo=len(task.todo),
            own=sum(len(chunk.frames) for chunk in own),
            is_at_work=bool(own),
            helpers=max(free, coming, 0),
            has_backlog=pool.group.ready > able,
        )

    def _outlook(self, task: Waiting) -> Outlook:
        found = self._outlooks.get(task.task_id)
        if found is None:
            found = self._outlooks[task.task_id] = self._queue.outlook(task)
        return found

    def _decide(self, task: Waiting, decision: Assignment) -> None:
        """Note it down, and let the next decisions see it."""
        frames = decision.frames or FrameSet()
        record = task.record(decision.machine_id)
        is_new = all(chunk.machine_id != decision.machine_id for chunk in task.active)
        self.decisions.append(decision)
        self._before.setdefault(task.task_id, task)
        self._outlooks[task.task_id] = self._outlook(task).joined_by(record, len(frames), is_new)
        is_copy = decision.copy_of is not None
        chunk = ActiveChunk(UNDECIDED, decision.machine_id, frames, None, is_copy)
        active = with_helper(task.active, decision.copy_of, frames)
        self._queue.put(
            replace(
                task,
                todo=task.todo - frames if task.todo is not None else None,
                preview=task.preview - frames,
                active=(*active, chunk),
            )
        )

    # ----------------------------------------------------------------- the last frames

    def _tails(self, pools: Mapping[Requirement, Pool]) -> list[Tail]:
        """What is left of the chunks that the machines could help with, the longest first."""
        tails = []
        for pool in pools.values():
            for task in pool.group.tails.values():
                known = self._outlook(task)
                for chunk in task.active:
                    if chunk.attempt_id != UNDECIDED and not chunk.is_copy:
                        tails.append(tail_of(task, chunk, known, self._now))
        return sorted((tail for tail in tails if tail is not None), key=lambda t: t.urgency)

    def _copy(self, tail: Tail, seat: Seat, helpers: int) -> bool:
        """Whether the machine was given a part of the chunk."""
        task = self._queue.get(tail.task.task_id)
        assert task is not None
        if task.machine_limit is not None:
            at_work = {chunk.machine_id for chunk in task.active}
            helpers = max(1, min(helpers, task.machine_limit - len(at_work)))
        record = task.record(seat.machine_id)
        frames = copied_frames(tail, record, self._outlook(task), helpers)
        if frames is None:
            return False
        attempt_id = tail.chunk.attempt_id
        self._decide(task, Assignment(task.task_id, seat.machine_id, frames, copy_of=attempt_id))
        return True
