"""Results on their way back: in order, over restarts and outages, to the right api and to no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import bottle
import pytest
from cli.certificates import make_certificate
from support.processes import DEADLINE_S
from support.waiting import wait_until

from renderonline import wire
from renderonline.config import CertificateFiles
from renderonline.engines.base import Verdict
from renderonline.lifecycle import SystemClock
from renderonline.node.account import Account
from renderonline.node.api_client import Api, ApiClient
from renderonline.node.books import Books
from renderonline.node.journal import Entry, Journal
from renderonline.node.orders import ReportTo
from renderonline.node.parcels import Parcels
from renderonline.node.record import Outcome, Record
from renderonline.node.reporter import NoReporter
from renderonline.node.returns import Returns
from renderonline.pinning import fingerprint_of
from renderonline.serving import JsonApp, Server, reply
from renderonline.wire import ErrorBody, HpcTask, OutputAnswer, Vitals


class Receiver:
    """An api that takes results, and keeps their paths in the order of their coming."""

    def __init__(self, port: int = 0, certificate: CertificateFiles | None = None) -> None:
        self.paths: list[str] = []
        self.tries: list[str] = []
        self.answer: Callable[[str], bottle.HTTPResponse | None] = lambda path: None
        app = JsonApp()
        app.route("/renderapi/v1/node/attempts/<number:int>/outputs/<path:path>", "PUT", self._take)
        self._server = Server(app, "127.0.0.1", port, certificate, max_body_bytes=lambda _: 1 << 24)
        self._server.start()
        self.api = Api(
            self._server.url, certificate and fingerprint_of(certificate.fullchain_pem_path)
        )

    def _take(self, number: int, path: str) -> bottle.HTTPResponse:
        self.tries.append(path)
        other = self.answer(path)
        if other is not None:
            return other
        self.paths.append(path)
        return reply(OutputAnswer(accepted=True))

    def close(self) -> None:
        self._server.close()


class Heard:
    """A recipient that remembers what it is told."""

    def __init__(self) -> None:
        self.frames: list[int | None] = []
        self.spoiled_files: list[str] = []
        self.given: list[str] = []
        self.held: list[str] = []

    def returned(self, frame: int | None) -> None:
        self.frames.append(frame)

    def held_up(self, sentence: str) -> None:
        self.held.append(sentence)

    def spoiled(self, sentence: str) -> None:
        self.spoiled_files.append(sentence)

    def given_away(self, message: str) -> None:
        self.given.append(message)


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def receiver(running: ExitStack, port: int = 0) -> Receiver:
    made = Receiver(port)
    running.callback(made.close)
    return made


def returns(running: ExitStack, folder: Path) -> Returns:
    made = Returns(Parcels(folder / "returns"), ApiClient())
    running.callback(made.close)
    return made


def put(sending: Returns, to: ReportTo, folder: Path, name: str, frame: int | None = None) -> None:
    file = folder / "saved"
    file.write_bytes(name.encode())
    sending.put(to, file, Path(name), frame)
    assert not file.exists(), "it was taken over"


def error(status: int, code: str) -> bottle.HTTPResponse:
    return reply(ErrorBody(error=code, error_message="No."), status)


def test_they_arrive_in_their_order(running: ExitStack, tmp_path: Path) -> None:
    api, heard = receiver(running), Heard()
    sending, to = returns(running, tmp_path), ReportTo(api.api, 3, "key")
    sending.expect(to, heard)
    names = [f"{number}.png" for number in range(20)]
    for frame, name in enumerate(names):
        put(sending, to, tmp_path, name, frame)
    done = threading.Event()
    sending.when_empty(to, done.set)
    assert done.wait(60)
    assert api.paths == names
    assert heard.frames == list(range(20))
    assert list((tmp_path / "returns").glob("*.file")) == []


def test_an_api_that_is_away_gets_them_after_restarts_of_both(
    running: ExitStack, tmp_path: Path
) -> None:
    gone = Receiver()
    gone.close()
    to = ReportTo(gone.api, 3, "key")
    first = returns(running, tmp_path)
    for name in ("1.png", "2.png"):
        put(first, to, tmp_path, name)
    first.close()
    second = returns(running, tmp_path)
    assert not second.is_empty(to)
    put(second, to, tmp_path, "3.png")
    second.start()
    api = receiver(running, int(gone.api.url.rsplit(":", 1)[1]))
    wait_until(lambda: second.is_empty(to), "all has been sent")
    assert api.paths == ["1.png", "2.png", "3.png"]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 410, 413, 500, 502, 503])
def test_what_a_proxy_says_while_the_api_is_away_drops_nothing(
    running: ExitStack, tmp_path: Path, status: int
) -> None:
    api, heard = receiver(running), Heard()
    sending, to = returns(running, tmp_path), ReportTo(api.api, 3, "key")
    sending.expect(to, heard)
    api.answer = lambda _path: bottle.HTTPResponse("<h1>No backend</h1>", status)
    put(sending, to, tmp_path, "1.png", 1)
    wait_until(lambda: len(api.tries) >= 2, "it tries on")
    api.answer = lambda _path: None
    wait_until(lambda: sending.is_empty(to), "it has been sent")
    assert (api.paths, heard.frames, heard.given) == (["1.png"], [1], [])


@pytest.mark.parametrize(
    "answer",
    [
        lambda: reply(OutputAnswer(accepted=False, message="It is over.")),
        lambda: error(410, "gone"),
        lambda: error(401, "unauthorized"),
    ],
)
def test_an_attempt_that_is_given_away_is_dropped_with_all_it_has(
    running: ExitStack, tmp_path: Path, answer: Callable[[], bottle.HTTPResponse]
) -> None:
    api, heard = receiver(running), Heard()
    sending = returns(running, tmp_path)
    to, other = ReportTo(api.api, 3, "key"), ReportTo(api.api, 4, "key")
    sending.expect(to, heard)
    api.answer = lambda path: answer() if path == "mine.png" else None
    put(sending, to, tmp_path, "mine.png", 1)
    wait_until(lambda: heard.given, "it hears of that")
    put(sending, other, tmp_path, "other.png")
    wait_until(lambda: sending.is_empty(other), "the other's has been sent")
    assert (api.paths, heard.frames) == (["other.png"], [])
    assert list((tmp_path / "returns").glob("*.file")) == []


def test_what_goes_wrong_with_one_attempts_end_keeps_nothing_back(
    running: ExitStack, tmp_path: Path
) -> None:
    api = receiver(running)
    sending = returns(running, tmp_path)
    to, other = ReportTo(api.api, 3, "key"), ReportTo(api.api, 4, "key")
    api.answer = lambda _path: error(503, "away")
    put(sending, to, tmp_path, "1.png")
    assert not sending.when_empty(to, partial(int, "no number"))
    api.answer = lambda _path: None
    wait_until(lambda: sending.is_empty(to), "the first has been sent")
    put(sending, other, tmp_path, "2.png")
    wait_until(lambda: sending.is_empty(other), "the other's has been sent")
    assert api.paths == ["1.png", "2.png"]


def test_one_that_is_not_taken_keeps_no_other_attempts_back(
    running: ExitStack, tmp_path: Path
) -> None:
    api = receiver(running)
    sending = returns(running, tmp_path)
    to, other = ReportTo(api.api, 3, "key"), ReportTo(api.api, 4, "key")
    heard = Heard()
    sending.expect(to, heard)
    api.answer = lambda path: error(507, "disk_full") if path == "1.png" else None
    for name in ("1.png", "2.png"):
        put(sending, to, tmp_path, name)
    put(sending, other, tmp_path, "other.png")
    wait_until(lambda: sending.is_empty(other), "the other's has been sent")
    assert api.paths == ["other.png"]
    wait_until(lambda: api.tries.count("1.png") > 2, "it is tried on")
    assert heard.held == ["Results wait on a machine. No."], "whoever waits is told so, once"
    api.answer = lambda _path: None
    wait_until(lambda: sending.is_empty(to), "all has been sent")
    assert api.paths == ["other.png", "1.png", "2.png"]


@pytest.mark.parametrize("how", ["cut", "gone", "refused"])
def test_a_frame_with_a_spoiled_file_does_not_count(
    running: ExitStack, tmp_path: Path, how: str
) -> None:
    api, heard = receiver(running), Heard()
    sending, to = returns(running, tmp_path), ReportTo(api.api, 3, "key")
    sending.expect(to, heard)
    hold = threading.Event()

    def answer(path: str) -> bottle.HTTPResponse | None:
        hold.wait(60)
        return error(400, "bad_hash") if path == "depth1.exr" else None

    api.answer = answer
    put(sending, to, tmp_path, "first.png", 0)
    put(sending, to, tmp_path, "depth1.exr")
    put(sending, to, tmp_path, "1.png", 1)
    put(sending, to, tmp_path, "2.png", 2)
    second = sorted((tmp_path / "returns").glob("*.file"))[1]
    if how == "gone":
        second.unlink()
    else:
        second.write_bytes(b"cut")
    hold.set()
    wait_until(lambda: sending.is_empty(to), "all is settled")
    assert heard.frames == [0, 2]
    assert len(heard.spoiled_files) == 1 and "depth1.exr" in heard.spoiled_files[0]


def test_a_file_that_was_damaged_on_the_way_is_sent_again(
    running: ExitStack, tmp_path: Path
) -> None:
    api = receiver(running)
    sending, to = returns(running, tmp_path), ReportTo(api.api, 3, "key")
    answers = iter([error(400, "bad_hash"), error(400, "bad_hash")])
    api.answer = lambda _path: next(answers, None)
    put(sending, to, tmp_path, "1.png")
    wait_until(lambda: sending.is_empty(to), "it has been sent")
    assert api.paths == ["1.png"]


def test_a_file_without_a_row_and_a_row_without_a_file(running: ExitStack, tmp_path: Path) -> None:
    """What a node leaves that is killed between two lines."""
    gone = Receiver()
    gone.close()
    to = ReportTo(gone.api, 3, "key")
    first = returns(running, tmp_path)
    for name in ("1.png", "2.png"):
        put(first, to, tmp_path, name)
    first.close()
    folder = tmp_path / "returns"
    min(folder.glob("*.file")).unlink()
    (folder / "99.file").write_bytes(b"arrived")
    kept = Parcels(folder)
    running.callback(kept.close)
    assert kept.count(to) == 1
    found = kept.first(to.api)
    assert found is not None and found.path == "2.png"
    assert not (folder / "99.file").exists()


def test_nothing_is_sent_to_an_api_with_another_certificate(
    running: ExitStack, tmp_path: Path
) -> None:
    right, wrong = (make_certificate(tmp_path / name, "127.0.0.1") for name in ("right", "wrong"))
    api = Receiver(certificate=wrong)
    running.callback(api.close)
    sending = returns(running, tmp_path)
    to = ReportTo(Api(api.api.url, fingerprint_of(right.fullchain_pem_path)), 3, "key")
    put(sending, to, tmp_path, "1.png")
    true_to = ReportTo(api.api, 4, "key")
    put(sending, true_to, tmp_path, "2.png")
    wait_until(lambda: sending.is_empty(true_to), "the right one's has been sent")
    assert api.tries == ["2.png"]
    assert not sending.is_empty(to)


def test_an_api_with_a_new_certificate_gets_what_waits_for_it(
    running: ExitStack, tmp_path: Path
) -> None:
    old, new = (make_certificate(tmp_path / name, "127.0.0.1") for name in ("old", "new"))
    api = Receiver(certificate=new)
    running.callback(api.close)
    client = ApiClient()
    sending = Returns(Parcels(tmp_path / "returns"), client)
    running.callback(sending.close)
    to = ReportTo(Api(api.api.url, fingerprint_of(old.fullchain_pem_path)), 3, "key")
    put(sending, to, tmp_path, "1.png")
    client.trust(Api("https://127.0.0.1:1", fingerprint_of(new.fullchain_pem_path)))
    client.trust(api.api)
    wait_until(lambda: sending.is_empty(to), "it has been sent")
    assert api.paths == ["1.png"]


def test_the_wire_is_the_documented_one() -> None:
    assert wire.encode(OutputAnswer(accepted=True)) == b'{"Accepted":true,"Message":""}'


class Told(NoReporter):
    """A reporter that remembers what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def rendered(self) -> None:
        self.events.append("rendered")

    def ended(self, task: HpcTask) -> None:
        self.events.append("ended")


@pytest.mark.parametrize("has_next", [True, False])
def test_that_a_machine_is_free_is_told_where_it_has_nothing_else_to_do(
    running: ExitStack, tmp_path: Path, has_next: bool
) -> None:
    """Its end is told in any case, once its results have arrived."""
    gate = threading.Event()
    running.callback(gate.set)
    api = receiver(running)

    def later(_path: str) -> None:
        gate.wait(DEADLINE_S)

    api.answer = later
    sending, to = returns(running, tmp_path), ReportTo(api.api, 3, "key")
    clock, told = SystemClock(), Told()
    entry = Entry(task=HpcTask(task_id=7, attempt_id=3, is_running=True))
    books = Books(clock, Journal(tmp_path), ApiClient(), Vitals, lambda *_: None, sending)
    record = Record(clock, entry.task, sends_back=True)
    account = Account(record, entry, Journal(tmp_path), books, None, sending, to)
    account.report_by(told)
    put(sending, to, tmp_path, "1.png", 1)
    account.finish(Outcome(Verdict(True), 0))
    account.tell_end(has_next)
    assert told.events == ([] if has_next else ["rendered"])
    gate.set()
    wait_until(lambda: told.events[-1:] == ["ended"], "its end is told")
