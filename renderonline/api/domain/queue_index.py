"""The queue, sorted for planning: by what a machine must have, priority, user and age.

A change costs O(log n) comparisons, and finding the next task for a machine does not depend on
how many tasks wait that it cannot take. Pure; not safe for two threads at once.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from renderonline.api.domain.pace import Outlook, outlook
from renderonline.api.domain.workload import ActiveChunk, Requirement, Waiting

NOBODY: Mapping[int, int] = MappingProxyType({})

LEAST_WEIGHT = 0.001
"""A subscription without weight comes after all others, but it does come."""


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """A task's place in line. The smallest is next."""

    negative_priority: int
    share: float  # machines that its user has and recently had, over the weight
    order: int
    task_id: int


class _Tally:
    """Machines at work on something; one with two tasks of it counts once."""

    def __init__(self) -> None:
        self._tasks: Counter[int] = Counter()  # by machine

    def __len__(self) -> int:
        return len(self._tasks)

    def change(self, gone: Iterable[int], came: Iterable[int]) -> None:
        self._tasks.update(came)
        for machine_id in gone:
            self._tasks[machine_id] -= 1
            if not self._tasks[machine_id]:
                del self._tasks[machine_id]


@dataclass(slots=True)
class _User:
    weight: float = 1.0
    machines: _Tally = field(default_factory=_Tally)
    levels: set[_Level] = field(default_factory=set)  # in which they have tasks

    @property
    def floor(self) -> float:
        """The least that their share can be: without what they used before."""
        return len(self.machines) / self.weight


class _Level:
    """The tasks of one requirement and one priority that want a machine."""

    def __init__(self) -> None:
        self.tasks: dict[int, list[tuple[int, int]]] = {}  # user → (order, task id), sorted
        # (floor, order of the oldest task, user), sorted: a lower bound of what the user's rank is
        self.line: list[tuple[float, int, int]] = []
        self._keys: dict[int, tuple[float, int, int]] = {}

    def next(self, user_id: int, is_passed: Callable[[int], bool]) -> tuple[int, int] | None:
        """Of the user's tasks the first that is to be had: its order and its id."""
        return next((place for place in self.tasks[user_id] if not is_passed(place[1])), None)

    def rank_user(self, user_id: int, floor: float) -> None:
        """Put the user where their floor and oldest task belong."""
        old = self._keys.pop(user_id, None)
        if old is not None:
            del self.line[bisect_left(self.line, old)]
        if user_id in self.tasks:
            key = (floor, self.tasks[user_id][0][0], user_id)
            self._keys[user_id] = key
            insort(self.line, key)


class Group:
    """The tasks that want the same of a machine."""

    def __init__(self, requirement: Requirement) -> None:
        self.requirement = requirement
        self.levels: dict[int, _Level] = {}  # by negative priority
        self.line: list[int] = []  # the keys of `levels`, sorted
        self.ready = 0  # tasks in `levels`
        self.tails: dict[int, Waiting] = {}  # nothing is waiting of them, but chunks are active

    @property
    def is_empty(self) -> bool:
        return not self.levels and not self.tails

    def users(self, priority: int) -> int:
        """How many users have tasks waiting here, of this priority."""
        level = self.levels.get(-priority)
        return len(level.tasks) if level is not None else 0


@dataclass(slots=True)
class _Entry:
    task: Waiting
    machines: frozenset[int]
    is_ready: bool = False
    is_tail: bool = False
    chunks: dict[int, ActiveChunk] | None = None  # by attempt, once somebody asked


