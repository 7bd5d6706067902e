"""What the api is told of an attempt, and what happens when it does not listen."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

import pytest
from support.waiting import wait_until

from renderonline.engines.base import Verdict
from renderonline.lifecycle import SystemClock
from renderonline.node import reporter as reporter_module
from renderonline.node.orders import ReportTo
from renderonline.node.reporter import MAX_WARNINGS, HttpReporter, Outbox
from renderonline.node.slot import Outcome
from renderonline.wire import Cause, EventType, NodeEvent

from .fake_api import ListeningApi

DONE = Outcome(Verdict(True), 0)
Start = Callable[[str], HttpReporter]


@pytest.fixture
def given_away() -> queue.Queue[str]:
    return queue.Queue()


@pytest.fixture
def start(given_away: queue.Queue[str]) -> Iterator[Start]:
    """Starts a reporter for the api at an address; it ends with the test."""
    made: list[HttpReporter] = []

    def begin(url: str) -> HttpReporter:
        made.append(HttpReporter(ReportTo(f"{url}/x", "key-1"), SystemClock(), given_away.put))
        return made[-1]

    yield begin
    for reporter in made:
        reporter.retire()
        reporter.join(30)


def test_events_arrive_in_order_and_numbered(start: Start, api: ListeningApi) -> None:
    reporter = start(api.url)
    reporter.started()
    reporter.progress(0.25, 1)
    reporter.warning("a texture is missing")
    reporter.ended(Outcome(Verdict(False, Cause.SCENE, "No camera."), 1), 1)
    wait_until(lambda: "ended" in api.types, "the end is reported")
    assert api.types == ["started", "progress", "warning", "ended"]
    assert [report.sequence for report in api.reports] == list(range(1, len(api.reports) + 1))
    assert api.keys == {"key-1"}
    assert api.events[1:] == [
        NodeEvent(type=EventType.PROGRESS, progress=0.25, frames_done=1),
        NodeEvent(type=EventType.WARNING, message="a texture is missing"),
        NodeEvent(type=EventType.ENDED, is_success=False, exit_code=1, cause=Cause.SCENE,
                  message="No camera.", frames_done=1),
    ]  # fmt: skip


def test_progress_is_sent_without_anything_else(start: Start, api: ListeningApi) -> None:
    reporter = start(api.url)
    for number in range(1001):
        reporter.progress(number / 1000, number)
    wait_until(lambda: api.events and api.events[-1].progress == 1, "the last progress is there")
    assert len(api.events) <= 10  # not a report for each


def test_an_api_that_is_down_and_comes_up(
    start: Start, api: ListeningApi, given_away: queue.Queue[str]
) -> None:
    port = api.port
    api.close()
    reporter = start(api.url)
    reporter.started()
    reporter.ended(DONE, 3)
    again = ListeningApi(port)
    try:
        wait_until(lambda: "ended" in again.types, "the end is reported")
        assert again.types == ["started", "ended"]
        assert given_away.empty()
    finally:
        again.close()


@pytest.mark.parametrize("status", [500, 404])
def test_a_report_that_is_not_acknowledged_is_sent_again(
    start: Start, api: ListeningApi, status: int
) -> None:
    api.status = status
    reporter = start(api.url)
    reporter.started()
    wait_until(lambda: api.tries >= 2, "it tries again")
    assert api.reports == []
    api.status = 200
    wait_until(lambda: api.reports, "it is taken")
    reporter.ended(DONE, 0)
    wait_until(lambda: "ended" in api.types, "the end is reported")
    assert [report.sequence for report in api.reports] == [1, 2]


def test_the_key_goes_to_nobody_else(start: Start, api: ListeningApi) -> None:
    stranger = ListeningApi()
    try:
        api.status, api.location = 307, f"{stranger.url}/x"
        start(api.url).started()
        wait_until(lambda: api.tries >= 2, "it tries again")
        assert stranger.tries == 0
    finally:
        stranger.close()


def test_an_attempt_that_is_given_away(
    start: Start, api: ListeningApi, given_away: queue.Queue[str]
) -> None:
    api.accepted = False
    reporter = start(api.url)
    reporter.started()
    assert given_away.get(timeout=120) == "somebody else has it"
    reporter.ended(DONE, 0)
    reporter.join(120)
    assert api.types == ["started"]


def test_a_retired_reporter_tries_once_more(start: Start, api: ListeningApi) -> None:
    reporter = start(api.url)
    reporter.ended(DONE, 0)
    reporter.retire()
    reporter.join(120)
    assert api.types == ["ended"]


def test_a_retired_reporter_gives_up(
    start: Start, api: ListeningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "RETRY_FIRST_S", 600.0)
    api.status = 500
    reporter = start(api.url)
    reporter.started()
    wait_until(lambda: api.tries, "it has tried")
    reporter.retire()
    reporter.join(120)
    assert api.tries <= 2
    assert api.reports == []


def test_the_end_is_told_without_waiting_for_the_next_try(
    start: Start, api: ListeningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "RETRY_FIRST_S", 600.0)
    api.status = 500
    reporter = start(api.url)
    reporter.started()
    wait_until(lambda: api.tries, "it has tried")
    api.status = 200
    reporter.ended(DONE, 0)
    wait_until(lambda: "ended" in api.types, "the end is reported")


def progress(fraction: float) -> NodeEvent:
    return NodeEvent(type=EventType.PROGRESS, progress=fraction)


def test_outbox_keeps_the_latest_progress_in_its_place() -> None:
    outbox = Outbox()
    outbox.progress(progress(0.1))
    outbox.progress(progress(0.2))
    outbox.add(NodeEvent(type=EventType.WARNING, message="w"))
    outbox.progress(progress(0.3))
    outbox.progress(progress(0.4))
    assert [event.progress for event in outbox.take()] == [0.2, None, 0.4]
    assert outbox.take() == []


def test_outbox_sends_progress_now_and_then_and_only_changes() -> None:
    outbox = Outbox()
    assert not outbox.is_due(1000)
    outbox.progress(progress(0.1))
    assert not outbox.is_due(0.4)
    assert outbox.is_due(0.5)
    outbox.take()
    outbox.progress(progress(0.1))
    assert not outbox.is_due(1000)
    outbox.add(NodeEvent(type=EventType.STARTED))
    assert outbox.is_due(0)


def test_outbox_bounds_the_warnings() -> None:
    outbox = Outbox()
    for _ in range(MAX_WARNINGS + 100):
        outbox.add(NodeEvent(type=EventType.WARNING, message="again"))
    outbox.add(NodeEvent(type=EventType.ENDED))
    assert len(outbox.take()) == MAX_WARNINGS + 1
