"""What nodes fetch and send back, over HTTP and TLS: whose it is, what is refused, what is kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from cli.certificates import make_certificate
from support.processes import DEADLINE_S
from support.waiting import wait_until

from .house import FRAMES, House, running_house
from .our_node import OurNode, our_node
from .workshop import add_machine

FRAME = b"a frame" * 1000
Start = dict[str, Any]


@pytest.fixture(params=["http", "https"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """The api over waitress, and over cheroot with a certificate; this test's own."""
    is_secure = request.param == "https"
    certificate = make_certificate(tmp_path / "tls", "127.0.0.1") if is_secure else None
    with running_house(tmp_path / "house", certificate) as house:
        yield house


@dataclass
class Attempt:
    """One that a machine of ours holds."""

    house: House
    node: OurNode
    task_id: int
    start: Start

    @property
    def number(self) -> int:
        return int(self.start["attemptid"])

    @property
    def output(self) -> Path:
        return self.house.task_dir(self.task_id) / "output"

    def put(
        self, path: str = "frame_1.png", content: bytes | Iterator[bytes] = FRAME, **headers: str
    ) -> requests.Response:
        whole = content if isinstance(content, bytes) else b""
        sent = {
            "X-Attempt-Key": self.start["reportkey"],
            "X-Sha256": hashlib.sha256(whole).hexdigest(),
            "email": "",
            "token": "",
            **headers,
        }
        route = f"node/attempts/{self.number}/outputs/{path}"
        return self.house.request("PUT", route, data=content, headers=sent)

    def get(self, sha256: str, **headers: str) -> requests.Response:
        sent = {"X-Attempt-Key": self.start["reportkey"], "email": "", "token": "", **headers}
        route = f"node/files/{sha256}?attempt={self.number}"
        return self.house.request("GET", route, headers=sent)

    def files(self) -> list[str]:
        """What lies in the task's output folder, and nothing half of it anywhere."""
        assert not list((self.house.data / "incoming").iterdir())
        found = [file for file in self.output.rglob("*") if file.is_file()]
        return sorted(file.relative_to(self.output).as_posix() for file in found)


@contextmanager
def attempt_on(house: House, content: bytes = b"a project") -> Iterator[Attempt]:
    with our_node("any") as node:
        add_machine(house, node.port)
        task_id = house.task(content=content)
        yield Attempt(house, node, task_id, node.wait_for_start(task_id))


@pytest.fixture
def attempt(either: House) -> Iterator[Attempt]:
    with attempt_on(either) as running:
        yield running


def accepted(answer: requests.Response) -> bool:
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["Accepted"])


def test_a_file_is_there_when_it_is_acknowledged_however_often(attempt: Attempt) -> None:
    assert accepted(attempt.put("passes/ü #1/depth%20.png".replace("%", "%25").replace("#", "%23")))
    for _ in range(3):
        assert accepted(attempt.put())
    assert attempt.files() == ["frame_1.png", "passes/ü #1/depth%20.png"]
    assert (attempt.output / "frame_1.png").read_bytes() == FRAME
    assert accepted(attempt.put(content=b"rendered again"))
    assert (attempt.output / "frame_1.png").read_bytes() == b"rendered again"
    assert accepted(attempt.put("empty.txt", b""))
    attempt.house.assert_quiet()


@pytest.mark.parametrize("key", ["", "wrong", "ü", "0" * 64])
def test_another_key_opens_nothing(attempt: Attempt, key: str) -> None:
    sha256 = attempt.start["manifest"]["Sha256"]
    for answer in (
        attempt.put(**{"X-Attempt-Key": key.encode().decode("latin-1")}),
        attempt.get(sha256, **{"X-Attempt-Key": key.encode().decode("latin-1")}),
    ):
        assert answer.status_code == 401, answer.text
        assert answer.json()["Error"] == "unauthorized"
    assert attempt.files() == []


def test_an_attempt_that_is_over_changes_nothing(attempt: Attempt) -> None:
    assert accepted(attempt.put())
    report = {"Type": "ended", "IsSuccess": False, "Cause": "interrupted", "Frames": "1"}
    assert attempt.node.report(attempt.house, attempt.start, 1, **report)
    assert not accepted(attempt.put(content=b"late"))
    assert not accepted(attempt.put("late.png"))
    assert attempt.files() == ["frame_1.png"]
    assert (attempt.output / "frame_1.png").read_bytes() == FRAME
    assert attempt.get(attempt.start["manifest"]["Sha256"]).status_code == 410


