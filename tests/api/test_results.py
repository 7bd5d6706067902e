"""Taking out of the queue, collecting and deleting, in the original's words and statuses."""

from __future__ import annotations

import io
import re
import uuid
import zipfile
from typing import Any

import pytest
import requests

from .house import House

SHAPES = {
    "dequeue": ("IsRemoved", "Task successfully dequeued."),
    "delete": ("IsDeleted", "Task and associated render successfully deleted."),
}


def act(house: House, route: str, task_id: object, **options: Any) -> requests.Response:
    return house.request("POST", route, json={"TaskId": task_id}, **options)


def names(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_dequeue(house: House) -> None:
    task_id = house.task()
    answer = act(house, "dequeue", task_id)
    assert (answer.status_code, answer.json()) == (
        200,
        {"IsRemoved": True, "ErrorMessage": "Task successfully dequeued."},
    )
    task = house.get(f"tasks/{task_id}")["Task"]
    assert (task["State"], task["IsRunning"], task["IsSuccess"]) == ("cancelled", False, False)
    assert task["EndTime"] is not None
    assert house.rows("SELECT * FROM queue WHERE task_id = ?", task_id) == []
    assert house.task_dir(task_id).is_dir(), "what there is can still be collected"
    again = act(house, "dequeue", task_id)
    assert (again.status_code, again.json()["IsRemoved"]) == (400, False)
    assert "not in the queue" in again.json()["ErrorMessage"]


def test_delete(house: House) -> None:
    kept = house.task()
    task_id = house.task()
    folder = house.task_dir(task_id)
    (folder / "output" / "deep").mkdir(parents=True)
    (folder / "output" / "deep" / "frame_0001.png").write_bytes(b"x")
    ((render_id,),) = house.rows("SELECT render_id FROM tasks WHERE task_id = ?", task_id)
    answer = act(house, "delete", task_id)
    assert (answer.status_code, answer.json()["IsDeleted"]) == (200, True)
    assert not folder.exists()
    for table, key, value in (
        ("tasks", "task_id", task_id),
        ("queue", "task_id", task_id),
        ("chunks", "task_id", task_id),
        ("renders", "render_id", render_id),
    ):
        assert house.rows(f"SELECT * FROM {table} WHERE {key} = ?", value) == []
    assert act(house, "delete", task_id).status_code == 400
    assert house.task_dir(kept).is_dir()
    assert list((house.data / "pending").iterdir()) == [], "no deletion is left to be finished"


def test_a_folder_that_is_gone_already_is_no_hindrance(house: House) -> None:
    task_id = house.task()
    folder = house.task_dir(task_id)
    (folder / "scene.any").unlink()
    folder.rmdir()
    missing = act(house, "download", task_id)
    assert (missing.status_code, missing.json()["DownloadProvided"]) == (400, False)
    assert "not there any more" in missing.json()["ErrorMessage"]
    assert act(house, "delete", task_id).status_code == 200


@pytest.mark.parametrize("state", ["queued", "running", "failed", "succeeded", "cancelled"])
def test_download_gives_what_there_is(house: House, state: str) -> None:
    task_id = house.task(content=b"the project")
    output = house.task_dir(task_id) / "output"
    output.mkdir()
    (output / "frame_0002.png").write_bytes(b"second")
    (output / "frame_0001 ü.png").write_bytes(b"first" * 50_000)
    house.rows("UPDATE tasks SET state = ? WHERE task_id = ?", state, task_id)
    answer = act(house, "download", task_id)
    assert names(answer) == ["output/frame_0001 ü.png", "output/frame_0002.png", "scene.any"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.read("scene.any") == b"the project"
        assert archive.read("output/frame_0001 ü.png") == b"first" * 50_000
    assert answer.headers["Content-Type"] == "application/zip"
    disposition = re.fullmatch(
        r"attachment; filename=([0-9a-f-]{36})\.zip", answer.headers["Content-Disposition"]
    )
    assert disposition, "as the original's client reads it: plain, unquoted"
    uuid.UUID(disposition[1])
    if state in ("queued", "running"):
        assert "Content-Length" not in answer.headers, "it may still grow"
    else:
        assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_download_does_not_leave_the_folder(house: House) -> None:
    """A renderer runs what is in a scene: a link it left is not followed."""
    task_id = house.task()
    folder = house.task_dir(task_id)
    secret = house.folder / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "key.txt").write_text("secret")
    (folder / "link.txt").symlink_to(secret / "key.txt")
    (folder / "linked").symlink_to(secret, target_is_directory=True)
    assert names(act(house, "download", task_id)) == ["scene.any"]
    assert act(house, "delete", task_id).status_code == 200
    assert (secret / "key.txt").exists()


@pytest.mark.parametrize("route", ["dequeue", "download", "delete"])
def test_admin_may_act_on_everybodys(house: House, route: str) -> None:
    task_id = house.task()
    assert act(house, route, task_id, person=house.people["admin"]).status_code == 200


@pytest.mark.parametrize("name", ["taskId", "TASKID", "taskid"])
@pytest.mark.parametrize("as_text", [False, True])
def test_body_in_any_case_and_as_text(house: House, name: str, as_text: bool) -> None:
    task_id = house.task()
    body = {name: str(task_id) if as_text else task_id, "Whatever": [1]}
    assert house.request("POST", "dequeue", json=body).status_code == 200


def test_content_type_does_not_matter(house: House) -> None:
    task_id = house.task()
    body = f'{{"TaskId":{task_id}}}'
    answer = house.request("POST", "delete", data=body, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 200


def test_log_stayed_quiet(house: House) -> None:
    house.assert_quiet()
