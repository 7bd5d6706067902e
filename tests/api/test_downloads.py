"""Downloading the ZIP over both servers: in parts, after breaks of every kind, and while it changes."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import socket
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest
from cli.certificates import make_certificate
from support.original_node import OriginalNode
from support.waiting import wait_until

from renderonline.api.services import returns
from renderonline.api.storage import trees
from renderonline.api.storage.links import Linker
from renderonline.api.storage.plain_file import PlainFile
from renderonline.api.storage.trees import PIECE_BYTES, Changed
from renderonline.serving import Server

from .control import Control
from .house import House, running_house

FRAMES = 6
FRAME_BYTES = 700_000


@pytest.fixture(params=["house", "secure_house"], ids=["http", "https"])
def served(request: pytest.FixtureRequest) -> House:
    """An api over each of the two servers."""
    found: House = request.getfixturevalue(request.param)
    return found


def rendered(house: House, frame_bytes: int = FRAME_BYTES, state: str = "succeeded") -> int:
    """A task with frames; its id."""
    task_id = house.task(content=b"the project")
    folder = house.task_dir(task_id) / "output"
    folder.mkdir()
    for frame in range(1, FRAMES + 1):
        (folder / f"frame_{frame:04}.png").write_bytes(os.urandom(frame_bytes))
    house.rows("UPDATE tasks SET state = ? WHERE task_id = ?", state, task_id)
    return task_id


def whole(house: House, route: str) -> tuple[bytes, str]:
    """All of it, and its entity tag."""
    answer = house.request("GET", route)
    assert answer.status_code == 200, answer.text
    return answer.content, answer.headers["ETag"]


def names(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return archive.namelist()


@contextmanager
def answering(house: House, route: str, **headers: str) -> Iterator[tuple[int, IO[bytes]]]:
    """A GET whose answer the test reads as far as it likes: the status, and the body as it comes."""
    lines = house.head("", {k.replace("_", "-"): v for k, v in headers.items()}).decode()
    request = f"GET /renderapi/v1/{route} HTTP/1.1\r\n" + lines.partition("\r\n")[2]
    with house.connect() as connection:
        connection.sendall(request.encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        yield answer.status, answer


def resume(house: House, route: str, got: bytes, etag: str) -> bytes:
    """The rest of it, which must be the rest of the same."""
    headers = {"Range": f"bytes={len(got)}-", "If-Range": etag}
    answer = house.request("GET", route, headers=headers)
    assert answer.status_code == 206, answer.text
    return answer.content


# --------------------------------------------------------------------------- what is in it


def test_a_finished_tasks_archive_has_a_length_and_a_name(served: House) -> None:
    route = f"tasks/{rendered(served)}/results.zip"
    answer = served.request("GET", route)
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "application/zip"
    assert names(answer.content) == [f"frame_{n:04}.png" for n in range(1, FRAMES + 1)]
    head = served.request("HEAD", route)
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]
    assert head.headers["ETag"] == answer.headers["ETag"]
    known = served.request("GET", route, headers={"If-None-Match": head.headers["ETag"]})
    assert known.status_code == 304


def test_a_task_that_renders_promises_no_length(served: House) -> None:
    task_id = rendered(served, 1000, state="running")
    for method in ("GET", "HEAD"):
        answer = served.request(
            method, f"tasks/{task_id}/results.zip", headers={"Range": "bytes=5-"}
        )
        assert answer.status_code == 200
        assert "Content-Length" not in answer.headers
        assert "ETag" not in answer.headers
        assert answer.headers["Accept-Ranges"] == "none"
    assert len(names(served.request("GET", f"tasks/{task_id}/results.zip").content)) == FRAMES


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?only=all", [*(f"output/frame_{n:04}.png" for n in range(1, 7)), "scene.any"]),
        ("?only=results", [f"frame_{n:04}.png" for n in range(1, 7)]),
        ("?frames=2-3,6", ["frame_0002.png", "frame_0003.png", "frame_0006.png"]),
        ("?frames=1-9x2", ["frame_0001.png", "frame_0003.png", "frame_0005.png"]),
        ("?frames=99", []),
        ("?only=all&frames=2", ["frame_0002.png"]),
    ],
)
def test_what_is_asked_for(house: House, query: str, expected: list[str]) -> None:
    task_id = rendered(house, 10)
    assert names(whole(house, f"tasks/{task_id}/results.zip{query}")[0]) == expected


@pytest.mark.parametrize("query", ["?only=x", "?frames=x", "?frames=9-1", "?frames=1-"])
def test_what_cannot_be_meant(house: House, query: str) -> None:
    answer = house.request("GET", f"tasks/{rendered(house, 10)}/results.zip{query}")
    assert answer.status_code == 400
    assert answer.json()["ErrorMessage"]


def test_a_task_whose_files_are_gone(house: House) -> None:
    task_id = house.task()
    (house.task_dir(task_id) / "scene.any").unlink()
    house.task_dir(task_id).rmdir()
    answer = house.request("GET", f"tasks/{task_id}/results.zip")
    assert (answer.status_code, answer.json()["Error"]) == (404, "no_files")


# --------------------------------------------------------------------------- breaks


def test_it_goes_on_wherever_it_broke_off(served: House) -> None:
    route = f"tasks/{rendered(served, 10_000)}/results.zip"
    expected, etag = whole(served, route)
    for place in range(1, len(expected), 977):
        with answering(served, route) as (_, body):
            got = body.read(place)
        assert got + resume(served, route, got, etag) == expected


def test_it_goes_on_after_several_breaks(served: House) -> None:
    route = f"tasks/{rendered(served)}/results.zip"
    expected, etag = whole(served, route)
    got, size = b"", 1
    while len(got) < len(expected):
        with answering(served, route, Range=f"bytes={len(got)}-", If_Range=etag) as (status, body):
            assert status == 206
            got += body.read(size)
        size *= 3
    assert got == expected


def test_another_archive_is_sent_whole(served: House) -> None:
    task_id = rendered(served, 10_000)
    route = f"tasks/{task_id}/results.zip"
    _, etag = whole(served, route)
    (served.task_dir(task_id) / "output" / "frame_0004.png").write_bytes(b"rendered again")
    answer = served.request("GET", route, headers={"Range": "bytes=5000-", "If-Range": etag})
    assert answer.status_code == 200
    assert len(names(answer.content)) == FRAMES


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_it_goes_on_after_the_api_was_killed(tmp_path: Path, secure: bool) -> None:
    certificate = make_certificate(tmp_path / "tls", "127.0.0.1") if secure else None
    with running_house(tmp_path / "house", certificate) as own:
        route = f"tasks/{rendered(own, 8_000_000)}/results.zip"
        with answering(own, route) as (status, body):
            assert status == 200
            etag = body.headers["ETag"]  # type: ignore[attr-defined]
            got = body.read(20_000_001)
            own.service.kill()
            with pytest.raises((http.client.IncompleteRead, OSError)):
                while block := body.read(1 << 20):
                    got += block
                raise http.client.IncompleteRead(b"")  # it ended too early, without a word
        own.service.restart()
        got += resume(own, route, got, etag)
        assert len(names(got)) == FRAMES
        assert got == whole(own, route)[0]


def test_what_a_node_sends_back_needs_no_second_reading(
    control: Control, machine: OriginalNode
) -> None:
    control.add_machine(machine)
    task_id = control.add_task(control.add_engine("any"))
    control.turn()
    (chunk,) = control.chunks(task_id)
    content = os.urandom(3_000_000)
    pieces = (content[place : place + 700_000] for place in range(0, len(content), 700_000))
    digest = hashlib.sha256(content).hexdigest()
    assert returns.receive(control.ctx, chunk, "a/1.png", digest, pieces, len(content))
    entry = trees.find(control.folder(task_id), "output", "a/1.png")
    assert entry is not None
    book = control.ctx.folders.checksums.book(control.folder(task_id))
    assert book.whole(entry) == zlib.crc32(content)
    entry.path.write_bytes(b"something else")
    changed = trees.find(control.folder(task_id), "output", "a/1.png")
    assert changed is not None
    assert book.whole(changed) is None


def test_what_is_acknowledged_has_its_name_on_the_disk(
    control: Control, machine: OriginalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so have the folders that were made for it: each name is on the disk when its folder is."""
    synced: set[Path] = set()
    really = os.fsync

    def fsync(descriptor: int) -> None:
        really(descriptor)
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", fsync)
    control.add_machine(machine)
    task_id = control.add_task(control.add_engine("any"))
    folder = control.folder(task_id)
    planned = control.ctx.folders.plan("", 77, control.ctx.local_now())
    control.ctx.folders.create(planned, lambda made: Linker(made).settle())
    assert {planned, planned.parent, planned.parent.parent} <= synced, "the task's, its user's, all"
    control.turn()
    (chunk,) = control.chunks(task_id)
    synced.clear()
    digest = hashlib.sha256(b"a frame").hexdigest()
    assert returns.receive(control.ctx, chunk, "a/b/1.png", digest, iter([b"a frame"]), 7)
    output = folder / "output"
    assert {folder, output, output / "a", output / "a" / "b"} <= synced


