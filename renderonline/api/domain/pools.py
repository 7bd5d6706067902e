"""The machines that are free, for one plan: by what they can do, and which of them suits a task best. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice

from renderonline.api.domain.queue_index import Group
from renderonline.api.domain.strain import strain
from renderonline.api.domain.workload import Requirement, Roster, Seat, Waiting

MOST_HELPERS = 100
"""So many machines share a task's last frames: more would hardly make it sooner."""

MOST_TRIES = 4
"""Of so many machines one must gain something by helping; those behind them suit the task less."""


def reserved_for(
    free: Sequence[Seat], wanted: Iterable[Requirement], roster: Roster
) -> Mapping[int, str]:
    """Of the machines that are reserved for a tag those that something waits for, with the tag.

    `wanted`: what tasks that wait ask for.
    """
    named = {seat.machine_id: seat.reserve for seat in free if seat.reserve is not None}
    found: dict[int, str] = {}
    for requirement in wanted if named else ():
        for machine_id in roster.able(requirement) & named.keys():
            if named[machine_id] in requirement.tags:
                found[machine_id] = named[machine_id]
    return found


class Pool:
    """The free machines that can do what the tasks of a group want."""

    def __init__(self, group: Group, seats: Sequence[Seat]) -> None:
        self.group = group
        self.all = seats  # soonest free first
        self.seats = {seat.machine_id: seat for seat in seats}  # those that are still free
        self._open = sum(not seat.only_users for seat in seats)

    def take(self, seat: Seat) -> None:
        if self.seats.pop(seat.machine_id, None) is not None:
            self._open -= not seat.only_users

    def users(self) -> frozenset[int] | None:
        """Whose tasks the free machines are kept for; None where one is there for everybody."""
        if self._open:
            return None
        return frozenset(user for seat in self.seats.values() for user in seat.only_users)

    def with_record(self, task: Waiting) -> Iterator[Seat]:
        """Those that have worked on the task."""
        if len(task.records) < len(self.seats):
            return (self.seats[m] for m in task.records if m in self.seats)
        return (seat for m, seat in self.seats.items() if m in task.records)

    def without_record(self, task: Waiting) -> Iterator[Seat]:
        """The others, those that feel well first."""
        strained = []
        for seat in self.all:
            if seat.machine_id not in task.records:
                if much := strain(seat, task):
                    strained.append((much, seat.free_in_s, seat.machine_id, seat))
                else:
                    yield seat
        yield from (seat for *_, seat in sorted(strained, key=lambda entry: entry[:3]))


class Helpers:
    """The machines that could help with a task's last frames, best first."""

    def __init__(self, task: Waiting, offers: Iterator[Seat]) -> None:
        at_work = {chunk.machine_id for chunk in task.active}
        self._more = (seat for seat in offers if seat.machine_id not in at_work)
        self._found: list[Seat] = []

    def free(self, taken: Set[int], most: int) -> list[Seat]:
        """The best of those that are not taken. No more are looked for than are asked for."""
        self._found = [seat for seat in self._found if seat.machine_id not in taken]
        missing = most - len(self._found)
        fresh = (seat for seat in self._more if seat.machine_id not in taken)
        self._found += islice(fresh, max(missing, 0))
        return self._found[:most]
