"""Machines dealt out to the queue as parts: what `forecast` plays time forward with. Pure.

The planner gives whole machines, one after the other; over a longer time that comes to what is dealt
here at once: to the highest priority first, equal shares of it to users by their weight, of those to
the oldest task as many as it has frames for, then to the next.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from renderonline.api.domain.workload import Requirement, Roster, Waiting

HALF_LIFE_S = 1800.0
"""What a user used so long ago counts half: a night's work is forgotten by morning, a coffee break
is not."""

LEAST = 1e-6
"""Of a machine: less than that is nothing."""

ROUNDS = 4
"""So often what some users have no frames for is dealt to the others."""

LEAST_WEIGHT = 0.001


@dataclass(slots=True)
class Job:
    """A task on its way through time."""

    task: Waiting
    able: frozenset[int]  # machines
    left: float  # frames
    frame_s: float  # on a machine that nothing is known of
    startup_s: float
    is_known: bool
    got: float = 0.0  # machines just now, besides those that have a chunk of it
    end_s: float | None = None
    last_round_s: float = 0.0  # until all of those that render its last frames are done
    ready_s: float | None = None  # when the first of them has started up
    bound: dict[int, float] = field(default_factory=dict)  # machine → its frames per second

    @property
    def machines(self) -> float:
        return len(self.bound) + self.got

    @property
    def wants(self) -> float:
        """Machines more that it could use."""
        most = math.ceil(self.left) if self.task.todo is not None else 1
        limit = self.task.machine_limit
        return max((most if limit is None else min(most, limit)) - self.machines, 0.0)

    def bind(self, machine_id: int) -> None:
        """The machine is at a chunk of it."""
        own_s = None if self.task.todo is None else self.task.record(machine_id).frame_s
        self.bound[machine_id] = 1 / (own_s or self.frame_s)

    def release(self, machine_id: int) -> bool:
        """Whether the machine was still at it."""
        return self.bound.pop(machine_id, None) is not None

    def release_all(self) -> list[int]:
        gone = list(self.bound)
        self.bound.clear()
        self.got = 0.0
        return gone

    def next_s(self, now_s: float) -> float:
        """When it will have started up, or else be done, if it keeps the machines that it has."""
        if self.ready_s is None:
            self.ready_s = now_s if self.bound else now_s + self.startup_s
        if self.ready_s > now_s:
            return self.ready_s
        count = max(self.machines, 1.0)
        # Machines come to the end of their last frames one by one.
        self.last_round_s = 0.5 * (1 - 1 / count) * self.frame_s if self.left > count else 0.0
        speed = self._speed
        return now_s + self.left / speed if speed > 0 else math.inf

    def render(self, from_s: float, to_s: float) -> None:
        """Time passes with the machines that it has."""
        if self.ready_s is not None and self.ready_s <= from_s:
            self.left = max(self.left - self._speed * (to_s - from_s), 0.0)

    @property
    def _speed(self) -> float:
        return sum(self.bound.values()) + self.got / self.frame_s


Want = tuple[Requirement, int | None]
"""What a task asks of a machine, and its user where some machines are kept for users."""


class Pool:
    """The machines that no chunk binds, by what they are able to do. Parts of them can be drawn."""

    def __init__(
        self, roster: Roster, tasks: Iterable[Waiting], engine_limits: Mapping[str, int]
    ) -> None:
        self._has_private = roster.has_private
        self._able = {want: roster.able(*want) for want in map(self.want, tasks)}
        can: dict[int, list[Want]] = {}
        for want, machines in self._able.items():
            for machine_id in machines:
                can.setdefault(machine_id, []).append(want)
        self._kind = {machine_id: frozenset(found) for machine_id, found in can.items()}
        self._free = Counter(self._kind.values())
        self._bound: set[int] = set()
        # Those that can do little else first: the others are left for who needs them.
        kinds = sorted(self._free, key=len)
        self._kinds = {want: [kind for kind in kinds if want in kind] for want in self._able}
        self._limits = engine_limits
        self._left: dict[frozenset[Want], float] = {}
        self._engines: dict[str, float] = {}

    def want(self, task: Waiting) -> Want:
        """What it asks of a machine; whose it is, only where that makes a difference."""
        return task.requirement, task.user_id if self._has_private else None

    def able(self, task: Waiting) -> frozenset[int]:
        return self._able[self.want(task)]

    def take(self, machine_id: int) -> None:
        """It is at a chunk. One that gets no more work is not in here anyway."""
        if machine_id in self._kind and machine_id not in self._bound:
            self._bound.add(machine_id)
            self._free[self._kind[machine_id]] -= 1

    def give_back(self, machine_id: int) -> None:
        if machine_id in self._bound:
            self._bound.discard(machine_id)
            self._free[self._kind[machine_id]] += 1

    def begin(self, bound: Iterable[Job]) -> None:
        """Everything is dealt anew, but for what is bound."""
        self._left = {kind: float(count) for kind, count in self._free.items()}
        self._engines = {name: float(limit) for name, limit in self._limits.items()}
        for job in bound:
            if job.task.engine in self._engines:
                self._engines[job.task.engine] -= len(job.bound)

    def left(self) -> float:
        """Machines that are not dealt yet."""
        return sum(self._left.values())

    def has(self, want: Want) -> bool:
        """Whether there is anything left of what could do it."""
        is_allowed = self._engines.get(want[0].engine, 1.0) > LEAST
        return is_allowed and any(self._left[kind] > LEAST for kind in self._kinds[want])

    def draw(self, want: Want, count: float) -> float:
        """Up to so many machines that can do it; how many there were."""
        engine = want[0].engine
        count = max(min(count, self._engines.get(engine, count)), 0.0)
        drawn = 0.0
        for kind in self._kinds[want]:
            part = min(count - drawn, self._left[kind])
            if part > 0:
                self._left[kind] -= part
                drawn += part
        if engine in self._engines:
            self._engines[engine] -= drawn
        return drawn


Places = dict[Want, list[tuple[int, int]]]
"""A user's tasks of one priority: (order, task id), sorted."""


