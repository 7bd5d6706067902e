"""Projects of many files: what is there already is not sent again, and a task's folder is made of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import multipart

from .house import House
from .shelf import manifest, missing, request, sha256, submit


def send(house: House, content: bytes) -> None:
    """Get this content into the store: as the project of a task, which is deleted."""
    task_id = house.task(content=content)
    assert house.request("POST", "delete", json={"TaskId": task_id}).status_code == 200


@contextmanager
def unchanged(house: House) -> Iterator[None]:
    before = house.snapshot()
    yield
    assert house.snapshot() == before


def tree(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.fixture(params=["http", "https"])
def either(request: pytest.FixtureRequest) -> House:
    """The api over waitress, and over cheroot with a certificate."""
    name = {"http": "house", "https": "secure_house"}[request.param]
    house: House = request.getfixturevalue(name)
    return house


FILES = {"shot/scene.any": b"the scene", "textures/wood.png": b"wood", "textures/also.png": b"wood"}


def test_project_of_many_files(either: House) -> None:
    for content in FILES.values():
        send(either, content)
    assert missing(either, *FILES.values(), b"never sent") == [sha256(b"never sent")]
    answer = submit(either, manifest(FILES))
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"TaskId"}
    task_id = answer.json()["TaskId"]
    ((folder, file_path, name),) = either.rows(
        "SELECT folder, file_path, file_name FROM renders JOIN tasks USING (render_id) WHERE task_id = ?",
        task_id,
    )
    assert tree(Path(folder)) == FILES
    assert Path(file_path) == Path(folder, "shot", "scene.any")
    assert name == "scene.any"
    arguments = either.get(f"tasks/{task_id}")["Render"]["Arguments"]
    assert f"-i {file_path} -o {Path(folder, 'output')} " in arguments
    assert either.request("POST", "delete", json={"TaskId": task_id}).status_code == 200
    assert not Path(folder).exists()
    assert missing(either, *FILES.values()) == []


def test_manifest_by_the_originals_route(either: House) -> None:
    for content in FILES.values():
        send(either, content)
    sent = multipart.body([multipart.request_part(request(manifest(FILES)))])
    answer = either.post_body(sent)
    assert answer.status_code == 200, answer.text
    assert answer.json()["IsAdded"] is True


def test_every_task_has_a_manifest(house: House) -> None:
    task_id = house.task(content=b"one file")
    ((found,),) = house.rows(
        "SELECT manifest FROM renders JOIN tasks USING (render_id) WHERE task_id = ?", task_id
    )
    kept = house.data / "contents" / found[:2] / found
    assert sha256(kept.read_bytes()) == found
    assert json.loads(kept.read_bytes()) == manifest({"scene.any": b"one file"}) | {
        "Files": [
            {
                "Path": "scene.any",
                "Sha256": sha256(b"one file"),
                "Size": 8,
                "Mtime": None,
                "Executable": False,
            }
        ]
    }


def test_same_project_is_kept_once(house: House) -> None:
    first = house.task_dir(house.task(content=b"the same")) / "scene.any"
    second = house.task_dir(house.task(content=b"the same")) / "scene.any"
    kept = house.data / "contents" / sha256(b"the same")[:2] / sha256(b"the same")
    assert first.read_bytes() == second.read_bytes() == kept.read_bytes()
    if kept.stat().st_nlink > 1:  # where the disk makes no reflinks
        assert first.samefile(second)


def test_missing_file_is_named_and_nothing_is_kept(either: House) -> None:
    send(either, b"the scene")
    with unchanged(either):
        answer = submit(either, manifest({"scene.any": b"the scene", "a/b.png": b"not here"}))
        assert (answer.status_code, answer.json()["Error"]) == (409, "missing_files")
        assert "'a/b.png'" in answer.json()["ErrorMessage"]
        sent = multipart.body([multipart.request_part(request(manifest({"a.any": b"not here"})))])
        answer = either.post_body(sent)
        assert (answer.status_code, answer.json()["IsAdded"]) == (409, False)


def test_content_that_was_changed_in_its_place_is_missing(house: House) -> None:
    """As a renderer does that writes into its own project."""
    project = house.task_dir(house.task(content=b"to be changed")) / "scene.any"
    kept = house.data / "contents" / sha256(b"to be changed")[:2] / sha256(b"to be changed")
    for file in {kept.resolve(), project.resolve()}:
        file.chmod(0o600)
        file.write_bytes(b"it was change")
    answer = submit(house, manifest({"scene.any": b"to be changed"}))
    assert answer.status_code == 409
    assert missing(house, b"to be changed") == [sha256(b"to be changed")]
    assert not kept.exists()
    house.task(content=b"to be changed")
    assert missing(house, b"to be changed") == []
    assert kept.read_bytes() == b"to be changed"
    assert project.read_bytes() == b"it was change"


def test_executable_file(house: House) -> None:
    send(house, b"#!/bin/sh\n")
    send(house, b"scene")
    project = manifest({"a.any": b"scene", "run.sh": b"#!/bin/sh\n", "plain.sh": b"#!/bin/sh\n"})
    project["Files"][1]["Executable"] = True
    task_id = submit(house, project).json()["TaskId"]
    folder = house.task_dir(task_id)
    assert os.access(folder / "run.sh", os.X_OK)
    assert (folder / "plain.sh").stat().st_mode & 0o111 == 0


BAD: dict[str, Any] = {
    "no manifest": None,
    "no files": {"Main": "a.any", "Files": []},
    "output": manifest({"a.any": b"scene", "output/x.png": b"scene"}),
    "Output itself": manifest({"a.any": b"scene", "OUTPUT": b"scene"}),
    "main elsewhere": manifest({"a.any": b"scene"}, main="b.any"),
    "main of another engine": manifest({"a.nothing": b"scene"}),
    "empty main": manifest({"a.any": b""}),
    "leaves the folder": manifest({"a.any": b"scene", "../b.png": b"scene"}),
    "absolute": manifest({"a.any": b"scene", "/b.png": b"scene"}),
    "two in one place": manifest({"a.any": b"scene", "A.ANY": b"scene"}),
    "reserved": manifest({"a.any": b"scene", "CON": b"scene"}),
    "a stream": manifest({"a.any": b"scene", "a:b": b"scene"}),
    "ends in a dot": manifest({"a.any": b"scene", "b./c": b"scene"}),
    "size": {
        "Main": "a.any",
        "Files": [{"Path": "a.any", "Sha256": sha256(b"scene"), "Size": 6}],
    },
}


@pytest.mark.parametrize("case", BAD)
def test_manifest_that_cannot_be(house: House, case: str) -> None:
    if missing(house, b"scene"):
        send(house, b"scene")
    with unchanged(house):
        answer = submit(house, BAD[case])
        assert (answer.status_code, answer.json()["Error"]) == (400, "bad_request"), answer.text
        assert answer.json()["ErrorMessage"].endswith((".", "?"))
        sent = multipart.body([multipart.request_part(request(BAD[case]))])
        answer = house.post_body(sent)
        assert (answer.status_code, answer.json()["IsAdded"]) == (400, False), answer.text


def test_file_and_manifest_at_once(house: House) -> None:
    parts = [
        multipart.request_part(request(manifest({"a.any": b"a project"}))),
        multipart.file_part("a.any", b"a project"),
    ]
    with unchanged(house):
        assert house.post_body(multipart.body(parts)).status_code == 400


def test_log_stayed_quiet(house: House, secure_house: House) -> None:
    house.assert_quiet()
    secure_house.assert_quiet()
