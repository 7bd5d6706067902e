"""Projects on their way to a node: from a real server that breaks off, lies, hangs, or is not the api."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.waiting import wait_until

from renderonline import wire
from renderonline.lifecycle import SystemClock
from renderonline.node.api_client import Api, ApiClient
from renderonline.node.cache import Cache
from renderonline.node.fetch import DAMAGED_TRIES, Fetcher, NotFetched
from renderonline.node.orders import ReportTo
from renderonline.wire import Cause, Content, ErrorBody, Reason

FILE = os.urandom(700_000)
SHA256 = hashlib.sha256(FILE).hexdigest()
CONTENT = Content(sha256=SHA256, size=len(FILE))


class Source:
    """A server of one file. `behave` is called for each request with the offset that it asks from;
    it may end the answer early, or say something else."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.sent_bytes = 0
        self.keys: set[str] = set()
        self.behave: Callable[[BaseHTTPRequestHandler, int], None] = self.send
        source = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
                source.offsets.append(begin)
                source.keys.add(self.headers["X-Attempt-Key"])
                source.behave(self, begin)

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def to(self) -> ReportTo:
        return ReportTo(Api(f"http://127.0.0.1:{self._server.server_port}"), 3, "the key")

    def send(
        self,
        handler: BaseHTTPRequestHandler,
        begin: int,
        count: int | None = None,
        file: bytes = FILE,
    ) -> None:
        """Answer as the api does; at most `count` bytes, then break off."""
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(file) - begin))
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(file) - 1}/{len(file)}")
        handler.end_headers()
        piece = file[begin:] if count is None else file[begin : begin + count]
        handler.wfile.write(piece)
        self.sent_bytes += len(piece)
        if count is not None:
            handler.wfile.flush()
            handler.close_connection = True

    def refuse(self, status: int, body: bytes) -> None:
        def behave(handler: BaseHTTPRequestHandler, _begin: int) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.behave = behave

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.close()


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    made = Cache(tmp_path / "cache", 10_000_000)
    yield made
    made.close()


@pytest.fixture
def fetcher(cache: Cache) -> Fetcher:
    return Fetcher(ApiClient(), cache, SystemClock())


def our_refusal(error: str) -> bytes:
    return wire.encode(ErrorBody(error=error, error_message="No."))


def test_a_file_is_fetched_once(source: Source, fetcher: Fetcher, cache: Cache) -> None:
    for _ in range(3):
        fetcher.fetch(source.to, [CONTENT, CONTENT], threading.Event())
    assert source.offsets == [0]
    assert source.keys == {"the key"}
    found = cache.find(SHA256)
    assert found is not None and found.read_bytes() == FILE


def test_an_empty_file(source: Source, fetcher: Fetcher, cache: Cache) -> None:
    empty = Content(sha256=hashlib.sha256(b"").hexdigest(), size=0)
    source.behave = lambda handler, begin: source.send(handler, begin, file=b"")
    fetcher.fetch(source.to, [empty], threading.Event())
    found = cache.find(empty.sha256)
    assert found is not None and found.stat().st_size == 0


@pytest.mark.parametrize("cut", [1, 1000, 65_537, 350_000, len(FILE) - 1])
def test_it_goes_on_where_it_broke_off(source: Source, fetcher: Fetcher, cut: int) -> None:
    """To the byte: nothing is sent twice."""
    cuts = iter([cut])
    source.behave = lambda handler, begin: source.send(handler, begin, next(cuts, None))
    fetcher.fetch(source.to, [CONTENT], threading.Event())
    assert source.offsets == [0, cut]
    assert source.sent_bytes == len(FILE)


def test_a_line_that_breaks_every_few_bytes_gets_there(source: Source, fetcher: Fetcher) -> None:
    source.behave = lambda handler, begin: source.send(handler, begin, 200_000)
    fetcher.fetch(source.to, [CONTENT], threading.Event())
    assert source.offsets == [0, 200_000, 400_000, 600_000]


def test_a_server_that_knows_no_ranges_begins_anew(source: Source, fetcher: Fetcher) -> None:
    cuts = iter([300_000])
    source.behave = lambda handler, _begin: source.send(handler, 0, next(cuts, None))
    fetcher.fetch(source.to, [CONTENT], threading.Event())
    assert source.offsets == [0, 300_000]


def test_what_comes_damaged_is_fetched_again(source: Source, fetcher: Fetcher) -> None:
    answers = iter([b"x" * len(FILE)])
    source.behave = lambda handler, begin: source.send(handler, begin, file=next(answers, FILE))
    fetcher.fetch(source.to, [CONTENT], threading.Event())
    assert source.offsets == [0, 0]


def test_what_always_comes_damaged_is_given_up(
    source: Source, fetcher: Fetcher, cache: Cache
) -> None:
    source.behave = lambda handler, begin: source.send(handler, begin, file=b"x" * len(FILE))
    with pytest.raises(NotFetched, match="comes damaged") as caught:
        fetcher.fetch(source.to, [CONTENT], threading.Event())
    assert caught.value.cause is Cause.MACHINE
    assert source.offsets == [0] * DAMAGED_TRIES
    assert cache.find(SHA256) is None


