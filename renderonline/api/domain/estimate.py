"""When a machine will be done with what it has, from what was measured. Pure. Of tasks: see forecast."""

from __future__ import annotations

from datetime import datetime

from renderonline.api.domain.pace import chunk_seconds_left
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


def owed_frames(task: Waiting) -> int:
    """Frames that are being worked on, those that two machines have counted once."""
    copied = [chunk for chunk in task.active if chunk.is_shared]
    alone = sum(len(chunk.frames) for chunk in task.active if not chunk.is_shared)
    return alone + len({frame for chunk in copied for frame in chunk.frames})
