"""Projects sent by mistake or on purpose: refused in a sentence, and nothing of them kept.

Each case is held to the same: the status, our JSON with a sentence in it, the same rows and files as
before; over both HTTP servers.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from support.waiting import wait_until

from renderonline.manifests import MAX_FILES

from . import tus
from .house import House, running_house
from .shelf import manifest, missing, request, sha256, submit
from .test_broken_uploads import cut, fill_up, small_disk

__all__ = ["small_disk"]  # a fixture

LARGE_BODY_BYTES = 64 << 20


@pytest.fixture(params=["http", "https"])
def either(request: pytest.FixtureRequest) -> House:
    """The api over waitress, and over cheroot with a certificate; it has what good projects need."""
    name = {"http": "house", "https": "secure_house"}[request.param]
    house: House = request.getfixturevalue(name)
    if missing(house, b"scene"):
        tus.send(house, b"scene")
    return house


@contextmanager
def unchanged(house: House) -> Iterator[None]:
    before = house.snapshot()
    yield
    assert house.snapshot() == before


def check(answer: requests.Response, status: int, code: str) -> str:
    """Our JSON, with a sentence; that sentence."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["Content-Type"].startswith("application/json")
    body = answer.json()
    assert body["Error"] == code
    message = str(body["ErrorMessage"])
    assert message.endswith((".", "?")), message
    assert len(message) < 600
    assert message.isprintable()
    return message


# --------------------------------------------------------------------------- names


def beside(path: str) -> dict[str, Any]:
    """A good project, and one more file of that name."""
    return manifest({"scene.any": b"scene", path: b"scene"})


def twice(*paths: str) -> dict[str, Any]:
    """A project with files at these places, though two are one."""
    listed = [{"Path": path, "Sha256": sha256(b"scene"), "Size": 5} for path in paths]
    return {"Main": paths[0], "Files": listed}


NAMES = {
    "leaves the folder": beside("../b.png"),
    "leaves it deeper": beside("a/../../b.png"),
    "leaves it and comes back": beside("a/../b.png"),
    "here": beside("./b.png"),
    "only dots": beside("..."),
    "absolute": beside("/etc/passwd"),
    "absolute on Windows": beside("C:/b.png"),
    "a drive": beside("C:b.png"),
    "a share": beside("//nas/b.png"),
    "backslashes": beside("a\\b.png"),
    "an empty part": beside("a//b.png"),
    "a folder": beside("a/"),
    "nothing": beside(""),
    "CON": beside("CON"),
    "con with an extension": beside("textures/con.png"),
    "COM¹": beside("COM¹.txt"),
    "a stream": beside("a:b"),
    "ends in a dot": beside("b."),
    "a folder that ends in a blank": beside("b /c.png"),
    "a question mark": beside("b?.png"),
    "a new line": beside("a\nb.png"),
    "a zero byte": beside("a\0b.png"),
    "half a character": beside("a\ud800.png"),
    "turns the text": beside("a\u202egnp.png"),
    "too long a name": beside("x" * 241),
    "too long a path": beside("/".join(["x" * 100] * 11)),
    "the same twice": twice("scene.any", "scene.any"),
    "the same in another case": twice("scene.any", "Scene.ANY"),
    "the same in another form": twice("\u00e9.any", "e\u0301.any"),
    "folders in another case": twice("A/scene.any", "a/Scene.any"),
    "a file and a folder": twice("scene.any", "scene.any/wood.png"),
    "among the results": beside("output/b.png"),
    "the results themselves": beside("Output"),
}


@pytest.mark.parametrize("case", NAMES)
def test_names(either: House, case: str) -> None:
    with unchanged(either):
        check(submit(either, NAMES[case]), 400, "bad_request")


