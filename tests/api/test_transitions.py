"""Every pair of a state and an event: one of the changes listed here, or an error."""

from __future__ import annotations

import pytest

from renderonline.api.domain.transitions import (
    ACTIVE_CHUNK,
    QUEUED_TASK,
    ChunkEvent,
    IllegalTransition,
    TaskEvent,
    next_chunk,
    next_task,
)
from renderonline.wire import ChunkState, TaskState

TASKS = {
    "queued claim": "running",
    "queued change": "queued",
    "queued succeed": "succeeded",
    "queued fail": "failed",
    "queued pause": "paused",
    "queued cancel": "cancelled",
    "running claim": "running",
    "running change": "running",
    "running succeed": "succeeded",
    "running fail": "failed",
    "running release": "queued",
    "running pause": "paused",
    "running cancel": "cancelled",
    "paused change": "paused",
    "paused release": "paused",
    "paused succeed": "succeeded",
    "paused fail": "failed",
    "paused resume": "queued",
    "paused cancel": "cancelled",
    "succeeded requeue": "queued",
    "failed requeue": "queued",
    "cancelled requeue": "queued",
}
CHUNKS = {
    "assigned start": "running",
    "assigned succeed": "succeeded",
    "assigned fail": "failed",
    "assigned lose": "lost",
    "assigned interrupt": "interrupted",
    "running succeed": "succeeded",
    "running fail": "failed",
    "running lose": "lost",
    "running interrupt": "interrupted",
}


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("event", TaskEvent)
def test_task(state: TaskState, event: TaskEvent) -> None:
    expected = TASKS.get(f"{state} {event}")
    if expected is not None:
        assert next_task(state, event) == expected
        return
    with pytest.raises(IllegalTransition, match=f"{state}.*{event}"):
        next_task(state, event)


@pytest.mark.parametrize("state", ChunkState)
@pytest.mark.parametrize("event", ChunkEvent)
def test_chunk(state: ChunkState, event: ChunkEvent) -> None:
    expected = CHUNKS.get(f"{state} {event}")
    if expected is not None:
        assert next_chunk(state, event) == expected
        return
    with pytest.raises(IllegalTransition, match=f"{state}.*{event}"):
        next_chunk(state, event)


def test_what_is_over_stays_over_unless_it_is_wanted_again() -> None:
    """A state that is not in the queue is only left by requeueing; a chunk's end is the end."""
    leaving = {pair.split()[0] for pair in TASKS if not pair.endswith("requeue")}
    assert leaving == set(QUEUED_TASK)
    assert {pair.split()[0] for pair in CHUNKS} == set(ACTIVE_CHUNK)
