"""How many frames a machine gets at once. Pure.

The first chunk of a task on a machine is small, to learn what a start and a frame take there. From
then on a chunk is as long as makes the start-up, if one is to be paid, at most 5 % of it, and
towards the end as short as lets all machines finish together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from renderonline.api.domain.workload import Record, Waiting
from renderonline.frames import FrameSet

FIRST_FRAMES = 2
"""Of an unknown pace; the second frame shows what one takes without the first one's extras."""

FEW_FRAMES = 8
"""With a share below this a machine learns from one frame: two would be too much of it."""

START_SHARE = 19
"""A cold chunk renders at least so many times as long as it starts up: 5 % of the whole."""

LEAST_S = 0.6
"""Least rendering in a chunk: 20 times the 30 ms that the farm itself takes for one."""

LONGEST_S = 20 * 60.0
"""Most rendering in a chunk that pays a start-up: nothing more urgent waits longer for a machine."""

LONGEST_WARM_S = 2 * 60.0
"""The same without a start-up: a longer one would save less than 0.05 %."""

PRIOR_PART = 4
"""A machine whose pace is only guessed from others' gets this part of what it would get."""

FASTEST_FRAME_S = 0.001
"""A frame takes at least this, so that a clock's zero divides nothing."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a task's pace on all machines, and what is at work."""

    frame_s: float | None  # of a machine that has no record of its own; None: nothing is known
    startup_s: float | None
    owed: int = 0  # frames of the active chunks
    machines: int = 0  # at work
    speed: float = 0.0  # of these together, frames per second

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
    speeds = [1 / max(r.frame_s, FASTEST_FRAME_S) for r in task.records.values() if r.frame_s]
    startups = [r.startup_s for r in task.records.values() if r.startup_s is not None]
    # The mean of the speeds, not of the times: one very slow machine must not hide the others.
    frame_s = len(speeds) / sum(speeds) if speeds else None
    known = Outlook(frame_s, _mean(startups))
    machines = {chunk.machine_id for chunk in task.active}
    return replace(
        known,
        owed=sum(len(chunk.frames) for chunk in task.active),
        machines=len(machines),
        speed=sum(known.speed_of(task.record(machine_id)) for machine_id in machines),
    )


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a machine stands in a task when it asks for frames."""

    outlook: Outlook
    todo: int  # frames that nobody has
    own: int = 0  # frames that this machine has already
    is_at_work: bool = False  # counted in `outlook.machines` already
    helpers: int = 0  # further machines that will likely take part
    has_backlog: bool = False  # other tasks wait for the same machines

    def fair_share(self, record: Record) -> float:
        """Frames that let this machine end with all the others, less those that it has."""
        speed = self.outlook.speed_of(record)
        others = self.outlook.speed + self.helpers * self.outlook.speed_of(Record())
        total = others if self.is_at_work else others + speed
        return (self.todo + self.outlook.owed) * speed / total - self.own


def chunk_size(fixed: int | None, record: Record, situation: Situation) -> int:
    """How many of the waiting frames the machine gets; 0: those that it has are its share.

    `fixed` is the number that was asked for, None an automatic one.
    """
    fair = situation.fair_share(record)
    if situation.own and fair < 0.5:
        return 0
    if fixed is not None:
        return min(fixed, situation.todo)
    if record.frame_s is None:
        size = _learning(record, situation, fair)
    else:
        size = _steady(record, situation, fair)
    return max(1, min(size, situation.todo))


def _learning(record: Record, situation: Situation, fair: float) -> int:
    first = 1 if fair < FEW_FRAMES else FIRST_FRAMES
    if record.frames_done:  # an engine that tells no frame times: as many again as it has done
        return max(first, min(record.frames_done, math.ceil(fair / 2)))
    prior = situation.outlook.frame_s
    if prior is None:
        return first
    return max(first, _steady(replace(record, frame_s=prior), situation, fair) // PRIOR_PART)


def _steady(record: Record, situation: Situation, fair: float) -> int:
    assert record.frame_s is not None
    frame_s = max(record.frame_s, FASTEST_FRAME_S)
    startup_s = 0.0 if record.is_warm else record.startup_s or situation.outlook.startup_s or 0.0
    worth = math.ceil(max(START_SHARE * startup_s, LEAST_S) / frame_s)
    if not situation.has_backlog:
        # No machine would have anything else to do: a start-up more is better than waiting.
        worth = min(worth, math.ceil(fair))
    longest_s = LONGEST_WARM_S if record.is_warm else LONGEST_S
    return min(max(worth, math.ceil(fair / 2)), math.floor(longest_s / frame_s))


def first_frames(task: Waiting, count: int) -> FrameSet:
    """The chunk itself: a preview frame, or up to `count` waiting frames in one unbroken range.

    The engines take a first and a last frame: where the frames have a step, a chunk is one frame.
    """
    assert task.todo is not None
    if task.preview.runs:
        return FrameSet.between(task.preview.first, task.preview.first)
    run = task.todo.runs[0]
    return FrameSet((run[: count if run.step == 1 else 1],))


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None
