"""Why a task that could run gets no machine, as a sentence for the one who waits. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from renderonline.api.domain.model import Job
from renderonline.api.domain.planner import Seat
from renderonline.api.domain.workload import requirement_of
from renderonline.wire import TaskState


def reason(
    job: Job,
    seats: Sequence[Seat],
    has_no_machine: bool,
    blocking: Mapping[int, TaskState],
    now: datetime,
) -> str | None:
    """None where it merely waits its turn. `seats`: the machines that get work; `blocking`: the
    tasks that it comes after."""
    task = job.task
    if task.start_at is not None and task.start_at > now:
        return f"It is not to start before {task.start_at:%Y-%m-%d %H:%M} UTC."
    for task_id, state in blocking.items():
        if state is not TaskState.SUCCEEDED:
            return f"It waits for task {task_id}, which is {state}."
    return _no_machine(job, seats, has_no_machine)


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
    return None
