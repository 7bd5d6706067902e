"""When something will be done, from what was measured. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from renderonline.api.domain.pace import chunk_seconds_left, outlook
from renderonline.api.domain.queue_index import Queue
from renderonline.api.domain.workload import Waiting


def attempt_seconds_left(
    queue: Queue, machine_id: int, attempt_id: int, now: datetime
) -> float | None:
    """Until the machine is done with the attempt; None: not known.

    What `Seat.free_in_s` is made of. Its cost does not depend on the number of tasks or machines.
    """
    found = queue.at_work(machine_id, attempt_id)
    if found is None:
        return None
    task, chunk = found
    return chunk_seconds_left(task, chunk, queue.outlook(task), now)


def task_seconds_left(task: Waiting, likely: Collection[int] = ()) -> float | None:
    """How long the rest of the task takes on the machines at work on it and on `likely` others.

    None while nothing is known of its pace, or nobody works on it nor is likely to. O(machines
    that worked on it).
    """
    known = outlook(task)
    if known.frame_s is None or task.todo is None:
        return None
    frames = len(task.todo) + _owed(task)
    if not frames:
        return 0.0
    at_work = {chunk.machine_id for chunk in task.active}
    joining = [task.record(machine_id) for machine_id in likely if machine_id not in at_work]
    speed = known.speed + sum(known.speed_of(record) for record in joining)
    if not speed:
        return None
    has_to_start = not task.active and not any(record.is_warm for record in joining)
    return frames / speed + (known.startup_s or 0.0) * has_to_start


def _owed(task: Waiting) -> int:
    """Frames that are being worked on, those that two machines have counted once."""
    copied = [chunk for chunk in task.active if chunk.is_copied]
    alone = sum(len(chunk.frames) for chunk in task.active if not chunk.is_copied)
    return alone + len({frame for chunk in copied for frame in chunk.frames})
