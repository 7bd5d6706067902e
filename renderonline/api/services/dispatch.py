"""Gives waiting tasks to idle machines: plan, claim, start.

`step` runs on the dispatcher's thread whenever something has changed; the requests to machines run
in a pool, so that a slow one holds up nobody.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Executor

from renderonline import wire
from renderonline.api.db import catalog, tasks
from renderonline.api.domain.model import Outcome
from renderonline.api.domain.planner import Assignment, plan
from renderonline.api.domain.transitions import ChunkEvent
from renderonline.api.hpc_client import HpcClient, NotDelivered, Unreachable
from renderonline.api.services import states
from renderonline.api.services.commands import adapter_of
from renderonline.api.services.context import Context
from renderonline.api.services.fleet import Fleet
from renderonline.engines.commandline import split

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""How long a machine is not offered a task again that it has refused; doubled each time."""


class Dispatcher:
    """One per api process. `api_url` is where nodes report to; None: they are asked instead."""

    def __init__(
        self, ctx: Context, fleet: Fleet, hpc: HpcClient, pool: Executor, api_url: str | None
    ) -> None:
        self._ctx = ctx
        self._fleet = fleet
        self._hpc = hpc
        self._pool = pool
        self._api_url = api_url
        # (task, machine) → how often it was refused, and until when (monotonic) that counts
        self._refused: dict[tuple[int, int], tuple[int, float]] = {}
        self._lock = threading.Lock()

    def step(self) -> int:
        """Start what can be started now; how many starts were sent off."""
        idle = self._fleet.idle()
        if not idle:
            return 0
        with self._ctx.database.reading():
            waiting = tasks.waiting()
        return sum(self._dispatch(item) for item in plan(waiting, idle, self._avoid()))

    def _avoid(self) -> set[tuple[int, int]]:
        now = self._ctx.clock.monotonic()
        with self._lock:
            self._refused = {
                pair: (count, end)
                for pair, (count, end) in self._refused.items()
                if end + LONGEST_PAUSE_S > now
            }
            return {pair for pair, (_, end) in self._refused.items() if end > now}

    def _pause(self, pair: tuple[int, int]) -> None:
        with self._lock:
            count = self._refused.get(pair, (0, 0.0))[0]
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**count)
            self._refused[pair] = (count + 1, self._ctx.clock.monotonic() + pause_s)

    def _dispatch(self, assignment: Assignment) -> bool:
        claim = states.claim(self._ctx, assignment)
        if claim is None:
            # Perhaps another api process has the machine now: it is asked before it is offered more.
            self._fleet.look_again(assignment.machine_id, self._ctx.clock.monotonic())
            return False
        self._fleet.set_busy(assignment.machine_id, True)
        self._pool.submit(self._start, claim)
        return True

    def _start(self, claim: states.Claim) -> None:
        """In the pool: tell the machine, and write down what it says."""
        chunk = claim.chunk
        try:
            self._tell(claim)
        except Exception:
            # The chunk stays assigned; the machine's next answer, or none, decides.
            log.exception("starting attempt %d failed", chunk.attempt_id)
            self._fleet.look_again(chunk.machine_id, self._ctx.clock.monotonic())

    def _tell(self, claim: states.Claim) -> None:
        chunk = claim.chunk
        machine = self._fleet.machine(chunk.machine_id)
        if machine is None:
            self._release(claim, "The machine was removed from the farm.")
            return
        try:
            answer = self._hpc.start(machine, self._message(claim))
        except NotDelivered:
            self._release(claim, "The machine cannot be reached.")
        except Unreachable as error:
            log.warning("machine %d did not answer a start: %s", chunk.machine_id, error)
            self._fleet.look_again(chunk.machine_id, self._ctx.clock.monotonic())
        else:
            if answer.is_success:
                self._started(claim)
            else:
                self._release(claim, f"The machine refused: {answer.message}")

    def _started(self, claim: states.Claim) -> None:
        if states.start(self._ctx, claim.chunk.attempt_id):
            log.info("task %d runs on machine %d", claim.job.task.task_id, claim.chunk.machine_id)
            return
        with self._ctx.database.reading():
            chunk = tasks.chunk(claim.chunk.attempt_id)
        if chunk is not None and chunk.state is wire.ChunkState.INTERRUPTED:
            # Cancelled while the start was on its way, and the stop may have overtaken it.
            self._ctx.stop_render(chunk, chunk.message or "The task was cancelled.")

    def _release(self, claim: states.Claim, reason: str) -> None:
        chunk = claim.chunk
        log.warning("machine %d, task %d: %s", chunk.machine_id, chunk.task_id, reason)
        self._pause((chunk.task_id, chunk.machine_id))
        outcome = Outcome(False, cause=wire.Cause.INTERRUPTED, message=reason)
        states.end(self._ctx, chunk.attempt_id, ChunkEvent.INTERRUPT, outcome)
        self._ctx.database.transact(
            lambda _tx: tasks.forget_refusals(chunk.task_id, chunk.machine_id, chunk.attempt_id)
        )
        self._fleet.look_again(chunk.machine_id, self._ctx.clock.monotonic())

    def _message(self, claim: states.Claim) -> wire.HpcStart:
        engine, render, chunk = claim.job.engine, claim.job.render, claim.chunk
        argv = split(render.arguments)
        return wire.HpcStart(
            engine_id=engine.name,
            task_id=chunk.task_id,
            arguments=render.arguments,
            attempt_id=chunk.attempt_id,
            argv=argv,
            frames=chunk.frames,
            task_dir=str(render.task_dir),
            output_dir=str(render.output_dir),
            owes=adapter_of(engine).owes(argv, engine.file_pattern),
            api_url=self._api_url,
            report_key=claim.report_key,
        )


def machines_without(ctx: Context, engine_name: str, fleet: Fleet) -> str | None:
    """A sentence if no machine of the farm could render this, for the one who waits; else None."""
    with ctx.database.reading():
        machines = catalog.machines()
    if not machines:
        return "The farm has no machine yet. An admin adds one: renderonline admin machine add."
    if engine_name.lower() not in fleet.engine_names():
        return f"No machine that has answered so far has the engine {engine_name}."
    return None
