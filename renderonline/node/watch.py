"""Looks at the running attempt about once a second, and ends it when it hangs or eats the memory.

Looking happens here; what is too much is decided in `hangs`. One thread for the node, asleep
while nothing runs.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

import psutil

from renderonline.engines.base import Verdict
from renderonline.lifecycle import Clock
from renderonline.node import hangs
from renderonline.node.hangs import Memory
from renderonline.node.record import Record
from renderonline.wire import Cause, Limits

log = logging.getLogger(__name__)

LOOK_S = 1.0
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

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
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
            self._changed.wait_for(lambda: self._is_closing, LOOK_S)
            return None if self._is_closing else self._watched

    def _look(self, attempt: Watched) -> bool:
        """False once it is over."""
        sight = attempt.record.look(tree_memory(attempt.pid))
        if sight is None:
            return False
        memory = machine_memory(attempt.pid)
        verdict = hangs.breach(attempt.limits, sight, memory, self._clock.monotonic())
        if verdict is not None:
            log.warning("process %d is ended: %s", attempt.pid, verdict.message)
            attempt.end(verdict, GRACE_S if verdict.cause is Cause.TIMEOUT else 0.0)
        return True


def tree_memory(pid: int) -> int | None:
    """The resident memory of a process and its descendants in bytes, what they share counted each
    time; None if it has gone."""
    try:
        root = psutil.Process(pid)
        return sum(map(_resident, [root, *root.children(recursive=True)]))
    except psutil.Error:
        return None


def machine_memory(pid: int) -> Memory:
    """The machine's memory; the largest process outside the tree of `pid` only where it is short."""
    state = psutil.virtual_memory()
    memory = Memory(int(state.total), int(state.available))
    if not memory.is_short:
        return memory
    return Memory(memory.total_bytes, memory.available_bytes, _largest_other(pid))


def _largest_other(pid: int) -> int:
    try:
        ours = {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    except psutil.Error:
        ours = {pid}
    others = (process for process in psutil.process_iter() if process.pid not in ours)
    return max(map(_resident, others), default=0)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
