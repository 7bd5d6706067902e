"""Several apis on one data folder: each goes on where another was, and cleans up only after the dead."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cli.certificates import make_certificate
from support import multipart
from support.processes import DEADLINE_S, Service, end_all, write_config
from support.waiting import wait_until

from renderonline.api.app import open_database
from renderonline.api.services.pieces import BLOCK_BYTES
from renderonline.config import ApiSettings, parse
from renderonline.locks import ByteLocks

from . import tus
from .house import FRAMES, House, fill
from .shelf import manifest, missing, submit
from .test_uploads import begin_piece, content, stored
from .tus import Upload, begin

Pair = tuple[House, House]


@pytest.fixture
def pair(connection_string: str, tmp_path: Path) -> Iterator[Pair]:
    """Two apis over one database, of each kind, and one data folder. They speak TLS, and so show an
    upload while it comes."""
    data = tmp_path / "data"
    certificate = make_certificate(tmp_path / "tls", "127.0.0.1")
    raw: dict[str, Any] = {
        "ConnectionString": connection_string,
        "Port": "0",
        "Host": "127.0.0.1",
        "DataPath": str(data),
        "Certificate": {
            "FullchainPemPath": str(certificate.fullchain_pem_path),
            "PrivPemPath": str(certificate.priv_pem_path),
        },
    }
    database = open_database(parse(ApiSettings, raw, tmp_path)[0])
    people = fill(database)
    database.close()
    houses = []
    with ExitStack() as stack:
        for name in ("first", "second"):
            service = Service("api", write_config(tmp_path / name / "RenderAPI.json", raw))
            stack.callback(end_all, [service])
            pem, file = certificate.fullchain_pem_path, tmp_path / "farm.sqlite3"
            houses.append(House(tmp_path, service, file, data, pem, people))
        first, second = houses
        yield first, second
        for house in houses:
            house.assert_quiet()


def at(house: House, upload: Upload) -> Upload:
    """The same upload, asked for at another api."""
    return Upload(house, upload.route, upload.person)


def incoming(house: House) -> list[str]:
    return [file.name for file in (house.data / "incoming").iterdir()]


def test_upload_goes_on_at_another_api(pair: Pair) -> None:
    first, second = pair
    whole = content(300_000)
    upload = begin(first, whole)
    assert upload.patch(0, whole[:100_000]).status_code == 204
    assert at(second, upload).offset() == 100_000
    assert at(second, upload).patch(100_000, whole[100_000:200_000]).status_code == 204
    assert upload.patch(200_000, whole[200_000:]).status_code == 204
    assert stored(first, whole) == whole
    assert missing(second, whole) == []
    assert at(second, upload).offset() == 300_000


def test_project_sent_to_one_and_submitted_to_the_other(pair: Pair) -> None:
    first, second = pair
    tus.send(first, b"scene")
    tus.send(second, b"wood")
    files = {"scene.any": b"scene", "wood.png": b"wood"}
    task_id = submit(second, manifest(files)).json()["TaskId"]
    assert first.request("POST", "delete", json={"TaskId": task_id}).status_code == 200
    assert missing(first, b"scene", b"wood") == []
    # the same file at both, each in one request
    assert first.task(content=b"the same") < second.task(content=b"the same")
    assert missing(first, b"the same") == missing(second, b"the same") == []


BODY = multipart.enqueue_body("scene.any", b"x" * 3_000_000, FRAMES)
HALF = len(BODY.content) // 2


def begin_enqueue(house: House) -> socket.socket:
    """A submission whose file has come by half."""
    headers = {"Content-Type": BODY.content_type, "Content-Length": str(len(BODY.content))}
    connection = house.connect()
    connection.sendall(house.head("enqueue", headers) + BODY.content[:HALF])
    wait_until(lambda: incoming(house), "the upload has begun")
    return connection


def test_a_start_leaves_alone_what_another_receives(pair: Pair) -> None:
    first, second = pair
    with begin_enqueue(first) as connection:
        second.service.kill()
        second.service.restart()
        assert len(incoming(first)) == 1
        connection.sendall(BODY.content[HALF:])
        assert b" 200 " in connection.makefile("rb").readline()
    assert incoming(first) == []


def test_a_start_cleans_up_after_the_dead(pair: Pair) -> None:
    first, second = pair
    with begin_enqueue(first):
        first.service.kill()
    left = incoming(first)
    assert len(left) == 1
    with begin_enqueue(second):
        first.service.restart()
        assert len(incoming(first)) == 1
        assert incoming(first) != left
    wait_until(lambda: not incoming(second), "the other one is told that it broke off")


def test_two_writers_at_two_apis(pair: Pair) -> None:
    first, second = pair
    whole = content(4 * BLOCK_BYTES)
    upload = begin(first, whole)
    with first.connect() as connection:
        connection.sendall(begin_piece(first, upload, 0, len(whole)) + whole[:BLOCK_BYTES])
        wait_until(lambda: at(second, upload).offset() == BLOCK_BYTES, "the first is at it")
        answer = at(second, upload).patch(BLOCK_BYTES, whole[BLOCK_BYTES:])
        assert (answer.status_code, answer.json()["Error"]) == (423, "busy")
        first.service.kill()
    assert at(second, upload).offset() == BLOCK_BYTES
    assert at(second, upload).patch(BLOCK_BYTES, whole[BLOCK_BYTES:]).status_code == 204
    assert stored(second, whole) == whole
    first.service.restart()
    assert upload.offset() == len(whole)


def test_unchecked_bytes_of_a_dead_api_are_cut_off(pair: Pair) -> None:
    first, second = pair
    whole = content(4 * BLOCK_BYTES)
    upload = begin(first, whole)
    head = begin_piece(first, upload, 0, len(whole))[:-2]
    more = "".join(f"{k}: {v}\r\n" for k, v in tus.checksum(whole, "sha1").items())
    with first.connect() as connection:
        connection.sendall(head + more.encode() + b"\r\n" + whole[:BLOCK_BYTES])
        wait_until(lambda: at(second, upload).offset() == BLOCK_BYTES, "the first is at it")
        first.service.kill()
    assert at(second, upload).offset() == 0
    first.service.restart()


# --------------------------------------------------------------------------- the locks themselves


HOLDER = """
import sys
from pathlib import Path
from renderonline.locks import ByteLocks
locks = ByteLocks(Path(sys.argv[1]))
print([locks.take(number) for number in (1, 2)], flush=True)
for line in sys.stdin:
    locks.free(int(line))
    print("freed", flush=True)
"""


def test_locks_between_programs(tmp_path: Path) -> None:
    """What one has, no other gets, until it is given back or its holder dies."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "x.lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        try:
            assert holder.stdout.readline() == "[True, True]\n"
            locks = ByteLocks(tmp_path / "x.lock")
            assert [locks.take(number) for number in (1, 2, 3)] == [False, False, True]
            holder.stdin.write("2\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "freed\n"
            assert [locks.take(number) for number in (1, 2)] == [False, True]
        finally:
            holder.kill()
        holder.wait(DEADLINE_S)
        assert locks.take(1)
        locks.close()
        locks.close()
