"""Looks at the running attempt about once a second, and ends it when it hangs or eats the memory.

Looking happens here; what is too much is decided in `hangs`. One thread for the node, asleep
while nothing runs.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from renderonline.engines.base import Verdict
from renderonline.lifecycle import Clock
from renderonline.node import hangs
from renderonline.node.hangs import Memory
from renderonline.node.memory import machine_memory, tree_memory
from renderonline.node.record import Record
from renderonline.wire import Cause, Limits

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Between two looks; less while a render grows so fast that the memory could be gone by then."""
GRACE_S = 2.0
"""From asking a hung render to killing it. One that eats the memory is killed at once."""


class Watched(Protocol):
    """A running attempt, as the watch needs it."""

    @property
    def pid(self) -> int: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def record(self) -> Record: ...

    def end(self, verdict: Verdict, grace_s: float) -> None:
        """End its process tree; `verdict` is its outcome. Blocks."""
        ...


class Watch:
    """The thread that looks."""

    def __init__(self, clock: Clock, allowed_bytes: int | None = None) -> None:
        """`allowed_bytes`: of memory for a render, by the settings; None: by what the machine has."""
        self._clock = clock
        self._allowed_bytes = allowed_bytes
        self._pause_s: float | None = None  # until the next look; None: the usual
        self._before: tuple[Watched, float, int] | None = (
            None  # when it was seen last, and how large
        )
        self._changed = threading.Condition()
        self._watched: Watched | None = None
        self._is_closing = False
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def follow(self, attempt: Watched) -> None:
        """Look at `attempt` from now on, until it is over or another one is followed."""
        with self._changed:
            self._watched = attempt
            self._changed.notify()

    def close(self) -> None:
        """Look no more."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()

    def _run(self) -> None:
        while (attempt := self._wait()) is not None:
            try:
                is_running = self._look(attempt)
            except Exception:  # the edge of the thread: it must outlive any look
                log.exception("looking at process %d failed", attempt.pid)
                is_running = True
            with self._changed:
                if not is_running and self._watched is attempt:
                    self._watched = None

    def _wait(self) -> Watched | None:
        """What to look at, once it is time to; None when the node ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing or self._watched is not None)
            self._changed.wait_for(lambda: self._is_closing, self._pause_s or LOOK_S)
            return None if self._is_closing else self._watched

    def _look(self, attempt: Watched) -> bool:
        """False once it is over."""
        used_bytes = tree_memory(attempt.pid)
        sight = attempt.record.look(used_bytes)
        if sight is None:
            self._before = self._pause_s = None
            return False
        memory, now = machine_memory(attempt.pid, self._allowed_bytes), self._clock.monotonic()
        verdict = hangs.breach(attempt.limits, sight, memory, now)
        if verdict is not None:
            log.warning("process %d is ended: %s", attempt.pid, verdict.message)
            attempt.end(verdict, GRACE_S if verdict.cause is Cause.TIMEOUT else 0.0)
        self._note(attempt, now, used_bytes or 0, memory)
        return True

    def _note(self, attempt: Watched, now: float, used_bytes: int, memory: Memory) -> None:
        """How large it is now, and with that how soon to look again."""
        before, self._before = self._before, (attempt, now, used_bytes)
        self._pause_s = None
        if before is not None and before[0] is attempt:
            _, then, then_bytes = before
            self._pause_s = hangs.pause_s(used_bytes - then_bytes, now - then, memory, LOOK_S)