class Queue:
    """Every task that wants a machine or has one.

    A task stays in here while chunks of it are active, also if it wants nothing more: users'
    shares and the engines' limits are counted from that.
    """

    def __init__(self, tasks: Iterable[Waiting] = ()) -> None:
        self._entries: dict[int, _Entry] = {}
        self._groups: dict[Requirement, Group] = {}
        self._users: dict[int, _User] = {}
        self._engines: dict[str, _Tally] = {}
        self._machines: dict[int, set[int]] = {}  # → the tasks of which they have something
        self._outlooks: dict[int, tuple[Waiting, Outlook]] = {}  # and what they were made from
        self._timed: list[tuple[datetime, int]] = []  # heap: those whose time has not come
        self._alarms: dict[int, datetime] = {}  # task → the time in the heap that counts
        self._now: datetime | None = None
        # task → since when it is kept from machines that have no room for it, and no other has it
        self._cramped: dict[int, datetime] = {}
        for task in tasks:
            self.put(task)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, task_id: int) -> Waiting | None:
        entry = self._entries.get(task_id)
        return entry.task if entry is not None else None

    def tasks(self) -> list[Waiting]:
        """Every one, as it is now. Any thread, also while another one changes them."""
        return [entry.task for entry in list(self._entries.values())]

    def put(self, task: Waiting) -> None:
        """Take the task in, in place of what was known of it."""
        old = self._entries.get(task.task_id)
        entry = _Entry(task, frozenset(chunk.machine_id for chunk in task.active))
        if old is not None:
            self._unlist(old)
        self._count(old, entry)
        self._entries[task.task_id] = entry
        self._list(entry)
        if task.active:
            self._cramped.pop(task.task_id, None)
        if old is not None:
            self._sweep(old.task.requirement)

    def drop(self, task_id: int) -> None:
        """Forget the task; nothing happens if it is not known."""
        old = self._entries.pop(task_id, None)
        if old is not None:
            self._unlist(old)
            self._sweep(old.task.requirement)
            self._count(old, None)
            self._outlooks.pop(task_id, None)
            self._cramped.pop(task_id, None)

    def cramped_since(self, task_id: int, now: datetime) -> datetime:
        """Since when a task that nobody works on finds only machines without room for it: `now`, if
        that is asked for the first time."""
        return self._cramped.setdefault(task_id, now)

    def advance(self, now: datetime) -> None:
        """From now on, tasks that were to start by `now` want machines."""
        self._now = now
        while self._timed and self._timed[0][0] <= now:
            start_at, task_id = heapq.heappop(self._timed)
            if self._alarms.get(task_id) == start_at:
                del self._alarms[task_id]
            entry = self._entries.get(task_id)
            if entry is not None and not entry.is_ready and not entry.is_tail:
                self._list(entry)

    def next_start(self) -> datetime | None:
        """When the next task's start time comes, at the earliest; None: none has one to come."""
        return self._timed[0][0] if self._timed else None

    def groups(self) -> Iterator[Group]:
        yield from self._groups.values()

    def machines_with(self, engine: str) -> int:
        """How many machines have something of this engine."""
        return len(self._engines.get(engine, ()))

    def at_work(self, machine_id: int, attempt_id: int) -> tuple[Waiting, ActiveChunk] | None:
        """What the machine does under this number; None: nothing that is known here."""
        for task_id in self._machines.get(machine_id, ()):
            entry = self._entries[task_id]
            if entry.chunks is None:
                entry.chunks = {chunk.attempt_id: chunk for chunk in entry.task.active}
            if attempt_id in entry.chunks:
                return entry.task, entry.chunks[attempt_id]
        return None

    def outlook(self, task: Waiting) -> Outlook:
        """What is known of the task's pace; worked out once for each state of it."""
        found = self._outlooks.get(task.task_id)
        if found is None or found[0] is not task:
            found = self._outlooks[task.task_id] = (task, outlook(task))
        return found[1]

    def first(
        self,
        group: Group,
        usage: Mapping[int, float],
        is_passed: Callable[[int], bool],
        leaving: Mapping[int, int] = NOBODY,
        users: Collection[int] | None = None,
    ) -> Rank | None:
        """The next of the group's tasks, by priority, share and age; with `users` of theirs only.

        `usage`: what each user recently used, in machines. `is_passed` says of a task id that the
        task is not to be had just now. `leaving`: of the users' machines, those that are planned
        for and so count as free; of few users.
        """
        for negative_priority in group.line:
            level = group.levels[negative_priority]

            def rank(
                user_id: int, level: _Level = level, first: int = negative_priority
            ) -> Rank | None:
                found = level.next(user_id, is_passed)
                return Rank(first, self.share(user_id, usage, leaving), *found) if found else None

            few = leaving if users is None else users
            ranks = [rank(user_id) for user_id in few if user_id in level.tasks]
            best = min(filter(None, ranks), default=None)
            for floor, oldest, user_id in level.line if users is None else ():
                if best is not None and (best.share, best.order) < (floor, oldest):
                    break
                if user_id not in leaving and (found := rank(user_id)) is not None:
                    best = found if best is None else min(best, found)
            if best is not None:
                return best
        return None

    def is_ready(self, task_id: int) -> bool:
        """Whether some of the task waits for a machine."""
        entry = self._entries.get(task_id)
        return entry is not None and entry.is_ready

    def share(
        self, user_id: int, usage: Mapping[int, float], leaving: Mapping[int, int] = NOBODY
    ) -> float:
        """A user's place in line; see `first`. They have tasks here."""
        user = self._users[user_id]
        return user.floor + (usage.get(user_id, 0.0) - leaving.get(user_id, 0)) / user.weight

    # ----------------------------------------------------------------- what is counted

    def _count(self, old: _Entry | None, new: _Entry | None) -> None:
        """Machines by user and by engine, and where that puts the users in their lines."""
        self._hold(old, new)
        before = (old.task.user_id, old.task.engine) if old is not None else None
        after = (new.task.user_id, new.task.engine) if new is not None else None
        had = old.machines if old is not None else frozenset()
        has = new.machines if new is not None else frozenset()
        if before == after:
            had, has = had - has, has - had
        if before is not None:
            self._change(*before, gone=had)
        if after is not None and new is not None:
            user = self._users.setdefault(new.task.user_id, _User())
            weight = max(new.task.weight, LEAST_WEIGHT)
            if has or user.weight != weight:
                user.weight = weight
                self._change(*after, came=has)

    def _hold(self, old: _Entry | None, new: _Entry | None) -> None:
        had = old.machines if old is not None else frozenset()
        has = new.machines if new is not None else frozenset()
        if old is not None:
            for machine_id in had - has:
                self._machines[machine_id].discard(old.task.task_id)
                if not self._machines[machine_id]:
                    del self._machines[machine_id]
        if new is not None:
            for machine_id in has - had:
                self._machines.setdefault(machine_id, set()).add(new.task.task_id)

    def _change(
        self, user_id: int, engine: str, gone: Iterable[int] = (), came: Iterable[int] = ()
    ) -> None:
        user = self._users.setdefault(user_id, _User())
        user.machines.change(gone, came)
        self._engines.setdefault(engine, _Tally()).change(gone, came)
        for level in user.levels:
            level.rank_user(user_id, user.floor)
        self._sweep_user(user_id)

    def _sweep_user(self, user_id: int) -> None:
        user = self._users[user_id]
        if not user.levels and not len(user.machines):
            del self._users[user_id]

    # ----------------------------------------------------------------- what is sorted

    def _list(self, entry: _Entry) -> None:
        """Put it where planning looks for it, if it wants something."""
        task = entry.task
        if task.is_blocked or self._is_full(entry) or self._is_early(task):
            return
        if task.todo is None:
            entry.is_ready = not task.active
        else:
            entry.is_ready = bool(task.todo.runs)
            entry.is_tail = not entry.is_ready and bool(task.active)
        if entry.is_tail:
            self._group(task).tails[task.task_id] = task
        elif entry.is_ready:
            self._line_up(task)

    def _is_full(self, entry: _Entry) -> bool:
        limit = entry.task.machine_limit
        return limit is not None and len(entry.machines) >= limit

    def _is_early(self, task: Waiting) -> bool:
        """Whether its start time is to come; it is looked at again then."""
        if task.start_at is None or (self._now is not None and task.start_at <= self._now):
            return False
        if self._alarms.get(task.task_id) != task.start_at:
            self._alarms[task.task_id] = task.start_at
            heapq.heappush(self._timed, (task.start_at, task.task_id))
        return True

    def _group(self, task: Waiting) -> Group:
        return self._groups.setdefault(task.requirement, Group(task.requirement))

    def _line_up(self, task: Waiting) -> None:
        group = self._group(task)
        level = group.levels.get(-task.priority)
        if level is None:
            level = group.levels[-task.priority] = _Level()
            insort(group.line, -task.priority)
        user = self._users.setdefault(task.user_id, _User(max(task.weight, LEAST_WEIGHT)))
        user.levels.add(level)
        insort(level.tasks.setdefault(task.user_id, []), (task.order, task.task_id))
        level.rank_user(task.user_id, user.floor)
        group.ready += 1

    def _unlist(self, entry: _Entry) -> None:
        task = entry.task
        if not (entry.is_ready or entry.is_tail):
            return
        group = self._groups[task.requirement]
        if entry.is_tail:
            del group.tails[task.task_id]
        else:
            self._leave_line(task, group)
        entry.is_ready = entry.is_tail = False

    def _sweep(self, requirement: Requirement) -> None:
        group = self._groups.get(requirement)
        if group is not None and group.is_empty:
            del self._groups[requirement]

    def _leave_line(self, task: Waiting, group: Group) -> None:
        level = group.levels[-task.priority]
        own = level.tasks[task.user_id]
        del own[bisect_left(own, (task.order, task.task_id))]
        user = self._users[task.user_id]
        if not own:
            del level.tasks[task.user_id]
            user.levels.discard(level)
        level.rank_user(task.user_id, user.floor)
        if not level.tasks:
            del group.levels[-task.priority]
            group.line.remove(-task.priority)
        group.ready -= 1
        self._sweep_user(task.user_id)