@pytest.mark.parametrize("path", ["a b.png", "ünï/日本.png", "-x.png", "a%20b.png", "CONSOLE.png"])
def test_names_that_are_only_unusual(either: House, path: str) -> None:
    answer = submit(either, beside(path))
    assert answer.status_code == 200, answer.text
    ((file_path,),) = either.rows(
        "SELECT file_path FROM renders JOIN tasks USING (render_id) WHERE task_id = ?",
        answer.json()["TaskId"],
    )
    assert Path(file_path).parent.joinpath(path).read_bytes() == b"scene"


# --------------------------------------------------------------------------- what it says of itself


def saying(**changed: Any) -> dict[str, Any]:
    """A project whose one file says this of itself."""
    listed = {"Path": "scene.any", "Sha256": sha256(b"scene"), "Size": 5, **changed}
    return {"Main": "scene.any", "Files": [listed]}


CONTENTS: dict[str, Any] = {
    "no manifest": None,
    "a list": [],
    "a word": "scene.any",
    "nothing": {},
    "no files": {"Main": "scene.any", "Files": []},
    "no main": {"Files": saying()["Files"]},
    "main that is not there": {**saying(), "Main": "other.any"},
    "main a folder": {**saying(Path="a/scene.any"), "Main": "a"},
    "main null": {**saying(), "Main": None},
    "main of no engine": {**saying(Path="scene.nothing"), "Main": "scene.nothing"},
    "files of nothing": {"Main": "scene.any", "Files": [None]},
    "files a word": {"Main": "scene.any", "Files": "scene.any"},
    "no hash": saying(Sha256=None),
    "hash too short": saying(Sha256="abc"),
    "hash in capitals": saying(Sha256=sha256(b"scene").upper()),
    "hash of something else": saying(Sha256="x" * 64),
    "hash with a path in it": saying(Sha256="../" + "a" * 61),
    "no size": saying(Size=None),
    "another size": saying(Size=6),
    "size negative": saying(Size=-1),
    "size beyond numbers": saying(Size=2**70),
    "size infinite": saying(Size="Infinity"),
    "empty": {
        "Main": "scene.any",
        "Files": [{"Path": "scene.any", "Sha256": sha256(b""), "Size": 0}],
    },
}


@pytest.mark.parametrize("case", CONTENTS)
def test_what_it_says_of_itself(either: House, case: str) -> None:
    with unchanged(either):
        check(submit(either, CONTENTS[case]), 400, "bad_request")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"[" * 300_000, b'{"Manifest":\xff}']
)
def test_bodies_that_are_none(either: House, body: bytes) -> None:
    with unchanged(either):
        check(either.request("POST", "tasks", data=body), 400, "bad_request")


@pytest.mark.parametrize("stranger", [{"token": "wrong"}, {"email": "", "token": ""}])
def test_strangers(either: House, stranger: dict[str, str]) -> None:
    project = request(manifest({"scene.any": b"scene"}))
    with unchanged(either):
        for route, body in (("tasks", project), ("files/missing", {"Files": []})):
            answer = either.request("POST", route, json=body, headers=stranger)
            check(answer, 401, "unauthorized")
        answer = tus.create(either, {**tus.creation(b"x"), **stranger})
        check(answer, 401, "unauthorized")


def test_arguments_are_checked_like_any(either: House) -> None:
    project = manifest({"scene.any": b"scene"})
    with unchanged(either):
        check(submit(either, project, Arguments=[]), 400, "bad_request")
        check(submit(either, project, EngineId="77"), 400, "bad_request")
        check(submit(either, project, Frames="9-1"), 400, "bad_request")
        check(submit(either, project, After=[10**6]), 400, "bad_request")


def test_full_queue(house: House) -> None:
    house.rows(
        "INSERT INTO subscriptions (subscription_id, name, queue_limit) VALUES (77, 'None', 0)"
    )
    house.rows("UPDATE users SET subscription_id = 77 WHERE email = 'other@example.com'")
    with unchanged(house):
        answer = submit(house, manifest({"scene.any": b"scene"}), house.people["other"])
        check(answer, 403, "queue_full")
        # what is wrong with the project itself is said later, as of a file
        answer = submit(house, manifest({"scene.any": b"never sent"}), house.people["other"])
        check(answer, 403, "queue_full")
    house.rows("UPDATE users SET subscription_id = 1 WHERE email = 'other@example.com'")


