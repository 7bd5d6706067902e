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
    SUCCEED = "succeed"  # everything it owes is there
    FAIL = "fail"  # given up
    RELEASE = "release"  # the machine went away or refused; it waits again
    CANCEL = "cancel"  # its owner takes it out of the queue


class ChunkEvent(StrEnum):
    START = "start"  # the machine confirms
    SUCCEED = "succeed"
    FAIL = "fail"
    LOSE = "lose"  # the machine is away, or does not know it any more
    INTERRUPT = "interrupt"  # stopped by us, or refused


TASK: dict[tuple[TaskState, TaskEvent], TaskState] = {
    (TaskState.QUEUED, TaskEvent.CLAIM): TaskState.RUNNING,
    (TaskState.QUEUED, TaskEvent.CANCEL): TaskState.CANCELLED,
    (TaskState.RUNNING, TaskEvent.SUCCEED): TaskState.SUCCEEDED,
    (TaskState.RUNNING, TaskEvent.FAIL): TaskState.FAILED,
    (TaskState.RUNNING, TaskEvent.RELEASE): TaskState.QUEUED,
    (TaskState.RUNNING, TaskEvent.CANCEL): TaskState.CANCELLED,
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

QUEUED_TASK = (TaskState.QUEUED, TaskState.RUNNING)
"""States of a task that has a row in `queue`."""

FOLLOWS: dict[ChunkEvent, TaskEvent] = {
    ChunkEvent.SUCCEED: TaskEvent.SUCCEED,
    ChunkEvent.FAIL: TaskEvent.FAIL,
    ChunkEvent.LOSE: TaskEvent.RELEASE,
    ChunkEvent.INTERRUPT: TaskEvent.RELEASE,
}
"""What the end of its only chunk means for a task. Losing a machine is not the scene's fault."""


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
