"""Uploads that do not end well: broken off, garbled, too large, onto a full disk. Nothing is kept."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli.certificates import make_certificate
from support import multipart
from support.processes import DEADLINE_S
from support.waiting import wait_until

from .house import FRAMES, House, running_house

BODY = multipart.enqueue_body("scene.any", b"x" * 3_000_000, FRAMES)
HALF = BODY.content[:1_500_000]


def with_length(length_bytes: int = len(BODY.content)) -> dict[str, str]:
    return {"Content-Type": BODY.content_type, "Content-Length": str(length_bytes)}


CHUNKED = {"Content-Type": BODY.content_type, "Transfer-Encoding": "chunked"}


@pytest.fixture(params=["http", "https"])
def either(request: pytest.FixtureRequest) -> House:
    """The api over waitress, and over cheroot with a certificate."""
    name = {"http": "house", "https": "secure_house"}[request.param]
    return request.getfixturevalue(name)


@contextmanager
def unchanged(house: House) -> Iterator[None]:
    """What is begun in the block leaves nothing, and the api goes on."""
    before = house.snapshot()
    yield
    wait_until(lambda: house.snapshot() == before, "all is as before")
    house.get("info")
    house.assert_quiet()


def chunks(content: bytes) -> Iterator[bytes]:
    """In chunks of 4 KiB, without the end."""
    for start in range(0, len(content), 4096):
        piece = content[start : start + 4096]
        yield b"%x\r\n%s\r\n" % (len(piece), piece)


def is_receiving(house: House) -> bool:
    return any((house.data / "incoming").iterdir())


def cut(connection: socket.socket) -> None:
    """As when a cable is pulled and the other side gives up: no orderly end of TLS or TCP."""
    os.close(connection.detach())


def end(connection: socket.socket) -> None:
    connection.close()


@pytest.mark.parametrize("how", [cut, end])
def test_broken_off_in_the_middle(either: House, how: Callable[[socket.socket], None]) -> None:
    with unchanged(either):
        connection = either.connect()
        connection.sendall(either.head("enqueue", with_length()) + HALF)
        if either.certificate:  # it streams; waitress shows the request only when it is whole
            wait_until(lambda: is_receiving(either), "the upload has begun")
        how(connection)


@pytest.mark.parametrize("how", [cut, end])
def test_broken_off_in_a_chunk(either: House, how: Callable[[socket.socket], None]) -> None:
    with unchanged(either):
        connection = either.connect()
        head = either.head("enqueue", CHUNKED)
        connection.sendall(head + b"".join(chunks(HALF)) + b"1000\r\nand no mo")
        if either.certificate:
            wait_until(lambda: is_receiving(either), "the upload has begun")
        how(connection)


@pytest.mark.parametrize("route", ["dequeue", "download", "delete"])
def test_small_body_broken_off(either: House, route: str) -> None:
    with unchanged(either):
        connection = either.connect()
        head = either.head(route, {"Content-Length": "100"})
        connection.sendall(head + b'{"TaskId":')
        cut(connection)


def answer_to(house: House, sent: bytes) -> bytes:
    """The first line of the answer to these bytes; empty if the connection is closed instead."""
    with house.connect() as connection:
        try:
            connection.sendall(sent)
            return connection.makefile("rb").readline()
        except OSError:  # refused while we were still sending
            return b""


@pytest.mark.parametrize(
    "garbled",
    [
        b"not a size\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello, and more\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("route", ["enqueue", "delete"])
def test_garbled_chunks(either: House, route: str, garbled: bytes) -> None:
    with unchanged(either):
        status = answer_to(either, either.head(route, CHUNKED) + garbled)
        assert status == b"" or status.split()[1][:1] == b"4", status


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 30, "5, 6", "٣"])
def test_lengths_that_are_none(either: House, length: str) -> None:
    with unchanged(either):
        sent = either.head("enqueue", {**with_length(), "Content-Length": length})
        status = answer_to(either, sent + b"x" * 10)
        assert status == b"" or status.split()[1][:1] == b"4", status


@pytest.mark.parametrize("route", ["enqueue", "delete"])
def test_negative_length_does_not_mean_to_the_end(either: House, route: str) -> None:
    task_id = either.task()
    body = BODY.content if route == "enqueue" else b'{"TaskId":%d}' % task_id
    # the answer may come while we are still sending
    with unchanged(either), either.connect() as connection, contextlib.suppress(OSError):
        connection.sendall(either.head(route, with_length(-1)) + body)
        end_of_body(connection)


def end_of_body(connection: socket.socket) -> None:
    """Say that nothing more will come, and still listen."""
    if isinstance(connection, ssl.SSLSocket):
        connection.unwrap()
    else:
        connection.shutdown(socket.SHUT_WR)


def test_length_short_of_the_body(either: House) -> None:
    """What is beyond it is no part of this request."""
    with unchanged(either):
        sent = either.head("enqueue", with_length(len(HALF))) + HALF
        status = answer_to(either, sent)
        assert status.split()[1] == b"400", status


def test_stranger_with_a_large_file_gets_the_answer(either: House) -> None:
    """The refusal arrives, although not all that was sent had been read."""
    with unchanged(either):
        answer = either.request(
            "POST",
            "enqueue",
            headers={"token": "wrong", "Content-Type": BODY.content_type},
            data=BODY.content,
        )
        assert (answer.status_code, answer.json()["IsAdded"]) == (401, False)


# --------------------------------------------------------------------------- limits


@pytest.fixture(scope="module", params=["http", "https"])
def small_house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """An api that takes files of 10,000 bytes."""
    folder = tmp_path_factory.mktemp("small_house")
    certificate = (
        make_certificate(folder / "tls", "127.0.0.1") if request.param == "https" else None
    )
    with running_house(folder, certificate, UploadLimitBytes=10_000) as running:
        yield running


def test_file_at_the_limit(small_house: House) -> None:
    assert small_house.enqueue(content=b"x" * 10_000).status_code == 200
    with unchanged(small_house):
        answer = small_house.enqueue(content=b"x" * 10_001)
        assert (answer.status_code, answer.json()["IsAdded"]) == (413, False)
        assert "10000 bytes" in answer.json()["ErrorMessage"]


@pytest.mark.parametrize("headers", [with_length(), CHUNKED], ids=["length", "chunked"])
def test_body_far_above_the_limit(small_house: House, headers: dict[str, str]) -> None:
    with unchanged(small_house):
        sent = BODY.content
        if headers is CHUNKED:
            sent = b"".join(chunks(sent)) + b"0\r\n\r\n"
        status = answer_to(small_house, small_house.head("enqueue", headers) + sent)
        assert status == b"" or status.split()[1] == b"413", status


def test_parts_that_nobody_wants_are_limited_too(small_house: House) -> None:
    part = multipart.Part(("Content-Disposition: form-data; name=other",), b"x" * 3_000_000)
    with unchanged(small_house):
        sent = multipart.body([part])
        head = small_house.head("enqueue", {**CHUNKED, "Content-Type": sent.content_type})
        body = b"".join(chunks(sent.content)) + b"0\r\n\r\n"
        status = answer_to(small_house, head + body)
        assert status == b"" or status.split()[1][:1] == b"4", status


# --------------------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        check=True,
        timeout=DEADLINE_S,
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=DEADLINE_S)


def test_full_disk_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    with running_house(tmp_path / "house", data=small_disk / "data", DiskFloorBytes=0) as house:
        house.task()
        with unchanged(house):
            answer = house.enqueue(content=b"x" * 3_000_000)
            assert (answer.status_code, answer.json()["IsAdded"]) == (507, False)
            assert "disk is full" in answer.json()["ErrorMessage"]
        assert house.enqueue(content=b"x" * 1000).status_code == 200


def test_disk_that_fills_up_at_any_step_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    """With one more free page each time, the failure moves from the upload to the commit."""
    statuses = []
    with running_house(tmp_path / "house", data=small_disk / "data", DiskFloorBytes=0) as house:
        house.task()
        filler = small_disk / "filler"
        for free_pages in range(14):
            before = house.snapshot()
            fill_up(filler, small_disk, free_pages)
            answer = house.enqueue(content=b"x" * 100)
            filler.unlink()
            statuses.append(answer.status_code)
            if answer.status_code == 200:
                break
            assert answer.status_code == 507, (free_pages, answer.text)
            assert answer.json()["IsAdded"] is False
            assert house.snapshot() == before, free_pages
        house.assert_quiet()
    assert statuses[0] == 507
    assert statuses[-1] == 200, "with some room it is taken"
    assert len(statuses) > 2, statuses


def fill_up(filler: Path, disk: Path, free_pages: int) -> None:
    """Write `filler` until so many pages of 4 KiB are free."""
    with filler.open("wb", buffering=0) as file:
        while True:
            free = os.statvfs(disk).f_bavail - free_pages
            if free <= 0:
                return
            file.write(bytes(4096 * free))