class Line:
    """The tasks that want machines, and who is dealt what."""

    def __init__(self, pool: Pool, usage: Mapping[int, float]) -> None:
        self.deals = 0
        self._pool = pool
        self._usage = usage
        self._jobs: dict[int, Job] = {}
        self._levels: dict[int, dict[int, Places]] = {}  # negative priority → user
        self._order: list[int] = []  # the levels' keys, sorted
        self._served: list[Job] = []

    def add(self, job: Job) -> None:
        """It wants machines from now on."""
        task = job.task
        if -task.priority not in self._levels:
            insort(self._order, -task.priority)
        places = self._levels.setdefault(-task.priority, {}).setdefault(task.user_id, {})
        insort(places.setdefault(self._pool.want(task), []), (task.order, task.task_id))
        self._jobs[task.task_id] = job

    def remove(self, job: Job) -> None:
        """It is done."""
        task = job.task
        level = self._levels[-task.priority]
        places = level[task.user_id]
        want = self._pool.want(task)
        own = places[want]
        del own[bisect_left(own, (task.order, task.task_id))]
        if not own:
            del places[want]
        if not places:
            del level[task.user_id]
        if not level:
            del self._levels[-task.priority]
            self._order.remove(-task.priority)
        del self._jobs[task.task_id]

    def rest(self) -> Iterator[Job]:
        """Those that are still in line, by priority and age."""
        yield from sorted(self._jobs.values(), key=lambda j: (-j.task.priority, j.task.order))

    def deal(self, now_s: float, bound: Iterable[Job]) -> list[Job]:
        """The tasks that have machines now. `bound`: those that have chunks."""
        for job in self._served:
            job.got = 0.0
        self._served = []
        bound = [job for job in bound if job.bound]
        self._pool.begin(bound)
        has = {user: used * 0.5 ** (now_s / HALF_LIFE_S) for user, used in self._usage.items()}
        for job in bound:
            has[job.task.user_id] = has.get(job.task.user_id, 0.0) + len(job.bound)
        for key in self._order:
            if self._pool.left() <= LEAST:
                break
            self._deal(self._levels[key], has)
        at_work = {job.task.task_id: job for job in bound if job.task.task_id in self._jobs}
        return list((at_work | {job.task.task_id: job for job in self._served}).values())

    def _deal(self, level: Mapping[int, Places], has: dict[int, float]) -> None:
        """Shares of what is left to the users of a level; `has` is what they have already."""
        wanting = set(level)
        weights = {user: max(self._first(level[user]).task.weight, LEAST_WEIGHT) for user in level}
        for _ in range(ROUNDS):
            count = self._pool.left()
            if count <= LEAST or not wanting:
                return
            shares = equalized(count, {u: (has.get(u, 0.0), weights[u]) for u in sorted(wanting)})
            for user, share in shares.items():
                got = self._serve(level[user], share)
                has[user] = has.get(user, 0.0) + got
                if got < share - LEAST:
                    wanting.discard(user)

    def _first(self, places: Places) -> Job:
        return self._jobs[next(iter(places.values()))[0][1]]

    def _serve(self, places: Places, share: float) -> float:
        """A user's share to their tasks, the oldest first; how much of it was used."""
        heads = [(own[0], n, 0, r) for n, (r, own) in enumerate(places.items())]
        heapq.heapify(heads)
        used = 0.0
        while heads and share - used > LEAST:
            (_, task_id), n, position, want = heapq.heappop(heads)
            self.deals += 1
            job = self._jobs[task_id]
            got = self._pool.draw(want, min(job.wants, share - used))
            if got > 0:
                job.got += got
                used += got
                self._served.append(job)
            own = places[want]
            if position + 1 < len(own) and self._pool.has(want):
                heapq.heappush(heads, (own[position + 1], n, position + 1, want))
        return used


def equalized(count: float, entries: Mapping[int, tuple[float, float]]) -> dict[int, float]:
    """`count` machines to users so that all come to the same share: what they have over their weight.

    `entries`: what each has, and the weight.
    """
    rising = sorted(entries, key=lambda user: entries[user][0] / entries[user][1])
    level = weight = has = 0.0
    for index, user in enumerate(rising):
        own, its = entries[user]
        if index and own / its >= level:
            break
        has, weight = has + own, weight + its
        level = (count + has) / weight
    return {user: max(level * entries[user][1] - entries[user][0], 0.0) for user in rising}
