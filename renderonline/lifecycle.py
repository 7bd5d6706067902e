"""Starting, repeating and stopping: the clock, the stop flag, and the one way to run a loop.

Signal handlers set a flag and do nothing else; every wait of ours is on that flag, so a stop never
waits for a sleep to end.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

log = logging.getLogger(__name__)


class Clock(Protocol):
    """What our code knows about time. Tests give it another."""

    def now(self) -> datetime:
        """The moment, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds for measuring spans; never goes back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class StopFlag:
    """Says that the program should end, and wakes whoever waits. Safe from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Sleep until the flag is set or the time is over; True if it is set."""
        return self._event.wait(timeout_s)


def stop_on_signals(stop: StopFlag) -> None:
    """Make SIGINT, SIGTERM and (Windows) Ctrl-Break set `stop`. Main thread only."""

    def handle(_number: int, _frame: object) -> None:
        stop.set()

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, handle)


def wait_for_stop(stop: StopFlag) -> None:
    """Block the main thread until `stop`.

    In slices: on Windows a Python signal handler runs only between two calls on the main thread.
    """
    while not stop.wait(0.5):
        pass


def run_every(
    name: str, step: Callable[[], None], seconds: float, stop: StopFlag
) -> threading.Thread:
    """Call `step()` now and then every `seconds` on a thread of its own, until `stop`.

    A step that raises is logged with its traceback and called again at its next turn.
    """

    def loop() -> None:
        while not stop.is_set():
            try:
                step()
            except Exception:  # the edge of a loop: it must outlive any one step
                log.exception("%s failed; it is tried again in %.1f s", name, seconds)
            stop.wait(seconds)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread
