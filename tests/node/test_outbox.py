"""When what happens to an attempt is told."""

from __future__ import annotations

import pytest

from renderonline.node.outbox import (
    HOLD_S,
    MAX_WARNINGS,
    PROGRESS_EVERY_S,
    SIGN_OF_LIFE_S,
    Outbox,
)
from renderonline.wire import EventType, NodeEvent

STARTED = NodeEvent(type=EventType.STARTED)
WARNING = NodeEvent(type=EventType.WARNING, message="w")
ENDED = NodeEvent(type=EventType.ENDED)


def progress(fraction: float) -> NodeEvent:
    return NodeEvent(type=EventType.PROGRESS, progress=fraction)


SENT_AT, NOW = 100.0, 103.0


@pytest.mark.parametrize(
    ("events", "due_at"),
    [
        ([], None),
        ([STARTED], NOW + HOLD_S),
        ([STARTED, progress(0.1)], NOW + HOLD_S),
        ([STARTED, WARNING], NOW + HOLD_S),
        ([STARTED, ENDED], SENT_AT),
        ([progress(0.1)], SENT_AT + PROGRESS_EVERY_S),
        ([ENDED], SENT_AT),
    ],
)
def test_when_it_is_due(events: list[NodeEvent], due_at: float | None) -> None:
    outbox = Outbox()
    for number, event in enumerate(events):
        if event.type is EventType.PROGRESS:
            outbox.progress(event)
        else:
            outbox.add(event, NOW + number)
    assert outbox.due_at(SENT_AT) == due_at


def test_silence_is_broken_from_the_start_to_the_end() -> None:
    outbox = Outbox()
    assert outbox.due_at(SENT_AT) is None
    outbox.add(STARTED, NOW)
    outbox.take()
    assert outbox.due_at(SENT_AT) == SENT_AT + SIGN_OF_LIFE_S
    outbox.add(ENDED, NOW)
    outbox.take()
    assert outbox.due_at(SENT_AT) is None


def test_it_keeps_the_latest_progress_in_its_place() -> None:
    outbox = Outbox()
    outbox.progress(progress(0.1))
    outbox.progress(progress(0.2))
    outbox.add(WARNING, NOW)
    outbox.progress(progress(0.3))
    outbox.progress(progress(0.4))
    assert [event.progress for event in outbox.take()] == [0.2, None, 0.4]
    assert outbox.take() == []


def test_progress_that_is_none_is_not_sent() -> None:
    outbox = Outbox()
    outbox.progress(progress(0.1))
    outbox.take()
    outbox.progress(progress(0.1))
    assert outbox.due_at(SENT_AT) is None


def test_it_bounds_the_warnings() -> None:
    outbox = Outbox()
    for _ in range(MAX_WARNINGS + 100):
        outbox.add(WARNING, NOW)
    outbox.add(ENDED, NOW)
    assert len(outbox.take()) == MAX_WARNINGS + 1


def test_api_can_ask_for_rarer_progress() -> None:
    outbox = Outbox(every_s=7.0)
    outbox.progress(NodeEvent(type=EventType.PROGRESS, progress=0.5))
    assert outbox.due_at(100.0) == 107.0