def test_an_attempt_that_nobody_knows(attempt: Attempt) -> None:
    attempt.start["attemptid"] = 999_999
    assert not accepted(attempt.put())
    assert attempt.get("0" * 64).status_code == 410


@pytest.mark.parametrize("sha256", ["0" * 64, "", "x" * 64, "A" * 64])
def test_a_file_that_is_not_what_it_should_be(attempt: Attempt, sha256: str) -> None:
    answer = attempt.put(**{"X-Sha256": sha256})
    assert answer.status_code == 400, answer.text
    assert (answer.json()["Error"] == "bad_hash") == (sha256 == "0" * 64)
    assert attempt.files() == []


def test_a_file_that_breaks_off(attempt: Attempt) -> None:
    house = attempt.house
    head = (
        f"PUT /renderapi/v1/node/attempts/{attempt.number}/outputs/f.png HTTP/1.1\r\nHost: farm\r\n"
        f"X-Attempt-Key: {attempt.start['reportkey']}\r\nX-Sha256: {'0' * 64}\r\n"
        f"Content-Length: 1000000\r\n\r\n"
    )
    for _ in range(3):
        with house.connect() as connection:
            connection.sendall(head.encode() + b"x" * 300_000)
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
    wait_until(lambda: not list((house.data / "incoming").iterdir()), "nothing is left of it")
    assert attempt.files() == []
    assert accepted(attempt.put())
    house.assert_quiet()


@pytest.mark.parametrize(
    "path",
    [
        *("..%2Fscene.any", "%2e%2e/scene.any", "a/..%2F..%2Fscene.any", "%2Fetc%2Fpasswd"),
        *("C:%5Cwindows", "a%5Cb", "CON", "a/con.png", "a:b", "dot.", "a//b", "x%00y", "n" * 300),
        *("d" * 200 + "/" + "e" * 900, "frame%0A.png"),
        *(".rendering-a/1.png", "a/.rendering-1.png"),  # which nobody would see
    ],
)
def test_paths_that_lead_elsewhere(attempt: Attempt, path: str) -> None:
    def outside() -> list[str]:
        files = attempt.house.snapshot()["files"]
        return [file for file in files if f"/{attempt.output.parent.name}/output" not in file]

    before = outside()
    answer = attempt.put(path)
    # Over TLS a %2F is no separator, but three letters of a name: such a file harms nobody.
    as_a_name = "%2F" in path and attempt.house.certificate is not None
    assert answer.status_code in ((200,) if as_a_name else (400, 404)), answer.text
    assert outside() == before
    assert as_a_name or attempt.files() == []
    attempt.house.assert_quiet()


def test_a_name_that_is_a_folder_is_refused_for_good(attempt: Attempt) -> None:
    """Not as a full disk would be: the node would send it for ever, and nothing else."""
    assert accepted(attempt.put("passes/1.png"))
    for path in ("passes", "passes/1.png/below.png"):
        answer = attempt.put(path)
        assert (answer.status_code, answer.json()["Error"]) == (400, "bad_request"), answer.text
    assert attempt.files() == ["passes/1.png"]


