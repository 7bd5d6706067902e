"""How many frames a machine gets at once. Pure.

The first chunk of a task on a machine is small, to learn what a start and a frame take there. From
then on a chunk is as long as makes the start-up, if one is to be paid, at most 5 % of it, and
towards the end as short as lets all machines finish together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from renderonline.api.domain.pace import FASTEST_FRAME_S, Outlook, finished_s, start_s
from renderonline.api.domain.workload import UNKNOWN, Record, Waiting
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

PRIOR_PART = 2
"""A machine whose pace is only guessed from others' gets this part of what it would get."""


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
        """Frames that let this machine end with all the others, less those that it has.

        Where renderers are kept open, who is not at work yet has a start before his first frame.
        """
        known = self.outlook
        speed, helping = known.speed_of(record), self.helpers * known.speed_of(UNKNOWN)
        begin_s = start_s(record, known) if known.stays_warm and not self.is_at_work else 0.0
        joining = [(0.0, known.speed)] if known.speed else []
        if not self.is_at_work:
            joining.append((begin_s, speed))
        if helping:
            joining.append((start_s(UNKNOWN, known) if known.stays_warm else 0.0, helping))
        over_s = finished_s(self.todo + known.left, sorted(joining))
        return speed * max(over_s - begin_s, 0.0) - self.own


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
    startup_s = start_s(record, situation.outlook)
    if situation.has_backlog:  # who is sent away from here has to start elsewhere
        startup_s = start_s(replace(record, is_warm=False), situation.outlook)
    worth = math.ceil(max(START_SHARE * startup_s, LEAST_S) / frame_s)
    if not situation.has_backlog:
        # No machine would have anything else to do: a start-up more is better than waiting.
        worth = min(worth, round(fair))
    longest_s = LONGEST_WARM_S if record.is_warm else LONGEST_S
    size = min(max(worth, math.ceil(fair / 2)), math.floor(longest_s / frame_s))
    rest = situation.todo - size
    return situation.todo if 0 < rest * frame_s <= startup_s else size


def first_frames(task: Waiting, count: int) -> FrameSet:
    """The chunk itself: a preview frame, or up to `count` waiting frames, evenly spaced.

    An engine that takes only a first and a last frame gets one frame where they have a step.
    """
    assert task.todo is not None
    if task.preview.runs:
        return FrameSet.between(task.preview.first, task.preview.first)
    if task.takes_step:
        return task.todo.take_even(count)
    run = task.todo.runs[0]
    return FrameSet((run[: count if run.step == 1 else 1],))
