"""What the api believes about each machine, from its last answer. In memory; any thread.

A belief is only ever used to offer work: a machine that is not as free as we think refuses the
start, and that is all that happens.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache

from renderonline.api.domain.hours import BadHours, Hours, parse
from renderonline.api.domain.model import Chunk, Job, Machine, MachineState
from renderonline.api.domain.planner import Roster, Seat
from renderonline.api.domain.workload import requirement_of
from renderonline.lifecycle import Clock
from renderonline.wire import HpcStatus, Vitals

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
"""First pause before an unreachable machine is asked again; doubled up to the poll's interval."""

PROGRESS_PER_S = 40.0
"""Reports of progress that the api wants to get a second: each costs it about 2 ms, so they take
less than a tenth of a core."""

LEAST_S, MOST_S = 0.5, 30.0
"""Between two reports of progress of one machine, on a small farm and on the largest."""

SETTLED_S = 90.0
"""So long after our last chunk a machine's load (a mean of a minute) and its free memory (a renderer
stays open for a minute) tell what others do there."""

WORKING_POLL_S = 1.0
"""Longest pause before a machine is asked again that renders and does not report by itself: the
original's, and ours while it cannot know whom to trust at the other end of TLS."""


@dataclass(slots=True)
class View:
    """One machine. Times are the clock's monotonic seconds."""

    machine: Machine
    status: HpcStatus | None = None  # its last answer
    vitals: Vitals | None = None
    reachable: bool | None = None  # None: never asked
    held: list[int] = field(default_factory=list)  # our attempts on it: the running, the next
    is_taken: bool = True  # something runs there of which we do not know
    reports: bool = False  # tells us by itself how a render goes
    next_visit: float = 0.0
    unreachable_since: float | None = None
    failures: int = 0
    last_task: int | None = None  # whose renderer may still be open there
    vitals_at: float = 0.0
    freed_at: float | None = None  # since when it has held nothing of ours; None: always
    closed: str | None = None  # it is outside its hours: a sentence
    # Raised by everything that we do to the machine; an answer asked for before that is old news.
    generation: int = 0
    visiting: bool = field(default=False)

    @property
    def engines(self) -> dict[str, str | None]:
        """Lower-case names of the engines that it may be used for, with their versions."""
        if self.status is None:
            return {}
        known = {info.engine_id.lower(): info.version for info in self.status.engines}
        names = [name.lower() for name in self.status.engine_ids]
        allowed = self.machine.only_engines
        return {name: known.get(name) for name in names if not allowed or name in allowed}

    @property
    def tags(self) -> frozenset[str]:
        own = frozenset(filter(None, (self.machine.reserve,)))
        return own | self.machine.tags | frozenset(self.status.tags if self.status else ())

    @property
    def is_busy(self) -> bool:
        return bool(self.held) or self.is_taken

    def seat(self, free_in_s: float = 0.0) -> Seat:
        """The machine as the planner sees it."""
        status, vitals = self.status or HpcStatus(), self.vitals or Vitals()
        return Seat(
            machine_id=self.machine.machine_id,
            engines=self.engines,
            tags=self.tags,
            memory_bytes=status.memory_bytes,
            memory_free_bytes=vitals.memory_free_bytes,
            load=vitals.load,
            free_in_s=free_in_s,
            after=self.held[-1] if self.held else None,
            last_task=self.last_task,
            is_settled=self._is_settled,
            only_users=self.machine.only_users,
            reserve=self.machine.reserve or None,
        )

    @property
    def _is_settled(self) -> bool:
        """Whether its vitals were taken when nothing of ours was in them any more."""
        if self.held or self.is_taken:
            return False
        return self.freed_at is None or self.vitals_at - self.freed_at >= SETTLED_S


class Fleet:
    """All machines of the farm."""

    def __init__(self, poll_s: float, clock: Clock) -> None:
        self._poll_s = poll_s
        self._clock = clock
        self._views: dict[int, View] = {}
        self._roster: Roster | None = None  # None: to be made anew
        self._minute: int | None = None  # in which hours were looked at last; None: look again
        self._lock = threading.Lock()

    def generations(self) -> dict[int, int]:
        """What `refresh` wants to know from before the database was read."""
        with self._lock:
            return {number: view.generation for number, view in self._views.items()}

    def refresh(
        self, machines: Iterable[Machine], chunks: Iterable[Chunk], before: Mapping[int, int]
    ) -> None:
        """Take machines and active chunks as the database had them; a changed address is a new
        machine. `before`: `generations` from before the reading; what changed since is kept."""
        held: dict[int, list[int]] = {}
        for chunk in chunks:
            held.setdefault(chunk.machine_id, []).append(chunk.attempt_id)
        with self._lock:
            current = {m.machine_id: m for m in machines}
            for machine_id in set(self._views) - set(current):
                del self._views[machine_id]
                self._roster = None
            for machine_id, machine in current.items():
                view = self._views.get(machine_id)
                if view is None or _address(view.machine) != _address(machine):
                    view = self._views[machine_id] = View(machine)
                if view.machine != machine:
                    view.machine, self._roster, self._minute = machine, None, None
                if before.get(machine_id, view.generation) == view.generation:
                    view.held = held.get(machine_id, [])

    def begin_visits(self, now: float) -> list[tuple[Machine, int]]:
        """The machines that are to be asked now, with their generation; each is then `visiting`."""
        with self._lock:
            due = [v for v in self._views.values() if not v.visiting and v.next_visit <= now]
            for view in due:
                view.visiting = True
            return [(view.machine, view.generation) for view in due]

    def answered(self, machine_id: int, generation: int, status: HpcStatus, now: float) -> bool:
        """A visit's good end. False if what it saw is old news: it is repeated at once."""
        with self._lock:
            view = self._views.get(machine_id)
            if view is None:
                return False
            before = (view.reachable, *_abilities(view))
            view.visiting = False
            view.reachable = True
            view.unreachable_since = None
            view.failures = 0
            view.status = status
            view.vitals, view.vitals_at = status.vitals, now
            if before != (True, *_abilities(view)):
                self._roster = None
            if view.generation != generation:
                view.next_visit = now
                return False
            view.is_taken = bool(status.task and status.task.is_running) and not view.held
            view.reports = status.protocol is not None
            view.next_visit = now + self._pause_s(view)
            return True

    def _pause_s(self, view: View) -> float:
        asks_often = view.is_busy and not view.reports
        return min(self._poll_s, WORKING_POLL_S) if asks_often else self._poll_s

    def unanswered(self, machine_id: int, now: float) -> float:
        """A visit's bad end. For how many seconds the machine has been unreachable."""
        with self._lock:
            view = self._views.get(machine_id)
            if view is None:
                return 0.0
            view.visiting = False
            if view.reachable:
                self._roster = None
            view.reachable = False
            view.unreachable_since = (
                now if view.unreachable_since is None else view.unreachable_since
            )
            view.next_visit = now + min(self._poll_s, FIRST_RETRY_S * 2**view.failures)
            view.failures = min(view.failures + 1, 10)
            return now - view.unreachable_since

    def report_every_s(self) -> float:
        """How often each machine is to report its progress, so that all together are bearable."""
        with self._lock:
            return min(max(LEAST_S, len(self._views) / PROGRESS_PER_S), MOST_S)

    def look_again(self, machine_id: int, now: float) -> None:
        """Something happened to the machine that only it can tell: ask it at once."""
        with self._lock:
            if view := self._views.get(machine_id):
                view.generation += 1
                view.is_taken = True
                view.next_visit = now

    def look_at(self, ip_address: str, port: int, now: float) -> None:
        """A machine at this address says that it is there: ask it at once, if we know it."""
        with self._lock:
            for view in self._views.values():
                if (view.machine.ip_address, view.machine.port) == (ip_address, port):
                    view.next_visit = now

    def changed(self, machine: Machine) -> None:
        """This has just been written of the machine; others learn it from the next refresh."""
        with self._lock:
            if view := self._views.get(machine.machine_id):
                view.machine, self._roster = machine, None

    def feels(self, machine_id: int, vitals: Vitals) -> None:
        """How the machine is, by its own report: it is alive, and need not be asked so soon."""
        now = self._clock.monotonic()
        with self._lock:
            if view := self._views.get(machine_id):
                view.vitals, view.vitals_at = vitals, now
                if view.reports and view.next_visit > now:
                    view.next_visit = now + self._poll_s

    def given(self, machine_id: int, attempt_id: int, task_id: int) -> None:
        """The machine has been given an attempt."""
        with self._lock:
            if view := self._views.get(machine_id):
                view.generation += 1
                view.held.append(attempt_id)
                view.last_task = task_id
                self._ask_soon(view)

    def freed(self, machine_id: int, attempt_id: int) -> None:
        """An attempt has ended; the machine told us, or we ended it."""
        with self._lock:
            if view := self._views.get(machine_id):
                view.generation += 1
                if attempt_id in view.held:
                    view.held.remove(attempt_id)
                view.is_taken = False
                view.freed_at = self._clock.monotonic()
                self._ask_soon(view)

    def _ask_soon(self, view: View) -> None:
        view.next_visit = min(view.next_visit, self._clock.monotonic() + self._pause_s(view))

    # ------------------------------------------------------------------ for planning

    def _keep_hours(self) -> None:
        """Machines open and close by the minute. Under the lock."""
        now = self._clock.now()
        if self._minute == (minute := int(now.timestamp() // 60)):
            return
        self._minute = minute
        local = now.astimezone()
        for view in self._views.values():
            closed = _closed(view.machine, local)
            if (closed is None) != (view.closed is None):
                self._roster = None
            view.closed = closed

    def closed(self) -> dict[int, tuple[str, bool]]:
        """The machines that are outside their hours: why they get nothing, and whether they are to
        stop at once."""
        with self._lock:
            self._keep_hours()
            return {
                machine_id: (view.closed, _stops(view.machine))
                for machine_id, view in self._views.items()
                if view.closed is not None
            }

    def idle(self) -> list[Seat]:
        """The machines that could start something, in the order of their ids."""
        with self._lock:
            self._keep_hours()
            return [
                view.seat()
                for _, view in sorted(self._views.items())
                if _gets_work(view) and not view.is_busy
            ]

    def seat(self, machine_id: int) -> Seat | None:
        """This machine, if it could be given something, now or ahead of time."""
        with self._lock:
            self._keep_hours()
            view = self._views.get(machine_id)
            if view is None or not _gets_work(view) or (view.is_busy and not _can_queue(view)):
                return None
            return view.seat()

    def everyone(self) -> list[Seat]:
        """All machines that get work and have answered, whatever they do just now."""
        with self._lock:
            self._keep_hours()
            return [view.seat() for _, view in sorted(self._views.items()) if _gets_work(view)]

    def roster(self) -> Roster:
        """The same, as the planner wants it."""
        with self._lock:
            self._keep_hours()
            if self._roster is None:
                views = self._views.values()
                self._roster = Roster(view.seat() for view in views if _gets_work(view))
            return self._roster

    def able(self, job: Job) -> frozenset[int]:
        """The machines that could render this, whatever they do just now."""
        return self.roster().able(requirement_of(job), job.task.user_id)

    def is_empty(self) -> bool:
        """Whether the farm has no machine at all."""
        with self._lock:
            return not self._views

    def memory_bytes(self, machine_id: int) -> int | None:
        """How much memory the machine has; None if it has not said."""
        with self._lock:
            view = self._views.get(machine_id)
            return view.status.memory_bytes if view and view.status else None

    def last_task(self, machine_id: int) -> int | None:
        """The task that the machine was given last, whose renderer may still be open."""
        with self._lock:
            view = self._views.get(machine_id)
            return view.last_task if view else None

    def machine(self, machine_id: int) -> Machine | None:
        with self._lock:
            view = self._views.get(machine_id)
            return view.machine if view else None

    def views(self) -> list[View]:
        """A copy of every view, for showing."""
        with self._lock:
            self._keep_hours()
            return [_copy(view) for _, view in sorted(self._views.items())]

    def engine_names(self) -> frozenset[str]:
        """Engines that any machine, when last asked, had; lower case."""
        with self._lock:
            return frozenset(name for view in self._views.values() for name in view.engines)


def _abilities(view: View) -> tuple[dict[str, str | None], frozenset[str], int | None]:
    return view.engines, view.tags, view.status.memory_bytes if view.status else None


def _address(machine: Machine) -> tuple[str, int]:
    return machine.ip_address, machine.port


def _copy(view: View) -> View:
    return replace(view, held=list(view.held))


def _gets_work(view: View) -> bool:
    is_enabled = view.machine.state is MachineState.ENABLED
    return bool(view.reachable) and is_enabled and view.closed is None


def _closed(machine: Machine, local: datetime) -> str | None:
    """Why it gets no work at this hour; None: it does."""
    hours = _hours(machine.hours)
    return None if hours is None or hours.is_open(local) else hours.closed_text(local)


def _stops(machine: Machine) -> bool:
    hours = _hours(machine.hours)
    return hours is not None and hours.stops


@cache
def _hours(text: str) -> Hours | None:
    """What was written by hand and is none, is no reason to keep a machine from work."""
    try:
        return parse(text)
    except BadHours as error:
        log.warning("a machine's hours are ignored: %s", error)
        return None


def _can_queue(view: View) -> bool:
    return _gets_work(view) and view.reports and len(view.held) == 1 and not view.is_taken