# --------------------------------------------------------------------------- what is missing


def test_one_of_many_is_missing(either: House) -> None:
    with unchanged(either):
        files = {f"{n}.png": b"scene" for n in range(50)}
        answer = submit(either, manifest({"scene.any": b"scene", **files, "z.png": b"nowhere"}))
        assert "'z.png'" in check(answer, 409, "missing_files")


def test_content_that_went_meanwhile(either: House) -> None:
    """Its row is there, and its file is not: it is dropped, and nothing else happens."""
    tus.send(either, b"to go")
    (either.data / "contents" / sha256(b"to go")[:2] / sha256(b"to go")).unlink()
    tasks = either.rows("SELECT COUNT(*) FROM tasks")
    answer = submit(either, manifest({"scene.any": b"scene", "wood.png": b"to go"}))
    assert "'wood.png'" in check(answer, 409, "missing_files")
    assert either.rows("SELECT COUNT(*) FROM tasks") == tasks
    assert missing(either, b"to go") == [sha256(b"to go")]
    assert list((either.data / "pending").iterdir()) == []


ASKED: dict[str, Any] = {
    "nothing": b"",
    "not JSON": b"x",
    "a list": [],
    "files a word": {"Files": "x"},
    "files of nothing": {"Files": [None]},
    "no hash": {"Files": [{"Size": 5}]},
    "not a hash": {"Files": [{"Sha256": "x", "Size": 5}]},
    "a hash in capitals": {"Files": [{"Sha256": sha256(b"scene").upper(), "Size": 5}]},
    "a path": {"Files": [{"Sha256": "../../farm.sqlite3", "Size": 5}]},
    "one too many": {"Files": [{"Sha256": sha256(b"x"), "Size": 1}] * (MAX_FILES + 1)},
}


@pytest.mark.parametrize("case", ASKED)
def test_asked_for_what_cannot_be(either: House, case: str) -> None:
    body = ASKED[case]
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    with unchanged(either):
        answer = either.request("POST", "files/missing", data=sent)
        if case == "nothing":
            assert (answer.status_code, answer.json()) == (200, {"Missing": []})
        else:
            check(answer, 400, "bad_request")


@pytest.mark.parametrize("route", ["tasks", "files/missing"])
def test_body_too_large(either: House, route: str) -> None:
    body = b'{"Unknown":"' + b"x" * LARGE_BODY_BYTES + b'"}'
    with unchanged(either):
        check(either.request("POST", route, data=body), 413, "too_large")


@pytest.mark.parametrize("route", ["tasks/1/pause", "tasks/1/requeue"])
def test_other_bodies_stay_small(either: House, route: str) -> None:
    body = b'{"Unknown":"' + b"x" * (1 << 20) + b'"}'
    check(either.request("POST", route, data=body), 413, "too_large")


def test_body_that_breaks_off(either: House) -> None:
    with unchanged(either):
        connection = either.connect()
        head = either.head("tasks", {"Content-Length": "5000"})
        connection.sendall(head + b'{"Manifest": {"Main": "scene.any", "Files": [')
        cut(connection)
        either.get("info")


# --------------------------------------------------------------------------- faults


def many(count: int) -> dict[str, Any]:
    """A project of so many files, all equal."""
    return manifest(
        {"scene.any": b"scene", **{f"{n % 100}/{n}.png": b"scene" for n in range(count)}}
    )


def folders(house: House) -> list[Path]:
    """Of the tasks that there are, or that are being made."""
    return list((house.data / "projects").glob("*/*"))


