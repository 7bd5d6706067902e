"""What the api is told of an attempt, and what happens when it does not listen."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

import pytest
from support.waiting import wait_until

from renderonline.lifecycle import SystemClock
from renderonline.node import outbox as outbox_module
from renderonline.node import reporter as reporter_module
from renderonline.node.api_client import Api, ApiClient
from renderonline.node.orders import ReportTo
from renderonline.node.reporter import HttpReporter
from renderonline.wire import Cause, EventType, HpcStart, HpcTask, NodeEvent, Vitals

from .fake_api import ListeningApi

DONE = HpcTask(task_id=7, is_success=True, exit_code=0)
VITALS = Vitals(load=0.5, memory_free_bytes=1, disk_free_bytes=2)
Start = Callable[[str], HttpReporter]


class Heard:
    """What a reporter's listener has heard."""

    def __init__(self) -> None:
        self.away: queue.Queue[str] = queue.Queue()
        self.acknowledgements: queue.Queue[None] = queue.Queue()
        self.starts: queue.Queue[HpcStart] = queue.Queue()

    def given_away(self, message: str) -> None:
        self.away.put(message)

    def acknowledged(self) -> None:
        self.acknowledgements.put(None)

    def handed_over(self, start: HpcStart) -> None:
        self.starts.put(start)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def client() -> Iterator[ApiClient]:
    client = ApiClient()
    yield client
    client.close()


@pytest.fixture
def start(heard: Heard, client: ApiClient) -> Iterator[Start]:
    """Starts a reporter for the api at an address; it ends with the test."""
    made: list[HttpReporter] = []

    def begin(url: str) -> HttpReporter:
        to = ReportTo(Api(url), len(made) + 1, "key-1")
        made.append(HttpReporter(to, client, SystemClock(), lambda: VITALS, heard))
        return made[-1]

    yield begin
    for reporter in made:
        reporter.retire()
        reporter.join(30)


def at(progress: float, frames_done: int) -> HpcTask:
    return HpcTask(task_id=7, progress=progress, frames_done=frames_done)


def test_events_arrive_in_order_and_numbered(start: Start, api: ListeningApi) -> None:
    reporter = start(api.url)
    reporter.started()
    reporter.progress(HpcTask(progress=0.25, frames_done=1, frames="4", startup_seconds=0.5))
    reporter.warning("a texture is missing")
    reporter.ended(HpcTask(frames_done=2, frames="4-5", cause=Cause.SCENE, message="No camera.",
                           exit_code=1, startup_seconds=0.5, render_seconds=2.5,
                           memory_bytes=1000, warm=True))  # fmt: skip
    wait_until(lambda: "ended" in api.types, "the end is reported")
    assert api.types == ["started", "progress", "warning", "ended"]
    assert [report.sequence for report in api.reports] == list(range(1, len(api.reports) + 1))
    assert api.keys == {"key-1"}
    assert api.reports[0].vitals == VITALS
    assert api.events[1:] == [
        NodeEvent(type=EventType.PROGRESS, progress=0.25, frames_done=1, frames="4",
                  startup_seconds=0.5),
        NodeEvent(type=EventType.WARNING, message="a texture is missing"),
        NodeEvent(type=EventType.ENDED, is_success=False, exit_code=1, cause=Cause.SCENE,
                  message="No camera.", frames_done=2, frames="4-5", startup_seconds=0.5,
                  render_seconds=2.5, memory_bytes=1000, warm=True),
    ]  # fmt: skip


def test_a_short_chunk_costs_one_request(
    start: Start, api: ListeningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "HOLD_S", 600.0)
    reporter = start(api.url)
    reporter.started()
    reporter.progress(at(0.5, 1))
    reporter.ended(DONE)
    wait_until(lambda: "ended" in api.types, "the end is reported")
    assert [[event.type for event in report.events] for report in api.reports] == [
        ["started", "progress", "ended"]
    ]


def test_a_start_alone_is_told_soon(start: Start, api: ListeningApi) -> None:
    start(api.url).started()
    wait_until(lambda: api.types == ["started"], "the start is reported")


def test_a_running_attempt_gives_signs_of_life(
    start: Start, api: ListeningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "SIGN_OF_LIFE_S", 0.05)
    reporter = start(api.url)
    reporter.started()
    wait_until(lambda: len(api.reports) >= 4, "it reports though nothing happens")
    assert [report.events for report in api.reports[1:4]] == [[], [], []]
    assert [report.sequence for report in api.reports[:4]] == [1, 2, 3, 4]
    assert api.reports[1].vitals == VITALS
    reporter.ended(DONE)
    reporter.join(120)  # and no more
    assert api.types[-1] == "ended"


def test_a_waiting_attempt_gives_none(
    start: Start, api: ListeningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "SIGN_OF_LIFE_S", 0.0)
    reporter = start(api.url)
    reporter.retire()
    reporter.join(120)
    assert api.reports == []


def test_the_next_chunk_comes_with_an_answer(start: Start, api: ListeningApi, heard: Heard) -> None:
    api.next.append(HpcStart(engine_id="python", task_id=7, attempt_id=4))
    reporter = start(api.url)
    reporter.ended(DONE)
    assert heard.starts.get(timeout=120).attempt_id == 4
    heard.acknowledgements.get(timeout=120)
    assert heard.starts.empty()


def test_attempts_share_their_connections(
    start: Start, api: ListeningApi, client: ApiClient
) -> None:
    for _ in range(3):
        reporter = start(api.url)
        reporter.ended(DONE)
        reporter.join(120)
    assert api.types == ["ended"] * 3
    assert api.connections == 1


def test_progress_is_sent_without_anything_else(start: Start, api: ListeningApi) -> None:
    reporter = start(api.url)
    for number in range(1001):
        reporter.progress(at(number / 1000, number))
    wait_until(lambda: api.events and api.events[-1].progress == 1, "the last progress is there")
    assert len(api.events) <= 10  # not a report for each


def test_an_api_that_is_down_and_comes_up(start: Start, api: ListeningApi, heard: Heard) -> None:
    port = api.port
    api.close()
    reporter = start(api.url)
    reporter.started()
    reporter.ended(DONE)
    again = ListeningApi(port)
    try:
        wait_until(lambda: "ended" in again.types, "the end is reported")
        assert again.types == ["started", "ended"]
        assert heard.away.empty()
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
    reporter.ended(DONE)
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


def test_an_attempt_that_is_given_away(start: Start, api: ListeningApi, heard: Heard) -> None:
    api.accepted = False
    reporter = start(api.url)
    reporter.started()
    assert heard.away.get(timeout=120) == "somebody else has it"
    reporter.ended(DONE)
    reporter.join(120)
    assert api.types == ["started"]


def test_a_retired_reporter_tries_once_more(start: Start, api: ListeningApi) -> None:
    reporter = start(api.url)
    reporter.ended(DONE)
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
    reporter.ended(DONE)
    wait_until(lambda: "ended" in api.types, "the end is reported")