# --------------------------------------------------------------------------- changes meanwhile


def broken(house: House, route: str, change_after: int, change: Callable[[], None]) -> bytes:
    """What arrives of an answer in whose midst something is done; it must not look whole."""
    with answering(house, route) as (status, body):
        assert status == 200
        got = body.read(change_after)
        change()
        with pytest.raises((http.client.IncompleteRead, OSError)) as broke:
            got += body.read()
        return got + getattr(broke.value, "partial", b"")


def test_a_frame_that_vanishes_breaks_it_off(served: House) -> None:
    task_id = rendered(served, 8_000_000)
    last = served.task_dir(task_id) / "output" / f"frame_{FRAMES:04}.png"
    got = broken(served, f"tasks/{task_id}/results.zip", 1000, last.unlink)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(got))


def test_a_frame_that_gets_shorter_breaks_off_what_promised_no_length(served: House) -> None:
    task_id = rendered(served, 8_000_000, state="running")
    file = served.task_dir(task_id) / "output" / "frame_0001.png"
    got = broken(served, f"tasks/{task_id}/results.zip", 1000, lambda: os.truncate(file, 1000))
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(got))


def test_the_file_itself_may_change(served: House) -> None:
    task_id = rendered(served, 20_000_000)
    file = served.task_dir(task_id) / "output" / "frame_0001.png"
    route = f"tasks/{task_id}/files/frame_0001.png"
    assert len(broken(served, route, 1000, lambda: os.truncate(file, 1000))) < 20_000_000


