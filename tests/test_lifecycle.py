"""Loops that fail: told once, tried again, and told when it is over."""

from __future__ import annotations

import logging

import pytest

from renderonline.lifecycle import LONGEST_PAUSE_S, StopFlag, Streak, run_every


class Away(Exception):
    """Somebody else's outage."""


def test_outage_is_told_once_in_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    streak = Streak("dispatching", Away)
    with caplog.at_level(logging.WARNING):
        pauses = [streak.failed(Away("The database is away.")) for _ in range(50)]
        streak.succeeded()
        streak.succeeded()
    begin, end = caplog.records
    assert "The database is away." in begin.getMessage()
    assert begin.exc_info is None
    assert end.getMessage() == "dispatching works again"
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_mistake_comes_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    streak = Streak("watching", Away)
    with caplog.at_level(logging.WARNING):
        streak.failed(ValueError("ours"))
        streak.failed(ValueError("ours"))
    (record,) = caplog.records
    assert record.exc_info is not None


def test_loop_outlives_a_failing_step() -> None:
    stop, calls = StopFlag(), []

    def step() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise Away("once")
        stop.set()

    thread = run_every("test", step, 0.01, stop, Away)
    thread.join(60)
    assert len(calls) == 2
