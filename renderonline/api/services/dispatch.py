"""Gives waiting tasks to machines: plan, claim, start.

`step` runs on the dispatcher's thread whenever something has changed; `next_for` on the thread that
answers a machine's report. The requests to machines run in a pool, so that a slow one holds up
nobody.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from renderonline import wire
from renderonline.api.db import chunks
from renderonline.api.domain import hang_limits
from renderonline.api.domain.arguments import BadArgument
from renderonline.api.domain.estimate import attempt_seconds_left
from renderonline.api.domain.model import Job, Outcome
from renderonline.api.domain.planner import Assignment, Seat, plan
from renderonline.api.domain.transitions import ChunkEvent
from renderonline.api.hpc_client import HpcClient, NotDelivered, Unreachable
from renderonline.api.services import states
from renderonline.api.services.board import Board
from renderonline.api.services.commands import adapter_of, chunk_command
from renderonline.api.services.context import Context
from renderonline.api.services.options import merged_limits
from renderonline.api.services.starts import Starts
from renderonline.engines.commandline import join, split
from renderonline.wire import Cause

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""How long a machine is not offered a task again that it has refused; doubled each time."""

AHEAD_S = 1.0
"""A machine is handed its next chunk when the one it is at will be over so soon: long enough for a
request, short enough that a machine which falls idle meanwhile has little to envy."""

AT_ONCE_S = 0.15
"""A chunk that is over so soon says nothing before its end: a node holds back the word that it has
begun for as long (HOLD_S). So what comes after it is handed over together with it; from then on the
answer to each end brings one more, and the machine never waits for an answer."""


