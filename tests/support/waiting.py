"""Waiting for something that another process does, without depending on how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .processes import DEADLINE_S

T = TypeVar("T")


def wait_until(
    probe: Callable[[], T], what: str, deadline_s: float = DEADLINE_S, every_s: float = 0.05
) -> T:
    """Call `probe` until it returns something true, and return that; fail the test at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:.0f} s: {what} (last seen: {result!r})")
        time.sleep(every_s)