def test_a_file_that_changes_before_its_last_bytes_are_sent_does_not_look_whole(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.png").write_bytes(os.urandom(PIECE_BYTES))
    entry = trees.find(tmp_path, "", "a.png")
    assert entry is not None
    reading = iter(PlainFile(entry).pieces(0, PIECE_BYTES))
    (tmp_path / "a.png").write_bytes(b"other")
    with pytest.raises(Changed):
        next(reading)


def test_who_reads_slowly_costs_neither_disk_nor_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server over HTTP keeps what is not taken yet: little, and never in a file."""
    spooled: list[object] = []
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *_args: spooled.append(1))
    produced = 0

    def app(_environ: object, start_response: Callable[..., object]) -> Iterator[bytes]:
        nonlocal produced
        start_response("200 OK", [("Content-Length", str(400 * PIECE_BYTES))])
        for _ in range(400):
            produced += PIECE_BYTES
            yield bytes(PIECE_BYTES)

    server = Server(app, "127.0.0.1", 0)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            seen = -1
            while seen != produced:  # until it waits for us
                seen = produced
                time.sleep(0.2)
            assert 0 < produced < 100 * PIECE_BYTES
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert len(answer.read()) == 400 * PIECE_BYTES
    finally:
        server.close()
    assert spooled == []


def test_nothing_stays_open(house: House) -> None:
    """Whoever goes away, asks for a head, or for what has just gone."""
    task_id = rendered(house, 3_000_000)
    api = psutil.Process(house.service.pid)

    def open_results() -> list[str]:
        return [file.path for file in api.open_files() if "frame_" in file.path]

    for route in ("results.zip", "files/frame_0001.png"):
        path = f"tasks/{task_id}/{route}"
        with answering(house, path) as (_, body):
            body.read(10)
        house.request("HEAD", path)
        whole(house, path)
    wait_until(lambda: not open_results(), "all files are closed")


def test_logs_stayed_quiet(house: House, secure_house: House) -> None:
    house.assert_quiet()
    secure_house.assert_quiet()
