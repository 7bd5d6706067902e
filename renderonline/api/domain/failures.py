"""Whose fault a failed attempt was, and so who should try again, when, or not at all. Pure.

The scene's fault is believed when two machines agree on it (one, where there is only one); anything
else is tried again, elsewhere first. Losing a machine and stopping a render never count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta

from renderonline.api.domain.model import Failure
from renderonline.wire import Cause

BACK_OFF_S = (1.0, 4.0, 15.0, 60.0)
"""How long a machine keeps away from a task that it has failed, by failures in a row."""

AGREE = 2
"""So many machines have to say that it is the scene."""

HOPELESS_FRAMES = 3
"""A task of which nothing came out, and of which so many frames are given up, is given up whole."""

BENCH_AFTER = 5
"""A machine that has failed so many attempts in a row, of two tasks or more, gets no work until it
is forgiven. What may have been the tasks' fault does not count."""

AVOID_AFTER = 2
"""A machine that has failed a task so often lets others try first."""

NOT_THE_MACHINE = (Cause.SCENE, Cause.ASSET_MISSING)
NOBODYS = (Cause.LOST, Cause.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a failure leads to, for the task."""

    fails_task: bool = False
    gives_up: tuple[int, ...] = ()  # frames


FORGIVEN = Judgement()


def judge(
    failures: Sequence[Failure], able: Set[int], tries: int, has_done: bool, given_up: int
) -> Judgement:
    """After the last of `failures` (the task's, oldest first).

    `able` are the machines that could render it, `tries` how often a frame is tried, `has_done`
    says whether any of its frames came out, `given_up` how many frames already did not.
    """
    last = failures[-1]
    if last.cause in NOBODYS:
        return FORGIVEN
    alike = [f for f in failures if f.frame == last.frame] if has_done else list(failures)
    if last.cause in NOT_THE_MACHINE:
        blamers = {f.machine_id for f in alike if f.cause in NOT_THE_MACHINE}
        is_over = len(blamers) >= min(AGREE, len(able | {last.machine_id}))
        if is_over and not has_done:
            return Judgement(fails_task=True)
    else:
        is_over = False
    same = [f for f in failures if f.frame == last.frame]
    if not is_over and len(same) < tries:
        return FORGIVEN
    if last.frame is None or (not has_done and given_up + 1 >= HOPELESS_FRAMES):
        return Judgement(fails_task=True)
    return Judgement(gives_up=(last.frame,))


def back_off(in_a_row: int) -> timedelta:
    """How long a machine keeps away from a task after so many failures in a row (from 1)."""
    return timedelta(seconds=BACK_OFF_S[min(in_a_row, len(BACK_OFF_S)) - 1])


def is_avoided(cause: Cause | None, in_a_row: int) -> bool:
    """Whether other machines should try the task first."""
    return cause in NOT_THE_MACHINE or in_a_row >= AVOID_AFTER


def is_benched(latest: Iterable[tuple[int, Cause | None]], suspect: Set[int]) -> bool:
    """Whether a machine is to get no work at all.

    `latest`: its last attempts, newest first, as the task and the cause of those that failed.
    `suspect` are the tasks that other machines have failed as well: that says nothing of this one.
    """
    telling: list[int | None] = []  # the task that it failed; None: a success
    for task_id, cause in latest:
        if cause is None:
            telling.append(None)
        elif task_id not in suspect and cause not in (*NOT_THE_MACHINE, *NOBODYS):
            telling.append(task_id)
    recent = telling[:BENCH_AFTER]
    return len(recent) == BENCH_AFTER and None not in recent and len(set(recent)) > 1