def test_a_file_that_does_not_end_is_given_up(source: Source, fetcher: Fetcher) -> None:
    source.behave = lambda handler, begin: source.send(handler, begin, file=FILE * 3)
    with pytest.raises(NotFetched, match="comes damaged"):
        fetcher.fetch(source.to, [CONTENT], threading.Event())


@pytest.mark.parametrize(
    ("status", "error", "cause"),
    [
        (404, "no_such_file", Cause.ASSET_MISSING),
        (410, "gone", Cause.INTERRUPTED),
        (401, "unauthorized", Cause.INTERRUPTED),
    ],
)
def test_what_the_api_refuses(
    source: Source, fetcher: Fetcher, status: int, error: str, cause: Cause
) -> None:
    source.refuse(status, our_refusal(error))
    with pytest.raises(NotFetched) as caught:
        fetcher.fetch(source.to, [CONTENT], threading.Event())
    assert caught.value.cause is cause
    assert len(source.offsets) == 1


@pytest.mark.parametrize("status", [301, 401, 403, 404, 410, 500, 502, 503])
def test_what_a_proxy_says_while_the_api_is_away_is_waited_out(
    source: Source, fetcher: Fetcher, status: int
) -> None:
    source.refuse(status, b"<h1>No backend</h1>")
    done = threading.Event()

    def fetch() -> None:
        fetcher.fetch(source.to, [CONTENT], threading.Event())
        done.set()

    threading.Thread(target=fetch, daemon=True).start()
    wait_until(lambda: len(source.offsets) >= 2, "it tries on")
    source.behave = source.send
    assert done.wait(60)


def test_two_attempts_that_need_one_file_fetch_it_once(source: Source, fetcher: Fetcher) -> None:
    go_on = threading.Event()

    def behave(handler: BaseHTTPRequestHandler, begin: int) -> None:
        go_on.wait(60)
        source.send(handler, begin)

    source.behave = behave
    fetching = [
        threading.Thread(target=fetcher.fetch, args=(source.to, [CONTENT], threading.Event()))
        for _ in range(2)
    ]
    for thread in fetching:
        thread.start()
    wait_until(lambda: source.offsets, "it is being fetched")
    go_on.set()
    for thread in fetching:
        thread.join(60)
    assert source.offsets == [0]


@contextmanager
def stopped(fetcher: Fetcher, to: ReportTo, is_at_it: Callable[[], bool]) -> Iterator[None]:
    """A fetch that is stopped when it is at it; it ends at once."""
    stop, caught = threading.Event(), []

    def fetch() -> None:
        try:
            fetcher.fetch(to, [CONTENT], stop)
        except NotFetched as error:
            caught.append(error.cause)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    wait_until(is_at_it, "it is at it")
    stop.set()
    since = time.monotonic()
    thread.join(60)
    assert caught == [Cause.INTERRUPTED]
    assert time.monotonic() - since < 20, "not when the server's silence is over"
    yield


@pytest.mark.parametrize("sent", [None, 0, 1000])
def test_a_stop_ends_it_at_once(source: Source, fetcher: Fetcher, sent: int | None) -> None:
    """Also while the server says nothing: before its answer, or in the middle. What had come stays."""
    silent = threading.Event()

    def behave(handler: BaseHTTPRequestHandler, begin: int) -> None:
        if sent is not None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(FILE)))
            handler.end_headers()
            handler.wfile.write(FILE[:sent])
            handler.wfile.flush()
        silent.wait(60)
        handler.close_connection = True

    source.behave = behave
    with stopped(fetcher, source.to, lambda: bool(source.offsets)):
        silent.set()
        source.behave = source.send
        fetcher.fetch(source.to, [CONTENT], threading.Event())


def test_a_fetch_that_waits_for_another_one_is_stopped(source: Source, fetcher: Fetcher) -> None:
    silent = threading.Event()
    source.behave = lambda handler, begin: (silent.wait(60), source.send(handler, begin))[1]
    first = threading.Thread(target=fetcher.fetch, args=(source.to, [CONTENT], threading.Event()))
    first.start()
    wait_until(lambda: source.offsets, "the first one is at it")
    with stopped(fetcher, source.to, lambda: True):
        silent.set()
    first.join(60)
    assert source.offsets == [0]


def test_a_disk_that_takes_nothing_is_the_machines_fault(
    source: Source, fetcher: Fetcher, cache: Cache
) -> None:
    part = cache.part(SHA256)
    part.symlink_to("/dev/full")
    with pytest.raises(NotFetched, match="no room") as caught:
        fetcher.fetch(source.to, [CONTENT], threading.Event())
    assert (caught.value.cause, caught.value.reason) == (Cause.MACHINE, Reason.DISK_FULL)


def test_a_project_that_cannot_fit_is_not_begun(
    source: Source, fetcher: Fetcher, cache: Cache
) -> None:
    """Otherwise its beginning fills the disk, for all that render there."""
    huge = Content(sha256=SHA256, size=1 << 60)
    with pytest.raises(NotFetched, match=r"1048576\.0 TiB are to come, .* are free") as caught:
        fetcher.fetch(source.to, [huge], threading.Event())
    assert (caught.value.cause, caught.value.reason) == (Cause.MACHINE, Reason.DISK_FULL)
    assert source.offsets == []
