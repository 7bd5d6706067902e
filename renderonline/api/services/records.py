"""What is remembered of attempts that ended: each machine's pace and its failures, per task.

Inside the transaction that ends the attempt; see `states`.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from renderonline.api.db import catalog, chunks
from renderonline.api.db.connection import Transaction
from renderonline.api.domain import failures
from renderonline.api.domain.failures import Judgement
from renderonline.api.domain.model import Chunk, Job, MachineState, Outcome, Record, Task
from renderonline.api.domain.transitions import ChunkEvent
from renderonline.api.services.commands import adapter_of
from renderonline.api.services.context import Context
from renderonline.wire import Reason

log = logging.getLogger(__name__)

LOOK_BACK = 50
"""How many of a machine's attempts are looked at for those that speak against it."""


def note(
    ctx: Context, tx: Transaction, job: Job, chunk: Chunk, event: ChunkEvent, outcome: Outcome
) -> None:
    """Remember how this went. `chunk.done` is final."""
    task = job.task
    known = chunks.record(task.task_id, chunk.machine_id)
    before = known or Record()
    columns: dict[str, Any] = {"is_warm": outcome.is_warm}
    rendered = len(chunk.done) if task.is_split else max(chunk.frames_done, int(outcome.is_success))
    # Without a start-up of its own, or nobody to tell where it ends, all of it is rendering.
    is_all = before.is_warm or not adapter_of(job.engine).tells_frames
    render_s = _render_s(ctx, chunk, outcome, is_all)
    is_told = is_all or rendered > 1 or not _hides_frame(outcome)
    if rendered and render_s is not None and is_told:
        columns |= {"frames": before.frames + rendered, "render_s": before.render_s + render_s}
    if outcome.memory_bytes is not None:
        columns["peak_bytes"] = max(outcome.memory_bytes, before.peak_bytes or 0)
    if outcome.startup_s is not None and not is_all:
        columns["startup_s"] = outcome.startup_s
    if event is ChunkEvent.SUCCEED:
        columns |= {"failures": 0, "not_before": None, "is_avoided": False}
    elif event is ChunkEvent.FAIL:
        columns |= _failed(ctx, chunk, outcome, before.failures + 1)
    chunks.set_record(task.task_id, chunk.machine_id, known is None, **columns)
    if chunk.started_at is not None:
        used_s = (ctx.clock.now() - chunk.started_at).total_seconds()
        tx.after_commit(lambda: ctx.used(task.user_id, used_s))
    if event is ChunkEvent.FAIL:
        _bench(ctx, tx, job, chunk)


def judge(ctx: Context, job: Job, chunk: Chunk, event: ChunkEvent) -> Judgement:
    """What the end of an attempt that has just been written means for its task."""
    task = job.task
    known = chunks.failures(task.task_id, task.forgiven) if event is ChunkEvent.FAIL else ()
    if not known:
        return failures.FORGIVEN
    return failures.judge(
        known,
        able=ctx.fleet.able(job),
        tries=ctx.settings.retries + 1,
        has_done=bool((task.done | chunk.done).runs),
        given_up=len(task.failed),
    )


def _hides_frame(outcome: Outcome) -> bool:
    """Whether the first sign of rendering was the first frame saved: its time is in the start-up."""
    return outcome.render_s is not None and outcome.render_s < 0.1 * (outcome.startup_s or 0.0)


def why_given_up(task: Task) -> Outcome | None:
    """The failure that the last of the task's failed frames was given up for; None without any."""
    return chunks.last_failure(task.task_id, task.failed) if task.failed.runs else None


def _render_s(ctx: Context, chunk: Chunk, outcome: Outcome, is_all: bool) -> float | None:
    """Seconds of rendering; with `is_all`, and where the machine does not tell, of the attempt."""
    if outcome.render_s is not None:
        return outcome.render_s + (outcome.startup_s or 0.0) * is_all
    if chunk.started_at is None:
        return None
    return max((ctx.clock.now() - chunk.started_at).total_seconds(), 0.0)


def _failed(ctx: Context, chunk: Chunk, outcome: Outcome, in_a_row: int) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "failures": in_a_row,
        "not_before": ctx.clock.now() + failures.back_off(in_a_row),
        "is_avoided": failures.is_avoided(outcome.cause, in_a_row),
    }
    if outcome.reason is Reason.OUT_OF_MEMORY:
        columns["memory_bytes"] = ctx.fleet.memory_bytes(chunk.machine_id)
    return columns


def _bench(ctx: Context, tx: Transaction, job: Job, chunk: Chunk) -> None:
    """Take a machine that fails everything out of the farm, as long as another one is left for it."""
    machine = catalog.machine(chunk.machine_id)
    if machine is None or machine.state is not MachineState.ENABLED:
        return
    latest = chunks.latest_ends(machine.machine_id, machine.forgiven, LOOK_BACK)
    failed = {task_id for task_id, cause in latest if cause is not None}
    suspect = chunks.failed_elsewhere(failed, machine.machine_id)
    if not failures.is_benched(latest, suspect) or ctx.fleet.able(job) <= {machine.machine_id}:
        return
    reason = (
        f"It failed {failures.BENCH_AFTER} attempts in a row of several tasks, the last of task "
        f"{job.task.task_id}."
    )
    log.warning("machine %d is benched: %s", machine.machine_id, reason)
    catalog.set_machine_state(machine.machine_id, MachineState.BENCHED, reason)
    benched = replace(machine, state=MachineState.BENCHED, reason=reason)
    tx.after_commit(lambda: ctx.fleet.changed(benched))
