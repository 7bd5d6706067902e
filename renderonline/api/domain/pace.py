"""How fast a task goes, from what its records say. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from renderonline.api.domain.workload import UNKNOWN, ActiveChunk, Record, Waiting

FASTEST_FRAME_S = 0.001
"""A frame takes at least this, so that a clock's zero divides nothing."""

OVERDUE = 1.5
"""A frame that takes so many times the usual may take as long again as it has taken already."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a task's pace on all machines, and what is at work."""

    frame_s: float | None  # of a machine that has no record of its own; None: nothing is known
    startup_s: float | None
    owed: int = 0  # frames of the active chunks
    machines: int = 0  # at work
    speed: float = 0.0  # of these together, frames per second
    stays_warm: bool = False  # renderers are kept open: who is at work has no start before him

    @property
    def left(self) -> float:
        """Of the owed frames; those that are being rendered just now are half done."""
        return self.owed - 0.5 * min(self.machines, self.owed)

    def speed_of(self, record: Record) -> float:
        """Frames per second; where nothing is known all are taken to be alike."""
        return 1 / max(record.frame_s or self.frame_s or 1.0, FASTEST_FRAME_S)

    def joined_by(self, record: Record, frames: int, is_new: bool) -> Outlook:
        """As it is when a machine has taken so many frames more."""
        return replace(
            self,
            owed=self.owed + frames,
            machines=self.machines + is_new,
            speed=self.speed + self.speed_of(record) * is_new,
        )


def outlook(task: Waiting) -> Outlook:
    """Take together what the task's records say. O(machines that worked on it)."""
    speeds = {
        machine_id: 1 / max(record.frame_s, FASTEST_FRAME_S)
        for machine_id, record in task.records.items()
        if record.frame_s is not None
    }
    startups = [r.startup_s for r in task.records.values() if r.startup_s is not None]
    # The mean of the speeds, not of the times: one very slow machine must not hide the others.
    frame_s = len(speeds) / sum(speeds.values()) if speeds else None
    known = Outlook(frame_s, sum(startups) / len(startups) if startups else None)
    usual = known.speed_of(UNKNOWN)
    machines = {chunk.machine_id for chunk in task.active}
    return replace(
        known,
        owed=sum([len(chunk.frames) for chunk in task.active]),
        machines=len(machines),
        speed=sum([speeds.get(machine_id, usual) for machine_id in machines]),
        stays_warm=any(record.is_warm for record in task.records.values()),
    )


def start_s(record: Record, known: Outlook) -> float:
    """Seconds of start-up before a machine with this record renders its next frame of the task."""
    return 0.0 if record.is_warm else record.startup_s or known.startup_s or 0.0


def chunk_seconds_left(
    task: Waiting, chunk: ActiveChunk, known: Outlook, now: datetime
) -> float | None:
    """Until the chunk's last frame is saved; None: nothing is known of the task's pace."""
    record = task.record(chunk.machine_id)
    frame_s = record.frame_s or known.frame_s
    if frame_s is None or task.todo is None:
        return None
    frames = len(chunk.frames)
    if not frames or chunk.frame_since is None:
        return frames * frame_s
    taken_s = (now - chunk.frame_since).total_seconds()
    usual_s = frame_s
    if chunk.frame_since == chunk.started_at:
        usual_s += start_s(record, known)
    is_overdue = taken_s > OVERDUE * usual_s
    return (frames - 1) * frame_s + (taken_s if is_overdue else max(0.0, usual_s - taken_s))


def seconds_alone(task: Waiting, known: Outlook, now: datetime) -> float | None:
    """Until the machines at work have rendered all that waits, too, if nobody joins them; None:
    nothing is known of the task's pace, or nobody is at work. O(n log n) in their number."""
    if known.frame_s is None or task.todo is None:
        return None
    free_in_s: dict[int, float] = {}
    for chunk in task.active:
        left_s = chunk_seconds_left(task, chunk, known, now) or 0.0
        free_in_s[chunk.machine_id] = free_in_s.get(chunk.machine_id, 0.0) + left_s
    again_s = 0.0 if known.stays_warm else known.startup_s or 0.0
    joining = sorted(
        (left_s + again_s, known.speed_of(task.record(machine_id)))
        for machine_id, left_s in free_in_s.items()
    )
    return finished_s(float(len(task.todo)), joining) if joining else None


def finished_s(frames: float, joining: Sequence[tuple[float, float]]) -> float:
    """Seconds until `frames` are rendered by machines that join one after the other.

    `joining`: of each, or of several, the second in which they begin and their frames per second,
    sorted; at least one.
    """
    if frames <= 0:
        return 0.0
    speed = rendered = now_s = 0.0
    for begin_s, more in joining:
        if rendered + speed * (begin_s - now_s) >= frames:
            break
        rendered += speed * (begin_s - now_s)
        now_s, speed = begin_s, speed + more
    return now_s + (frames - rendered) / speed
