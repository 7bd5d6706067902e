"""How well a machine feels for a task: its load, and its free memory against what the task takes. Pure.

A strained machine comes last: it gets work only where no better one is idle. One that has clearly
too little memory free is not given the task at all, as long as another could have it.
"""

from __future__ import annotations

from dataclasses import replace

from renderonline.api.domain.workload import Seat, Waiting

BUSY_LOAD = 1.5
"""Runnable processes per core above which a machine has other things to do. Our own render, which
may be over since less than a minute, makes about 1."""

ROOM = 0.8
"""Of what a task has taken at most; with less than this part free a machine would swap."""

PATIENCE_S = 120.0
"""So long a task that nobody works on waits for a machine with room; then it takes what is best. The
machines tell how they are every 15 s."""


def strain(seat: Seat, task: Waiting) -> float:
    """0: none. Above: too much else to do, and less free memory than the task takes, by how much."""
    found = 1.0 if seat.load is not None and seat.load > BUSY_LOAD else 0.0
    free, needed = seat.memory_free_bytes, task.memory_bytes
    if free is not None and needed is not None and free < needed:
        found += 2.0 - free / needed
    return found


def is_full(seat: Seat, task: Waiting) -> bool:
    """Whether the machine has clearly less memory free than the task takes."""
    free, needed = seat.memory_free_bytes, task.memory_bytes
    return free is not None and needed is not None and not has_room(free, needed)


def has_room(free_bytes: int, needed_bytes: int) -> bool:
    """Whether there is as much memory free as a render needs, or nearly so."""
    return free_bytes >= ROOM * needed_bytes


def as_it_will_be(seat: Seat, last: Waiting | None) -> Seat:
    """The machine with what its own renderer gives back before it begins something else.

    `last`: the task that it was given last. Where nobody knows what its renderer holds, its free
    memory says nothing.
    """
    if seat.is_settled or seat.memory_free_bytes is None:
        return seat
    held = last.memory_bytes if last is not None else None
    free = None if held is None else seat.memory_free_bytes + held
    return replace(seat, memory_free_bytes=free)
