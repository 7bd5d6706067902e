"""What a machine's answer means for the chunk that it should be working on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from renderonline.api.domain.model import Chunk
from renderonline.api.domain.reconcile import START_GRACE, observe
from renderonline.api.domain.transitions import ChunkEvent
from renderonline.wire import Cause, ChunkState, HpcStatus, HpcTask

ASSIGNED_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
SOON = ASSIGNED_AT + timedelta(seconds=1)
LATER = ASSIGNED_AT + START_GRACE

ASSIGNED = Chunk(
    attempt_id=70,
    task_id=7,
    machine_id=1,
    state=ChunkState.ASSIGNED,
    frames="1-3",
    key_hash="",
    sequence=0,
    progress=0.0,
    frames_done=0,
    assigned_at=ASSIGNED_AT,
    started_at=None,
    ended_at=None,
    exit_code=None,
    cause=None,
    message=None,
)
RUNNING = replace(ASSIGNED, state=ChunkState.RUNNING, started_at=ASSIGNED_AT)

IS_RUNNING: dict[str, Any] = {"is_running": True}
HAS_SUCCEEDED: dict[str, Any] = {"is_success": True}
HAS_FAILED: dict[str, Any] = {"is_success": False}


def original(task: dict[str, Any] | None, task_id: int = 7) -> HpcStatus:
    """What the original's node says of a task."""
    return HpcStatus(task=None if task is None else HpcTask(task_id=task_id, **task))


def ours(task: dict[str, Any] | None, attempt_id: int = 70) -> HpcStatus:
    """What a node of ours says."""
    told = None if task is None else HpcTask(task_id=7, attempt_id=attempt_id, **task)
    return HpcStatus(task=told, protocol=1, boot="b")


NOTHING = None
START, SUCCEED, FAIL, LOSE = ChunkEvent.START, ChunkEvent.SUCCEED, ChunkEvent.FAIL, ChunkEvent.LOSE


@pytest.mark.parametrize(
    ("chunk", "status", "asked_at", "event"),
    [
        # the start has not been answered yet: nothing but its own render means anything
        (ASSIGNED, original(None), SOON, NOTHING),
        (ASSIGNED, original(HAS_SUCCEEDED), SOON, NOTHING),  # perhaps an earlier attempt's
        (ASSIGNED, original(HAS_FAILED), SOON, NOTHING),
        (ASSIGNED, original(HAS_SUCCEEDED, task_id=8), SOON, NOTHING),
        (ASSIGNED, original(IS_RUNNING), SOON, START),
        (ASSIGNED, ours(None), SOON, NOTHING),
        (ASSIGNED, ours(HAS_SUCCEEDED, attempt_id=69), SOON, NOTHING),
        (ASSIGNED, ours(IS_RUNNING), SOON, START),
        (ASSIGNED, ours(HAS_SUCCEEDED), SOON, SUCCEED),  # its own, by the attempt
        (ASSIGNED, ours(HAS_FAILED), SOON, FAIL),
        # the start is not on its way any more
        (ASSIGNED, original(None), LATER, LOSE),
        (ASSIGNED, original(IS_RUNNING), LATER, START),
        (ASSIGNED, original(HAS_SUCCEEDED), LATER, SUCCEED),
        (ASSIGNED, original(HAS_SUCCEEDED, task_id=8), LATER, LOSE),
        (ASSIGNED, ours(HAS_SUCCEEDED, attempt_id=69), LATER, LOSE),
        # it runs
        (RUNNING, original(IS_RUNNING), SOON, NOTHING),
        (RUNNING, original(HAS_SUCCEEDED), SOON, SUCCEED),
        (RUNNING, original(HAS_FAILED), SOON, FAIL),
        (RUNNING, original(None), SOON, LOSE),  # the node restarted
        (RUNNING, original(HAS_SUCCEEDED, task_id=8), SOON, LOSE),  # not our task's success
        (RUNNING, original(IS_RUNNING, task_id=8), SOON, LOSE),
        (RUNNING, ours(HAS_SUCCEEDED, attempt_id=69), SOON, LOSE),  # an earlier attempt's
        (RUNNING, ours(None), SOON, LOSE),
        # asked before the start was confirmed: old news
        (RUNNING, original(None), ASSIGNED_AT, NOTHING),
        (RUNNING, original(HAS_SUCCEEDED), ASSIGNED_AT - timedelta(seconds=1), NOTHING),
    ],
)
def test_observe(
    chunk: Chunk, status: HpcStatus, asked_at: datetime, event: ChunkEvent | None
) -> None:
    assert observe(chunk, status, asked_at).event is event


def test_progress_is_told_while_it_runs() -> None:
    status = ours({**IS_RUNNING, "progress": 0.5, "frames_done": 2})
    seen = observe(RUNNING, status, SOON)
    assert seen.event is None
    assert (seen.progress and seen.progress.frames_done) == 2


@pytest.mark.parametrize(
    ("cause", "event"),
    [
        (Cause.SCENE, FAIL),
        (Cause.MACHINE, FAIL),
        (Cause.TIMEOUT, FAIL),
        (None, FAIL),
        (Cause.INTERRUPTED, ChunkEvent.INTERRUPT),  # stopped: nobody's failure
        (Cause.LOST, ChunkEvent.LOSE),
    ],
)
def test_an_end_without_success(cause: Cause | None, event: ChunkEvent) -> None:
    seen = observe(RUNNING, ours({**HAS_FAILED, "cause": cause, "exit_code": 3}), SOON)
    assert seen.event is event
    assert seen.outcome is not None
    assert (seen.outcome.exit_code, seen.outcome.is_success) == (3, False)
    assert seen.outcome.message, "a failure says something"


@pytest.mark.parametrize("state", [ChunkState.ASSIGNED, ChunkState.RUNNING])
def test_attempt_of_another_database_with_the_same_number_is_not_this_one(
    state: ChunkState,
) -> None:
    """A database begun anew counts from 1 again: the outcome of its predecessor is not ours."""
    chunk = replace(ASSIGNED, state=state, key_hash="ours")
    told = ours({"is_success": True, "key_digest": "another's"})
    seen = observe(chunk, told, chunk.assigned_at + START_GRACE)
    assert seen.event is ChunkEvent.LOSE
    told = ours({"is_success": True, "key_digest": "ours"})
    assert observe(chunk, told, chunk.assigned_at + START_GRACE).event is ChunkEvent.SUCCEED
