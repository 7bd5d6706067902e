"""Asks every machine what it does: the safety net below the nodes' own reports.

Each machine is asked in a thread of its own from a pool, so a dead one costs nobody else any time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence, Set
from concurrent.futures import Executor
from datetime import datetime

from renderonline.api.db import catalog, chunks
from renderonline.api.domain.model import Chunk, Machine, Outcome
from renderonline.api.domain.reconcile import is_about, observe
from renderonline.api.domain.transitions import ACTIVE_CHUNK, ChunkEvent
from renderonline.api.hpc_client import HpcClient, Unreachable
from renderonline.api.services import states
from renderonline.api.services.context import Context
from renderonline.api.services.fleet import Fleet
from renderonline.api.services.machines import enforce
from renderonline.api.services.starts import Addresses
from renderonline.frames import FrameSet
from renderonline.wire import Cause, HpcStatus, HpcTask

log = logging.getLogger(__name__)

REFRESH_SHARE = 0.02
"""The most of the time that reading machines and chunks may take; a huge farm's are read less often."""

LOST_AFTER_POLLS = 4
"""A machine that has not answered for so many poll intervals (a minute by default) has lost what it
was doing. Counted from the first failure that this process saw, so our own restart loses nothing."""


class Watch:
    """One per api process."""

    def __init__(
        self,
        ctx: Context,
        fleet: Fleet,
        hpc: HpcClient,
        pool: Executor,
        addresses: Addresses,
    ) -> None:
        self._ctx = ctx
        self._fleet = fleet
        self._hpc = hpc
        self._pool = pool
        self._addresses = addresses
        self._refresh_at = 0.0

    def step(self) -> None:
        """Send somebody to each machine that is due. Returns at once."""
        now = self._ctx.clock.monotonic()
        if now >= self._refresh_at:
            began = time.monotonic()
            self._refresh()
            took_s = time.monotonic() - began
            self._refresh_at = now + max(0.0, took_s / REFRESH_SHARE)
        for machine, generation in self._fleet.begin_visits(now):
            self._pool.submit(self._visit, machine, generation)

    def _refresh(self) -> None:
        """Machines and chunks may have been changed by another process, or by hand."""
        before = self._fleet.generations()
        with self._ctx.database.reading():
            machines = catalog.machines()
            active = chunks.active()
        self._fleet.refresh(machines, active, before)
        self._lose_orphans(active, {machine.machine_id for machine in machines})
        enforce(self._ctx, machines, active)

    def _lose_orphans(self, active: Sequence[Chunk], machine_ids: Set[int]) -> None:
        """A machine that was removed from the farm is asked no more, so nothing else would end these."""
        for chunk in active:
            if chunk.machine_id not in machine_ids:
                message = "Its machine was removed from the farm."
                outcome = Outcome(False, cause=Cause.LOST, message=message)
                states.end(self._ctx, chunk.attempt_id, ChunkEvent.LOSE, outcome)

    def _visit(self, machine: Machine, generation: int) -> None:
        """In the pool: ask one machine, settle what it says, let it have work."""
        asked_at = self._ctx.clock.now()
        try:
            listen_host = self._ctx.settings.listen_host
            introduction = self._addresses.introduction(machine, listen_host)
            status = self._hpc.status(machine, introduction)
        except Unreachable:
            self._missing(machine)
            return
        try:
            self._settle(machine, status, asked_at)
        except Exception:
            log.exception("the answer of machine %d could not be worked in", machine.machine_id)
        if self._fleet.answered(
            machine.machine_id, generation, status, self._ctx.clock.monotonic()
        ):
            self._ctx.wake()

    def _settle(self, machine: Machine, status: HpcStatus, asked_at: datetime) -> None:
        self._stop_forgotten(machine, status)
        for chunk in self._chunks(machine):
            seen = observe(chunk, status, asked_at)
            if seen.event is ChunkEvent.START:
                states.start(self._ctx, chunk.attempt_id)
            elif seen.event is not None and seen.outcome is not None:
                states.end(self._ctx, chunk.attempt_id, seen.event, seen.outcome)
            if seen.progress is not None and seen.event in (None, ChunkEvent.START):
                self._progress(chunk, seen.progress)

    def _progress(self, chunk: Chunk, told: HpcTask) -> None:
        frames = FrameSet.parse(told.frames) if told.frames else None
        states.progress(self._ctx, chunk.attempt_id, told.progress, told.frames_done, frames)

    def _stop_forgotten(self, machine: Machine, status: HpcStatus) -> None:
        """A machine that was away while its task was cancelled, or given to another, renders on."""
        told = [task for task in (status.task, *status.tasks) if task is not None]
        for task in {task.attempt_id: task for task in told}.values():
            if task.is_running or task.is_waiting:
                self._stop_if_forgotten(machine, task)

    def _stop_if_forgotten(self, machine: Machine, task: HpcTask) -> None:
        with self._ctx.database.reading():
            chunk = (
                chunks.latest(task.task_id, machine.machine_id)
                if task.attempt_id is None
                else chunks.get(task.attempt_id)
            )
        if chunk is not None and chunk.state not in ACTIVE_CHUNK and is_about(task, chunk):
            reason = chunk.message or "The attempt is over."
            self._ctx.background(self._ctx.stop_render, chunk, reason)

    def _missing(self, machine: Machine) -> None:
        away_s = self._fleet.unanswered(machine.machine_id, self._ctx.clock.monotonic())
        if away_s < LOST_AFTER_POLLS * self._ctx.settings.poll_seconds:
            return
        outcome = Outcome(
            False, cause=Cause.LOST, message="The machine has not answered for too long."
        )
        for chunk in self._chunks(machine):
            log.warning(
                "machine %d is away: attempt %d is lost", machine.machine_id, chunk.attempt_id
            )
            states.end(self._ctx, chunk.attempt_id, ChunkEvent.LOSE, outcome)

    def _chunks(self, machine: Machine) -> list[Chunk]:
        with self._ctx.database.reading():
            return chunks.active(machine_id=machine.machine_id)
