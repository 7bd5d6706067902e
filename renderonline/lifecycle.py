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


LONGEST_PAUSE_S = 5.0
"""Longest pause of a loop that fails again and again."""


class Streak:
    """Failures in a row of one loop: told when they begin and when they are over, not each time.

    `expected` are errors that are nobody's mistake (a database that is away): told in a sentence,
    where others come with their traceback. Belongs to the loop's thread.
    """

    def __init__(self, name: str, expected: type[Exception] | tuple[type[Exception], ...] = ()):
        self._name = name
        self._expected = expected
        self._length = 0

    def failed(self, error: Exception) -> float:
        """Note a failure; for how many seconds to pause."""
        if self._length == 0:
            known = isinstance(error, self._expected)
            log.error(
                "%s does not work; it is tried again and again. %s",
                self._name,
                error if known else "",
                exc_info=None if known else error,
            )
        self._length += 1
        return float(min(LONGEST_PAUSE_S, 0.25 * 2 ** min(self._length, 10)))

    def succeeded(self) -> None:
        """Note that it works, again or still."""
        if self._length:
            log.warning("%s works again", self._name)
        self._length = 0


def run_every(
    name: str,
    step: Callable[[], None],
    seconds: float,
    stop: StopFlag,
    expected: type[Exception] | tuple[type[Exception], ...] = (),
) -> threading.Thread:
    """Call `step()` now and then every `seconds` on a thread of its own, until `stop`.

    A step that raises is called again, after longer and longer pauses; see Streak.
    """

    def loop() -> None:
        streak = Streak(name, expected)
        while not stop.is_set():
            pause_s = seconds
            try:
                step()
            except Exception as error:  # noqa: BLE001  (a loop's edge: it must outlive any step)
                pause_s = max(seconds, streak.failed(error))
            else:
                streak.succeeded()
            stop.wait(pause_s)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    return thread
