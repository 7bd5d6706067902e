"""What the api believes about each machine, from its last answer. In memory; any thread.

A belief is only ever used to offer work: a machine that is not as free as we think refuses the
start, and that is all that happens.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from renderonline.api.domain.model import Machine
from renderonline.api.domain.planner import Idle
from renderonline.lifecycle import Clock
from renderonline.wire import HpcStatus

FIRST_RETRY_S = 1.0
"""First pause before an unreachable machine is asked again; doubled up to the poll's interval."""


WORKING_POLL_S = 1.0
"""Longest pause before a machine is asked again that renders and does not report by itself: the
original's, and ours while it cannot know whom to trust at the other end of TLS."""


@dataclass(slots=True)
class View:
    """One machine. Times are the clock's monotonic seconds."""

    machine: Machine
    engine_ids: frozenset[str] = frozenset()
    reachable: bool | None = None  # None: never asked
    busy: bool = True
    reports: bool = False  # tells us by itself how a render goes
    next_visit: float = 0.0
    unreachable_since: float | None = None
    failures: int = 0
    # Raised by everything that we do to the machine; an answer asked for before that is old news.
    generation: int = 0
    visiting: bool = field(default=False)


class Fleet:
    """All machines of the farm."""

    def __init__(self, poll_s: float, takes_reports: bool, clock: Clock) -> None:
        """`takes_reports`: machines of ours are told where to send them."""
        self._poll_s = poll_s
        self._takes_reports = takes_reports
        self._clock = clock
        self._views: dict[int, View] = {}
        self._lock = threading.Lock()

    def refresh(self, machines: Iterable[Machine]) -> None:
        """Take the machines as the database has them now; a changed address is a new machine."""
        with self._lock:
            current = {m.machine_id: m for m in machines}
            for machine_id in set(self._views) - set(current):
                del self._views[machine_id]
            for machine_id, machine in current.items():
                known = self._views.get(machine_id)
                if known is None or known.machine != machine:
                    self._views[machine_id] = View(machine)

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
            view.visiting = False
            view.reachable = True
            view.unreachable_since = None
            view.failures = 0
            view.engine_ids = frozenset(name.lower() for name in status.engine_ids)
            if view.generation != generation:
                view.next_visit = now
                return False
            view.busy = bool(status.task and status.task.is_running)
            view.reports = self._takes_reports and status.protocol is not None
            view.next_visit = now + self._pause_s(view)
            return True

    def _pause_s(self, view: View) -> float:
        asks_often = view.busy and not view.reports
        return min(self._poll_s, WORKING_POLL_S) if asks_often else self._poll_s

    def unanswered(self, machine_id: int, now: float) -> float:
        """A visit's bad end. For how many seconds the machine has been unreachable."""
        with self._lock:
            view = self._views.get(machine_id)
            if view is None:
                return 0.0
            view.visiting = False
            view.reachable = False
            view.busy = True
            view.unreachable_since = (
                now if view.unreachable_since is None else view.unreachable_since
            )
            view.next_visit = now + min(self._poll_s, FIRST_RETRY_S * 2**view.failures)
            view.failures = min(view.failures + 1, 10)
            return now - view.unreachable_since

    def look_again(self, machine_id: int, now: float) -> None:
        """Something happened to the machine that only it can tell: ask it at once."""
        with self._lock:
            if view := self._views.get(machine_id):
                view.generation += 1
                view.busy = True
                view.next_visit = now

    def set_busy(self, machine_id: int, busy: bool) -> None:
        """What we did to the machine, or it told us by itself."""
        with self._lock:
            if view := self._views.get(machine_id):
                view.generation += 1
                view.busy = busy
                soon = self._clock.monotonic() + self._pause_s(view)
                view.next_visit = min(view.next_visit, soon)

    def idle(self) -> list[Idle]:
        """The machines that could start something, in the order of their ids."""
        with self._lock:
            return [
                Idle(machine_id, view.engine_ids)
                for machine_id, view in sorted(self._views.items())
                if view.reachable and not view.busy
            ]

    def machine(self, machine_id: int) -> Machine | None:
        with self._lock:
            view = self._views.get(machine_id)
            return view.machine if view else None

    def engine_names(self) -> frozenset[str]:
        """Engines that any machine, when last asked, had; lower case."""
        with self._lock:
            return frozenset().union(*(v.engine_ids for v in self._views.values()))