def test_api_killed_while_it_makes_a_tasks_folder(tmp_path: Path) -> None:
    with running_house(tmp_path / "house") as house:
        tus.send(house, b"scene")
        submit(house, manifest({"scene.any": b"scene"}))
        before, present = house.snapshot(), folders(house)
        statuses: list[int] = []

        def send() -> None:
            try:
                statuses.append(submit(house, many(40_000)).status_code)
            except requests.RequestException:
                statuses.append(0)

        sender = threading.Thread(target=send)
        sender.start()

        def begun() -> bool:
            return any(sum(1 for _ in folder.rglob("*.png")) > 100 for folder in folders(house))

        wait_until(begun, "the folder is being filled", every_s=0.001)
        house.service.kill()
        sender.join()
        assert statuses == [0]
        assert folders(house) != present, "half a folder is left"
        house.service.restart()
        assert house.snapshot() == before
        task_id = submit(house, many(100)).json()["TaskId"]
        assert len(list(house.task_dir(task_id).rglob("*.png"))) == 100
        house.assert_quiet()


def test_disk_that_fills_up_at_any_step_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    """With one more free page each time, the failure moves from the manifest to the commit."""
    statuses = []
    settings = {"data": small_disk / "data", "DiskFloorBytes": 0}
    with running_house(tmp_path / "house", **settings) as house:
        tus.send(house, b"scene")
        submit(house, manifest({"scene.any": b"scene"}))
        filler = small_disk / "filler"
        for free_pages in range(20):
            before = house.snapshot()
            fill_up(filler, small_disk, free_pages)
            answer = submit(house, many(100))
            filler.unlink()
            statuses.append(answer.status_code)
            if answer.status_code == 200:
                break
            check(answer, 507, "disk_full")
            assert house.snapshot() == before, free_pages
        house.assert_quiet()
    assert statuses[0] == 507
    assert statuses[-1] == 200, "with some room it is taken"
    assert len(statuses) > 2, statuses


@pytest.mark.slow
def test_project_of_100_000_files(tmp_path: Path) -> None:
    """All of them different. It says how long each step took."""
    with running_house(tmp_path / "house") as house:
        files = {f"{n // 1000:03}/{n:06}.png": b"%d" % n for n in range(100_000)}
        files = {"scene.any": b"scene", **files}
        put_into_the_store(house, files)
        project = manifest(files)
        asked = [{"Sha256": file["Sha256"], "Size": file["Size"]} for file in project["Files"]]
        took = {}
        with timed(took, "files/missing"):
            answer = house.request("POST", "files/missing", json={"Files": asked})
        assert answer.json() == {"Missing": []}
        with timed(took, "tasks"):
            answer = submit(house, project)
        assert answer.status_code == 200, answer.text
        task_id = answer.json()["TaskId"]
        folder = house.task_dir(task_id)
        assert sum(1 for file in folder.rglob("*.png")) == 100_000
        assert (folder / "042" / "042042.png").read_bytes() == b"42042"
        with timed(took, "tasks, again"):
            assert submit(house, project).status_code == 200
        with timed(took, "delete"):
            assert house.request("POST", "delete", json={"TaskId": task_id}).status_code == 200
        with timed(took, "storage"):
            house.get("storage", house.people["admin"])
        print({step: f"{seconds:.1f} s" for step, seconds in took.items()})
        house.assert_quiet()


@contextmanager
def timed(took: dict[str, float], step: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    took[step] = time.monotonic() - begun


def put_into_the_store(house: House, files: dict[str, bytes]) -> None:
    """As many uploads would, in a fraction of their time."""
    rows = []
    for content in files.values():
        file = house.data / "contents" / sha256(content)[:2] / sha256(content)
        file.write_bytes(content)
        status = file.stat()
        rows.append((file.name, status.st_size, status.st_mtime_ns, "2026-01-01 00:00:00.000000"))
    with closing(sqlite3.connect(house.database_file, timeout=30)) as connection:
        connection.executemany(
            "INSERT INTO contents (sha256, size_bytes, mtime_ns, stored_at) VALUES (?, ?, ?, ?)",
            rows,
        )
        connection.commit()


def test_log_stayed_quiet(house: House, secure_house: House) -> None:
    house.assert_quiet()
    secure_house.assert_quiet()
