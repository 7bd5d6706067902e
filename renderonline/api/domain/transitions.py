"""Every change of state there is, as data; any other is an error.

What a state means for the original's columns (`is_running`, `is_success`, a row in `queue`) is
derived here too, so that it cannot be forgotten in one of the places that change a state.
"""

from __future__ import annotations

from enum import StrEnum

from renderonline.wire import ChunkState, TaskState


class IllegalTransition(Exception):
    """A change of state that cannot be; a mistake in our program."""


class TaskEvent(StrEnum):
    CLAIM = "claim"  # a machine gets (a part of) it
    CHANGE = "change"  # frames moved, or what was asked for; other machines are at work as before
    SUCCEED = "succeed"  # everything it owes is there
    FAIL = "fail"  # given up
    RELEASE = "release"  # nobody works on it any more; it waits again
    PAUSE = "pause"  # no machine gets it until it is resumed
    RESUME = "resume"
    CANCEL = "cancel"  # its owner takes it out of the queue
    REQUEUE = "requeue"  # (some of) it is to be rendered after all


class ChunkEvent(StrEnum):
    START = "start"  # the machine confirms
    SUCCEED = "succeed"
    FAIL = "fail"
    LOSE = "lose"  # the machine is away, or does not know it any more
    INTERRUPT = "interrupt"  # stopped by us, or refused


TASK: dict[tuple[TaskState, TaskEvent], TaskState] = {
    (TaskState.QUEUED, TaskEvent.CLAIM): TaskState.RUNNING,
    (TaskState.QUEUED, TaskEvent.CHANGE): TaskState.QUEUED,
    (
        TaskState.QUEUED,
        TaskEvent.SUCCEED,
    ): TaskState.SUCCEEDED,  # the frames it lacked were taken out
    (TaskState.QUEUED, TaskEvent.FAIL): TaskState.FAILED,
    (TaskState.QUEUED, TaskEvent.PAUSE): TaskState.PAUSED,
    (TaskState.QUEUED, TaskEvent.CANCEL): TaskState.CANCELLED,
    (TaskState.RUNNING, TaskEvent.CLAIM): TaskState.RUNNING,
    (TaskState.RUNNING, TaskEvent.CHANGE): TaskState.RUNNING,
    (TaskState.RUNNING, TaskEvent.SUCCEED): TaskState.SUCCEEDED,
    (TaskState.RUNNING, TaskEvent.FAIL): TaskState.FAILED,
    (TaskState.RUNNING, TaskEvent.RELEASE): TaskState.QUEUED,
    (TaskState.RUNNING, TaskEvent.PAUSE): TaskState.PAUSED,
    (TaskState.RUNNING, TaskEvent.CANCEL): TaskState.CANCELLED,
    # Machines may still be finishing a frame of it.
    (TaskState.PAUSED, TaskEvent.CHANGE): TaskState.PAUSED,
    (TaskState.PAUSED, TaskEvent.RELEASE): TaskState.PAUSED,
    (TaskState.PAUSED, TaskEvent.SUCCEED): TaskState.SUCCEEDED,
    (TaskState.PAUSED, TaskEvent.FAIL): TaskState.FAILED,
    (TaskState.PAUSED, TaskEvent.RESUME): TaskState.QUEUED,
    (TaskState.PAUSED, TaskEvent.CANCEL): TaskState.CANCELLED,
    (TaskState.SUCCEEDED, TaskEvent.REQUEUE): TaskState.QUEUED,
    (TaskState.FAILED, TaskEvent.REQUEUE): TaskState.QUEUED,
    (TaskState.CANCELLED, TaskEvent.REQUEUE): TaskState.QUEUED,
}

CHUNK: dict[tuple[ChunkState, ChunkEvent], ChunkState] = {
    (ChunkState.ASSIGNED, ChunkEvent.START): ChunkState.RUNNING,
    (ChunkState.ASSIGNED, ChunkEvent.SUCCEED): ChunkState.SUCCEEDED,
    (ChunkState.ASSIGNED, ChunkEvent.FAIL): ChunkState.FAILED,
    (ChunkState.ASSIGNED, ChunkEvent.LOSE): ChunkState.LOST,
    (ChunkState.ASSIGNED, ChunkEvent.INTERRUPT): ChunkState.INTERRUPTED,
    (ChunkState.RUNNING, ChunkEvent.SUCCEED): ChunkState.SUCCEEDED,
    (ChunkState.RUNNING, ChunkEvent.FAIL): ChunkState.FAILED,
    (ChunkState.RUNNING, ChunkEvent.LOSE): ChunkState.LOST,
    (ChunkState.RUNNING, ChunkEvent.INTERRUPT): ChunkState.INTERRUPTED,
}

ACTIVE_CHUNK = (ChunkState.ASSIGNED, ChunkState.RUNNING)
"""States of a chunk that a machine is, or may be, working on."""

QUEUED_TASK = (TaskState.QUEUED, TaskState.RUNNING, TaskState.PAUSED)
"""States of a task that has a row in `queue`."""


def next_task(state: TaskState, event: TaskEvent) -> TaskState:
    """The state after `event`. Raises IllegalTransition."""
    try:
        return TASK[state, event]
    except KeyError:
        raise IllegalTransition(f"a {state} task cannot {event}") from None


def next_chunk(state: ChunkState, event: ChunkEvent) -> ChunkState:
    """The state after `event`. Raises IllegalTransition."""
    try:
        return CHUNK[state, event]
    except KeyError:
        raise IllegalTransition(f"a chunk that is {state} cannot {event}") from None