class Dispatcher:
    """One per api process."""

    def __init__(
        self, ctx: Context, board: Board, hpc: HpcClient, pool: Executor, starts: Starts
    ) -> None:
        self._ctx = ctx
        self._board = board
        self._hpc = hpc
        self._pool = pool
        self._starts = starts
        # (task, machine) → how often in a row it was refused
        self._refusals: dict[tuple[int, int], int] = {}
        self._turn = threading.Lock()  # one plan at a time
        self._answered: Counter[int] = Counter()  # machines that are being answered just now
        self._left_out: set[int] = set()  # of these, those that a step has passed by
        self._claiming: set[int] = set()  # machines for which a claim is being written
        self._count = threading.Lock()  # of these three

    def step(self) -> int:
        """Start what can be started now; how many starts were sent off."""
        with self._turn:
            self._board.sync()
            seats = self._ctx.fleet.idle()
            with self._count:
                left_out = {s.machine_id for s in seats if self._answered[s.machine_id]}
                self._left_out |= left_out
            seats = [seat for seat in seats if seat.machine_id not in left_out]
            decisions = self._decide(seats)
        claims = [claim for item in decisions if (claim := self._claim(item)) is not None]
        for claim in claims:
            self._pool.submit(self._start, claim)
        return len(claims)

    @contextmanager
    def answering(self, machine_id: int) -> Iterator[None]:
        """Meanwhile the machine is left to `next_for`: its next chunk goes with the answer to its
        report, which saves a request."""
        with self._count:
            self._answered[machine_id] += 1
        try:
            yield
        finally:
            with self._count:
                self._answered[machine_id] -= 1
                was_left_out = machine_id in self._left_out
                self._left_out.discard(machine_id)
            if was_left_out:
                self._ctx.wake()

    def next_for(self, machine_id: int, has_rendered: bool = False) -> list[wire.HpcStart]:
        """What the machine should do next, claimed for it, if there is something; and what behind
        that, where it will be over at once. Any thread.

        `has_rendered`: its renderer is free, though not all of its chunk's results are here.
        """
        first = self._next(machine_id, AHEAD_S, has_rendered)
        if first is None:
            return []
        second = self._next(machine_id, AT_ONCE_S) if first.after is None else None
        return [start for start in (first, second) if start is not None]

    def _next(
        self, machine_id: int, ahead_s: float, has_rendered: bool = False
    ) -> wire.HpcStart | None:
        """One chunk; for a machine that has one, if that will be over within `ahead_s`."""
        with self._turn:
            seat = self._ctx.fleet.seat(machine_id)
            if seat is None:
                return None
            self._board.sync()
            soon = (
                replace(seat, free_in_s=0.001) if has_rendered else self._soon_free(seat, ahead_s)
            )
            decisions = self._decide([soon]) if soon is not None else []
        for item in decisions:
            claim = self._claim(item)
            try:
                return None if claim is None else self._message(claim)
            except BadArgument as error:
                assert claim is not None
                self._release(claim, str(error))
        return None

    def _soon_free(self, seat: Seat, ahead_s: float) -> Seat | None:
        """The machine, with how soon its chunk will be over; None if that is not within `ahead_s`,
        or unknown."""
        if seat.after is None:
            return seat
        now, queue = self._ctx.clock.now(), self._board.queue
        left_s = attempt_seconds_left(queue, seat.machine_id, seat.after, now)
        if left_s is None or left_s > ahead_s:
            return None
        return replace(seat, free_in_s=max(left_s, 0.001))

    def _decide(self, seats: list[Seat]) -> list[Assignment]:
        """What these machines are to get; kept for them until `_claim`. In the plan's turn."""
        with self._count:
            seats = [seat for seat in seats if seat.machine_id not in self._claiming]
        if not seats or self._ctx.room.is_short():
            return []
        decisions = plan(
            self._board.queue,
            seats,
            self._ctx.clock.now(),
            everyone=self._ctx.fleet.roster(),
            usage=self._board.usage(),
            engine_limits=self._board.engine_limits,
        )
        for item in decisions:
            self._board.reserve(item)
        with self._count:
            self._claiming |= {item.machine_id for item in decisions}
        return decisions

    def _claim(self, assignment: Assignment) -> states.Claim | None:
        """Write a decision down; several threads at once, each for other machines."""
        claim = None
        try:
            claim = states.claim(self._ctx, assignment)
            if claim is None:
                # Perhaps another api has the machine now: it is asked before it is offered more.
                self._ctx.fleet.look_again(assignment.machine_id, self._ctx.clock.monotonic())
                return None
            chunk = claim.chunk
            self._ctx.fleet.given(chunk.machine_id, chunk.attempt_id, chunk.task_id)
            return claim
        finally:
            self._board.unreserve(assignment, None if claim is None else claim.chunk)
            with self._count:
                self._claiming.discard(assignment.machine_id)

    def _start(self, claim: states.Claim) -> None:
        """In the pool: tell the machine, and write down what it says."""
        chunk = claim.chunk
        try:
            self._tell(claim)
        except Exception:
            # The chunk stays assigned; the machine's next answer, or none, decides.
            log.exception("starting attempt %d failed", chunk.attempt_id)
            self._ctx.fleet.look_again(chunk.machine_id, self._ctx.clock.monotonic())

    def _tell(self, claim: states.Claim) -> None:
        chunk = claim.chunk
        machine = self._ctx.fleet.machine(chunk.machine_id)
        if machine is None:
            self._release(claim, "The machine was removed from the farm.")
            return
        try:
            answer = self._hpc.start(machine, self._message(claim))
        except BadArgument as error:
            self._release(claim, f"The engine's command line does not work any more. {error}")
        except NotDelivered:
            self._release(claim, "The machine cannot be reached.")
        except Unreachable as error:
            log.warning("machine %d did not answer a start: %s", chunk.machine_id, error)
            self._ctx.fleet.look_again(chunk.machine_id, self._ctx.clock.monotonic())
        else:
            if answer.is_success:
                self._started(claim)
            else:
                self._release(claim, f"The machine refused: {answer.message}")

    def _started(self, claim: states.Claim) -> None:
        chunk = claim.chunk
        self._refusals.pop((chunk.task_id, chunk.machine_id), None)
        if chunk.after is not None:
            return  # the machine says when it begins
        if states.start(self._ctx, chunk.attempt_id):
            log.info("task %d runs on machine %d", chunk.task_id, chunk.machine_id)
            return
        with self._ctx.database.reading():
            now = chunks.get(chunk.attempt_id)
        if now is not None and now.state is wire.ChunkState.INTERRUPTED:
            # Cancelled while the start was on its way, and the stop may have overtaken it.
            self._ctx.stop_render(now, now.message or "The task was cancelled.")

    def _release(self, claim: states.Claim, reason: str) -> None:
        chunk = claim.chunk
        log.warning("machine %d, task %d: %s", chunk.machine_id, chunk.task_id, reason)
        self._pause(chunk.task_id, chunk.machine_id)
        outcome = Outcome(False, cause=Cause.INTERRUPTED, message=reason)
        states.end(self._ctx, chunk.attempt_id, ChunkEvent.INTERRUPT, outcome)
        self._ctx.database.transact(
            lambda _tx: chunks.forget_refusals(chunk.task_id, chunk.machine_id, chunk.attempt_id)
        )
        self._ctx.fleet.look_again(chunk.machine_id, self._ctx.clock.monotonic())

    def _pause(self, task_id: int, machine_id: int) -> None:
        count = self._refusals.get((task_id, machine_id), 0)
        self._refusals[task_id, machine_id] = count + 1
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(count, 10))
        until = self._ctx.clock.now() + timedelta(seconds=pause_s)
        self._board.refused(task_id, machine_id, until)

    def _limits(self, job: Job) -> wire.Limits | None:
        given = merged_limits(job.task.limits, job.engine.limits)
        if not adapter_of(job.engine).tells_frames:
            return given  # it may be silent for as long as it renders
        frame_s, has_failures = self._board.pace(job.task.task_id)
        timeouts = 0
        if has_failures:
            with self._ctx.database.reading():
                failed = chunks.failures(job.task.task_id, job.task.forgiven)
            timeouts = sum(failure.cause is Cause.TIMEOUT for failure in failed)
        return hang_limits.limits(given, frame_s, timeouts)

    def _message(self, claim: states.Claim) -> wire.HpcStart:
        """The start of a claimed chunk. Raises BadArgument where its command line cannot be made."""
        job, chunk = claim.job, claim.chunk
        engine, render = job.engine, job.render
        if job.task.is_split:
            argv, owes = chunk_command(job, chunk.frame_set)
            arguments = join(argv)
        else:
            arguments = render.arguments
            argv = split(arguments)
            owes = adapter_of(engine).owes(argv, engine.file_pattern)
        start = wire.HpcStart(
            engine_id=engine.name,
            task_id=chunk.task_id,
            arguments=arguments,
            attempt_id=chunk.attempt_id,
            argv=argv,
            frames=chunk.frames,
            task_dir=str(render.task_dir),
            output_dir=str(job.output_dir),
            owes=owes,
            report_key=claim.report_key,
            limits=self._limits(job),
            after=chunk.after,
        )
        return self._starts.complete(start, job, claim.machine)
