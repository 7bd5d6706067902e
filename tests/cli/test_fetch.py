"""One file from a farm: broken off at any place and gone on with, now, later, or from the beginning."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import bottle
import pytest
from support.waiting import wait_until

from renderonline.api.http import ranges
from renderonline.client import Client, Refused, Unreachable, fetch
from renderonline.serving import HttpError, JsonApp

from .command import Command

Serve = Callable[..., str]
Connect = Callable[[str], Client]

SIZE = 3_000_000
KEPT = fetch.WORTH_KEEPING_BYTES


@dataclass
class Shaky:
    """A server of one archive, whose connections break where the test says."""

    content: bytes
    etag: str = "first"
    breaks: list[int] = field(default_factory=list)  # places at which one connection each ends
    holds_at: int = 0  # a place at which it waits until `may_go_on`
    may_go_on: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)  # Range, If-Range
    sent_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        end = self.breaks.pop(0) if self.breaks else stop
        for place in range(start, min(stop, end), 10_000):
            piece = self.content[place : min(place + 10_000, stop, end)]
            self.sent_bytes += len(piece)
            yield piece
            if self.holds_at and place < self.holds_at <= place + 10_000:
                self.may_go_on.wait()
        if end < stop:
            raise OSError("cut")

    def app(self) -> JsonApp:
        made = JsonApp()
        made.get("/renderapi/v1/tasks/1/results.zip", callback=self._answer)
        return made

    def _answer(self) -> bottle.HTTPResponse:
        headers = bottle.request.headers
        self.asked.append((headers.get("Range"), headers.get("If-Range")))
        return ranges.answer(self, {"Content-Type": "application/zip"})


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as opened:
        yield lambda url: opened.enter_context(Client(url, "artist@example.com", "token"))


@pytest.fixture
def shaky() -> Shaky:
    return Shaky(os.urandom(SIZE))


@pytest.fixture
def client(shaky: Shaky, serve: Serve, connect: Connect) -> Client:
    return connect(serve(shaky.app()))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A break ends the call, as Ctrl-C does."""
    monkeypatch.setattr(fetch, "PATIENCE_S", -1.0)


def parts(folder: Path) -> list[int]:
    """The sizes of what was put aside."""
    return [file.stat().st_size for file in folder.glob(".renderonline-*.part")]


def assert_alone(file: Path, content: bytes) -> None:
    """It is there, and nothing else."""
    assert file.read_bytes() == content
    assert list(file.parent.iterdir()) == [file]


# --------------------------------------------------------------------------- in one call


def test_nothing_is_sent_twice_wherever_it_breaks(
    client: Client, shaky: Shaky, tmp_path: Path
) -> None:
    shaky.breaks = [1, 2, 9_999, 10_000, 10_001, 500_000, 1_048_577, SIZE - 1]
    told: list[tuple[int, int | None]] = []
    client.download(1, tmp_path / "a.zip", lambda done, total: told.append((done, total)))
    assert_alone(tmp_path / "a.zip", shaky.content)
    assert shaky.sent_bytes == SIZE
    assert [wanted for wanted, _ in shaky.asked][:3] == [None, "bytes=1-", "bytes=2-"]
    assert {condition for _, condition in shaky.asked[1:]} == {'"first"'}
    assert told[-1] == (SIZE, SIZE)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_who_waits_is_told(shaky: Shaky, serve: Serve, tmp_path: Path) -> None:
    shaky.breaks = [50_000]
    said: list[str] = []
    url = serve(shaky.app())
    with Client(url, "artist@example.com", "token", notice=said.append) as client:
        client.download(1, tmp_path / "a.zip")
    assert len(said) == 1
    assert "Trying again" in said[0]


def test_other_bytes_meanwhile_are_fetched_from_their_beginning(
    client: Client, shaky: Shaky, tmp_path: Path
) -> None:
    other = os.urandom(SIZE - 5)
    shaky.breaks = [2_000_000]

    def progress(done: int, _total: int | None) -> None:
        if done and shaky.etag == "first" and not shaky.breaks:
            shaky.content, shaky.etag = other, "second"

    client.download(1, tmp_path / "a.zip", progress)
    assert_alone(tmp_path / "a.zip", other)


def test_what_was_there_is_replaced(client: Client, shaky: Shaky, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"of an earlier render")
    client.download(1, tmp_path / "a.zip")
    assert_alone(tmp_path / "a.zip", shaky.content)


def test_an_empty_file(client: Client, shaky: Shaky, tmp_path: Path) -> None:
    shaky.content = b""
    client.download(1, tmp_path / "a.zip")
    assert_alone(tmp_path / "a.zip", b"")


