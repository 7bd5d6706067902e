"""Who gets what: a snapshot in, decisions out. Pure.

Today's policy is the original's order, oldest first, on the first idle machine that has the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task in the queue that nobody works on."""

    task_id: int
    version: int
    engine_name: str


@dataclass(frozen=True, slots=True)
class Idle:
    """A machine that could start something now. `engine_ids` are lower case."""

    machine_id: int
    engine_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Assignment:
    task_id: int
    version: int  # of the task when it was looked at; the claim holds it to that
    machine_id: int


def plan(
    waiting: Iterable[Waiting],
    idle: Sequence[Idle],
    avoid: Set[tuple[int, int]] = frozenset(),
) -> list[Assignment]:
    """One task for each machine that can have one.

    `waiting` is in the order of the queue. `avoid` holds (task, machine) pairs of which that
    machine has just refused that task.
    """
    free = list(idle)
    decisions = []
    for task in waiting:
        if not free:
            break
        engine = task.engine_name.lower()
        for machine in free:
            if engine in machine.engine_ids and (task.task_id, machine.machine_id) not in avoid:
                decisions.append(Assignment(task.task_id, task.version, machine.machine_id))
                free.remove(machine)
                break
    return decisions
