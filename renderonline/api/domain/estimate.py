"""When a task will be done, from what was measured. Pure."""

from __future__ import annotations

from collections.abc import Collection

from renderonline.api.domain.sizing import outlook
from renderonline.api.domain.workload import Waiting


def seconds_left(task: Waiting, likely: Collection[int] = ()) -> float | None:
    """How long the rest of the task takes on the machines at work on it and on `likely` others.

    None while nothing is known of its pace, or nobody works on it nor is likely to.
    """
    known = outlook(task)
    if known.frame_s is None or task.todo is None:
        return None
    at_work = {chunk.machine_id for chunk in task.active}
    joining = [task.record(machine_id) for machine_id in likely if machine_id not in at_work]
    speed = known.speed + sum(known.speed_of(record) for record in joining)
    frames = known.owed + len(task.todo)
    if not frames:
        return 0.0
    if not speed:
        return None
    cold = not task.active and not any(record.is_warm for record in joining)
    return frames / speed + (known.startup_s or 0.0) * cold
