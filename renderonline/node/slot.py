"""What the node renders now, or rendered last: the one place that knows, behind one lock."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import msgspec

from renderonline.engines.base import Verdict
from renderonline.lifecycle import Clock
from renderonline.wire import HpcTask


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `exit_code` None: the node could not follow it to its end."""

    verdict: Verdict
    exit_code: int | None


class Slot:
    """The state of the node's one render. All of it may be called on any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._task: HpcTask | None = None
        self._began_at = 0.0
        self._exited_at: float | None = None

    def begin(self, task_id: int, attempt_id: int | None, key_digest: str | None = None) -> None:
        """A render has been started; it replaces the one before. `key_digest` as in HpcTask."""
        with self._lock:
            self._task = HpcTask(
                task_id=task_id, attempt_id=attempt_id, key_digest=key_digest, is_running=True
            )
            self._began_at = self._clock.monotonic()
            self._exited_at = None

    def progress(self, fraction: float, frames_done: int) -> None:
        """`fraction` of the attempt is done, 0-1."""
        with self._lock:
            if self._task is not None:
                self._task.progress = fraction
                self._task.frames_done = frames_done

    def exited(self) -> None:
        """The process has ended: from now on the time stands still, while it is judged."""
        with self._lock:
            self._exited_at = self._clock.monotonic()

    def finish(self, outcome: Outcome) -> None:
        """The attempt is over. It stays reported until the next begins."""
        with self._lock:
            if self._task is None:
                return
            if self._exited_at is None:
                self._exited_at = self._clock.monotonic()
            self._task.is_running = False
            self._task.is_success = outcome.verdict.is_success
            self._task.exit_code = outcome.exit_code
            self._task.cause = outcome.verdict.cause
            self._task.message = outcome.verdict.message

    def task(self) -> HpcTask | None:
        """The current or last render, as the wire has it; None before the first. A copy."""
        with self._lock:
            if self._task is None:
                return None
            until = self._clock.monotonic() if self._exited_at is None else self._exited_at
            return msgspec.structs.replace(self._task, total_seconds=int(until - self._began_at))
