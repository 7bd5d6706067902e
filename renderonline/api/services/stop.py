"""Ends a render on its machine."""

from __future__ import annotations

import logging

from renderonline import wire
from renderonline.api.db import catalog
from renderonline.api.db.connection import Database
from renderonline.api.domain.model import Chunk
from renderonline.api.hpc_client import HpcClient, Unreachable
from renderonline.api.services.fleet import Fleet
from renderonline.lifecycle import Clock

log = logging.getLogger(__name__)


class Stopper:
    """Tells machines to stop. A machine that is away is told when it is back: see `watch`."""

    def __init__(self, database: Database, fleet: Fleet, hpc: HpcClient, clock: Clock) -> None:
        self._database = database
        self._fleet = fleet
        self._hpc = hpc
        self._clock = clock

    def __call__(self, chunk: Chunk, reason: str, after_frame: bool = False) -> None:
        """Returns when the machine has answered, or has not in time. Any thread."""
        with self._database.reading():
            machine = catalog.machine(chunk.machine_id)
        if machine is None:
            return
        message = wire.HpcStop(
            task_id=chunk.task_id,
            attempt_id=chunk.attempt_id,
            reason=reason,
            after_frame=after_frame,
        )
        try:
            answer = self._hpc.stop(machine, message)
        except Unreachable as error:
            log.warning("machine %d could not be told to stop: %s", machine.machine_id, error)
        else:
            if not answer.is_success:
                log.info("machine %d did not stop: %s", machine.machine_id, answer.message)
        self._fleet.look_again(machine.machine_id, self._clock.monotonic())