@pytest.mark.parametrize("place", ["output", "output/passes"])
def test_a_link_in_the_folders_place(attempt: Attempt, tmp_path: Path, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = attempt.house.task_dir(attempt.task_id) / place
    link.parent.mkdir(exist_ok=True)
    with suppress(OSError):
        link.rmdir()
    link.symlink_to(elsewhere, target_is_directory=True)
    answer = attempt.put("passes/deep/1.png")
    assert answer.status_code == 400, answer.text
    assert list(elsewhere.iterdir()) == [], "not even a folder was made there"


def test_a_task_that_is_deleted_is_not_made_again(attempt: Attempt) -> None:
    folder = attempt.house.task_dir(attempt.task_id)
    assert attempt.house.request("POST", "delete", json={"TaskId": attempt.task_id}).ok
    answer = attempt.put()
    assert answer.status_code == 410 or not accepted(answer), answer.text
    wait_until(lambda: not folder.exists(), "the folder is gone")


def test_files_of_a_project_are_had_in_parts_and_by_its_attempt_alone(attempt: Attempt) -> None:
    manifest = attempt.get(attempt.start["manifest"]["Sha256"])
    assert manifest.status_code == 200
    (file,) = json.loads(manifest.content)["Files"]
    assert attempt.get(file["Sha256"]).content == b"a project"
    part = attempt.get(file["Sha256"], Range="bytes=5-")
    assert (part.status_code, part.content) == (206, b"ject")
    attempt.house.task(content=b"another's secret", arguments=FRAMES)
    other = hashlib.sha256(b"another's secret").hexdigest()
    for sha256 in (other, "0" * 64, "not-a-hash", "..%2F..%2Ffarm.sqlite3"):
        answer = attempt.get(sha256)
        assert answer.status_code == 404, answer.text
    answer = attempt.get(other)
    assert answer.json()["Error"] == "no_such_file"


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_full_disk_is_told_and_the_file_comes_later(tmp_path: Path, secure: bool) -> None:
    certificate = make_certificate(tmp_path / "tls", "127.0.0.1") if secure else None
    with small_disk(tmp_path / "disk", "3m") as disk:
        options = {"data": disk / "data", "DiskFloorBytes": 0}
        with running_house(tmp_path / "house", certificate, **options) as house:
            with attempt_on(house) as attempt:
                frame = os.urandom(2_000_000)
                (disk / "filler").write_bytes(bytes(1_500_000))
                answer = attempt.put(content=frame)
                assert (answer.status_code, answer.json()["Error"]) == (507, "disk_full")
                assert attempt.files() == []
                (disk / "filler").unlink()
                assert accepted(attempt.put(content=frame))
                assert attempt.files() == ["frame_1.png"]
            house.assert_quiet()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, timeout=DEADLINE_S)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=DEADLINE_S)


def leave_free(disk: Path, free_bytes: int) -> None:
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - free_bytes))


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_results_do_not_take_the_databases_room(tmp_path: Path, secure: bool) -> None:
    """They still come in where no project is taken any more, but not to the last byte."""
    certificate = make_certificate(tmp_path / "tls", "127.0.0.1") if secure else None
    with small_disk(tmp_path / "disk", "160m") as disk:
        options = {"data": disk / "data", "DiskFloorBytes": 40_000_000}
        with (
            running_house(tmp_path / "house", certificate, **options) as house,
            attempt_on(house) as attempt,
        ):
            leave_free(disk, 30_000_000)
            assert house.enqueue().status_code == 507
            assert accepted(attempt.put("1.png", bytes(5_000_000)))
            leave_free(disk, 22_000_000)
            answer = attempt.put("2.png", bytes(5_000_000))
            assert (answer.status_code, answer.json()["Error"]) == (507, "disk_full"), answer.text
            assert "The node keeps the file" in answer.json()["ErrorMessage"]
            leave_free(disk, 80_000_000)
            answer = attempt.put("2.png", iter([bytes(1_000_000)] * 90))  # its length is not said
            assert answer.status_code == 507, "nor in the midst of one"
            assert attempt.files() == ["1.png"]
            leave_free(disk, 30_000_000)
            assert accepted(attempt.put("2.png", bytes(5_000_000)))
            assert attempt.files() == ["1.png", "2.png"]
            house.assert_quiet()


def test_nothing_is_begun_that_has_no_room(tmp_path: Path) -> None:
    """On the api's own machine it would be rendered straight onto that disk."""
    with small_disk(tmp_path / "disk", "100m") as disk:
        options = {"data": disk / "data", "DiskFloorBytes": 40_000_000}
        with running_house(tmp_path / "house", None, **options) as house, our_node("any") as node:
            task_id = house.task()
            leave_free(disk, 15_000_000)
            add_machine(house, node.port)
            wait_until(lambda: node.status_requests > 3, "the machine is known to be idle")
            (told,) = house.get(f"tasks/{task_id}")["Warnings"]
            assert told.startswith("The server's disk is full: nothing is begun")
            assert not node.starts
            leave_free(disk, 30_000_000)
            assert node.wait_for_start(task_id)
            house.assert_quiet()


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_the_limit_of_uploads_is_not_one_of_results(tmp_path: Path, secure: bool) -> None:
    certificate = make_certificate(tmp_path / "tls", "127.0.0.1") if secure else None
    with running_house(tmp_path / "house", certificate, UploadLimitBytes=10_000) as house:
        with attempt_on(house) as attempt:
            assert accepted(attempt.put(content=bytes(3_000_000)))
            assert attempt.files() == ["frame_1.png"]
        answer = house.request("POST", "files/missing", data=b"{}" + b" " * 3_000_000)
        assert answer.status_code == 200, "nor one of what lists a project's files"
        house.assert_quiet()