# --------------------------------------------------------------------------- in a later call


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("place", [KEPT, KEPT + 1, 2_345_678, SIZE - 1])
def test_a_later_call_goes_on(client: Client, shaky: Shaky, tmp_path: Path, place: int) -> None:
    shaky.breaks = [place]
    with pytest.raises(Unreachable):
        client.download(1, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
    assert parts(tmp_path) == [place]
    client.download(1, tmp_path / "a.zip")
    assert_alone(tmp_path / "a.zip", shaky.content)
    assert shaky.sent_bytes == SIZE
    assert shaky.asked[-1] == (f"bytes={place}-", '"first"')


@pytest.mark.usefixtures("impatient")
def test_a_later_call_finds_other_bytes(client: Client, shaky: Shaky, tmp_path: Path) -> None:
    shaky.breaks = [2_000_000]
    with pytest.raises(Unreachable):
        client.download(1, tmp_path / "a.zip")
    shaky.content, shaky.etag = os.urandom(1_500_000), "second"
    client.download(1, tmp_path / "a.zip")
    assert_alone(tmp_path / "a.zip", shaky.content)


@pytest.mark.usefixtures("impatient")
def test_what_is_small_is_not_kept(client: Client, shaky: Shaky, tmp_path: Path) -> None:
    shaky.breaks = [KEPT - 1]
    with pytest.raises(Unreachable):
        client.download(1, tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("impatient")
def test_all_had_arrived_already(client: Client, shaky: Shaky, tmp_path: Path) -> None:
    """The end of the last call fell between the last byte and the renaming."""
    part = interrupted(client, shaky, tmp_path)
    part.write_bytes(shaky.content)
    client.download(1, tmp_path / "a.zip")
    assert_alone(tmp_path / "a.zip", shaky.content)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("left", [b"", b"x" * (SIZE + 1)])
def test_a_part_that_cannot_be(client: Client, shaky: Shaky, tmp_path: Path, left: bytes) -> None:
    interrupted(client, shaky, tmp_path).write_bytes(left)
    client.download(1, tmp_path / "a.zip")
    assert_alone(tmp_path / "a.zip", shaky.content)


def test_a_command_that_was_killed_goes_on(shaky: Shaky, serve: Serve, tmp_path: Path) -> None:
    environment = {
        "RENDERONLINE_SERVER": serve(shaky.app()),
        "RENDERONLINE_EMAIL": "artist@example.com",
        "RENDERONLINE_TOKEN": "token",
    }
    folder = tmp_path / "folder"
    folder.mkdir()
    shaky.holds_at = 2_000_000
    first = Command(tmp_path / "home", environment, "download", "1", folder / "a.zip")
    try:
        wait_until(lambda: parts(folder) == [2_000_000], "two thirds have arrived")
    finally:
        first.kill()
        shaky.may_go_on.set()
    assert not (folder / "a.zip").exists()
    second = Command(tmp_path / "home", environment, "download", "1", folder / "a.zip", "--json")
    assert second.result(0)["Files"] == [str(folder / "a.zip")]
    assert shaky.asked[-1] == ("bytes=2000000-", '"first"')
    assert_alone(folder / "a.zip", shaky.content)


@pytest.mark.usefixtures("impatient")
def test_files_of_one_folder_do_not_share_a_part(
    client: Client, shaky: Shaky, tmp_path: Path
) -> None:
    interrupted(client, shaky, tmp_path)
    client.download(1, tmp_path / "b.zip")
    assert shaky.asked[-1] == (None, None)
    assert (tmp_path / "b.zip").read_bytes() == shaky.content


def interrupted(client: Client, shaky: Shaky, folder: Path) -> Path:
    """What a call has left that broke off."""
    shaky.breaks = [2_000_000]
    with pytest.raises(Unreachable):
        client.download(1, folder / "a.zip")
    (part,) = folder.glob(".renderonline-*.part")
    return part


# --------------------------------------------------------------------------- what is not waited for


def test_a_farm_that_is_not_there_is_told_at_once(
    client: Client, shaky: Shaky, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though there is something to go on with: the address may be wrong."""
    monkeypatch.setattr(fetch, "PATIENCE_S", -1.0)
    interrupted(client, shaky, tmp_path)
    monkeypatch.setattr(fetch, "PATIENCE_S", 1e9)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(Unreachable):
        connect(url).download(1, tmp_path / "a.zip")
    assert parts(tmp_path) == [2_000_000]


def test_an_archive_that_promises_nothing_begins_anew(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    app = JsonApp()

    @app.get("/renderapi/v1/tasks/1/results.zip")
    def _answer() -> bottle.HTTPResponse:
        def pieces() -> Iterator[bytes]:
            yield b"x" * 2_000_000
            raise OSError("cut")

        return bottle.HTTPResponse(pieces(), 200, {"Content-Type": "application/zip"})

    with pytest.raises(Unreachable):
        connect(serve(app)).download(1, tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "kind"), [(404, "NotFound"), (400, "Refused"), (401, "NotAllowed")]
)
def test_a_refusal_leaves_nothing(
    status: int, kind: str, serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    app = JsonApp()

    @app.get("/renderapi/v1/tasks/1/results.zip")
    def _answer() -> bottle.HTTPResponse:
        raise HttpError(status, "no", "It cannot be had.")

    with pytest.raises(Exception, match=r"cannot be had|does not know") as raised:
        connect(serve(app)).download(1, tmp_path / "a.zip")
    assert type(raised.value).__name__ == kind
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Exception, match="cannot be written") as raised:
        client.download(1, tmp_path / "file" / "a.zip")
    assert not isinstance(raised.value, Refused | Unreachable)
