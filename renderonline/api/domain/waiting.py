"""Why a task that could run gets no machine, as a sentence for the one who waits. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from renderonline.api.domain.model import Job
from renderonline.api.domain.planner import Seat
from renderonline.api.domain.strain import PATIENCE_S, has_room
from renderonline.api.domain.workload import requirement_of
from renderonline.wire import TaskState


def reason(
    job: Job,
    seats: Sequence[Seat],
    has_no_machine: bool,
    blocking: Mapping[int, TaskState],
    now: datetime,
    memory_bytes: int | None = None,
) -> str | None:
    """None where it merely waits its turn. `seats`: the machines that get work; `blocking`: the
    tasks that it comes after; `memory_bytes`: the most that a chunk of it has taken."""
    task = job.task
    if task.start_at is not None and task.start_at > now:
        return f"It is not to start before {task.start_at:%Y-%m-%d %H:%M} UTC."
    for task_id, state in blocking.items():
        if state is not TaskState.SUCCEEDED:
            return f"It waits for task {task_id}, which is {state}."
    return _no_machine(job, seats, has_no_machine) or _no_room(job, seats, memory_bytes)


def _no_machine(job: Job, seats: Sequence[Seat], has_no_machine: bool) -> str | None:
    if has_no_machine:
        return "The farm has no machine yet. An admin adds one: renderonline admin machine add."
    if not seats:
        return "No machine takes work at present; `renderonline machines` says why."
    name = job.engine.name
    having = [seat for seat in seats if name.lower() in seat.engines]
    if not having:
        return f"No machine that takes work at present has the engine {name}."
    tagged = [seat for seat in having if job.task.tags <= seat.tags]
    if not tagged:
        return f"No machine with the engine {name} has the tags {', '.join(sorted(job.task.tags))}."
    wanted = requirement_of(job)
    if not any(wanted.suits(seat) for seat in tagged):
        return f"No machine has {name} {wanted.version}."
    mine = [s for s in tagged if not s.only_users or job.task.user_id in s.only_users]
    if not any(wanted.suits(seat) for seat in mine):
        return "The machines that could do it are kept for other users."
    return None


def _no_room(job: Job, seats: Sequence[Seat], memory_bytes: int | None) -> str | None:
    """That it is kept from the machines that are free, where it is."""
    wanted = requirement_of(job)
    able = [seat for seat in seats if wanted.suits(seat)]
    free = [seat for seat in able if seat.after is None and seat.is_settled]
    if memory_bytes is None or len(able) < 2 or not free:
        return None
    if any(
        seat.memory_free_bytes is None or has_room(seat.memory_free_bytes, memory_bytes)
        for seat in free
    ):
        return None
    return (
        f"It has taken {memory_bytes / 2**30:.1f} GiB of memory, and the machines that are idle have "
        f"less free: it waits for one that has more, for {PATIENCE_S / 60:.0f} minutes at most."
    )
