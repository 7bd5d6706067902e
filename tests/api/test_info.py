"""What a client sees of its tasks: the original's `info`, and our lists beside it."""

from __future__ import annotations

import re

import pytest
import requests

from .house import TEMPLATE, House

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?")


def test_info_has_the_originals_shape(house: House) -> None:
    task_id = house.task(content=b"12345")
    found = house.get("info")
    assert set(found) == {"User", "Tasks"}
    user_id = found["User"]["UserId"]
    assert found["User"] == {
        "UserId": user_id,
        "FirstName": "",
        "LastName": "",
        "Email": "artist@example.com",
        "SubscriptionId": 1,
        "IsActive": True,
    }
    newest = found["Tasks"][0]
    assert set(newest) == {"Task", "Render", "Engine"}
    task, render, engine = newest["Task"], newest["Render"], newest["Engine"]
    assert TIME.fullmatch(task["QueueTime"]), "local, without an offset"
    originals = {
        "TaskId": task_id,
        "UserId": user_id,
        "StartTime": None,
        "EndTime": None,
        "IsRunning": False,
        "IsSuccess": False,
        "RenderId": render["RenderId"],
        "MachineId": None,
    }
    assert originals.items() <= task.items()
    project = house.task_dir(task_id) / "scene.any"
    assert render == {
        "RenderId": task["RenderId"],
        "FileName": "scene.any",
        "FilePath": "",
        "FileSize": 5,
        "Arguments": f"any -i {project} -o {project.parent / 'output'} -s 1 -e 3 none",
        "EngineId": engine["EngineId"],
    }
    assert engine == {
        "EngineId": render["EngineId"],
        "Name": "any",
        "Extension": ".any",
        "DownloadPath": "",
        "RenderArgument": TEMPLATE,
    }


def test_info_adds_our_fields(house: House) -> None:
    house.task()
    task = house.get("info")["Tasks"][0]["Task"]
    ours = {
        "State": "queued",
        "Progress": 0.0,
        "FramesTotal": 3,
        "FramesDone": 0,
        "FramesFailed": 0,
        "EtaSeconds": None,
        "EtaUnknown": "Not known yet: nothing like it has been measured.",
        "Cause": None,
    }
    assert ours.items() <= task.items()


def test_info_lists_the_newest_fifteen_and_nobody_elses(house: House) -> None:
    mine = [house.task() for _ in range(17)]
    theirs = house.task(person=house.people["other"])
    listed = [entry["Task"]["TaskId"] for entry in house.get("info")["Tasks"]]
    assert listed == sorted(mine, reverse=True)[:15]
    others = [e["Task"]["TaskId"] for e in house.get("info", house.people["other"])["Tasks"]]
    assert others == [theirs]


@pytest.mark.parametrize(("machine_id", "told"), [(1, 1), (255, 255), (256, None), (70000, None)])
def test_machine_beyond_the_clients_byte_is_null(
    house: House, machine_id: int, told: int | None
) -> None:
    task_id = house.task()
    house.rows("UPDATE tasks SET machine_id = ? WHERE task_id = ?", machine_id, task_id)
    assert house.get("info")["Tasks"][0]["Task"]["MachineId"] == told


def test_engines_say_what_a_submission_needs(house: House) -> None:
    engines = {engine["Name"]: engine for engine in house.get("engines")["Engines"]}
    assert set(engines) == {"blender", "any"}
    assert engines["blender"]["Adapter"] == "blender"
    assert {a["ArgTypeId"] for a in engines["blender"]["Arguments"]} == {
        "start_frame",
        "end_frame",
        "output_format",
    }
    frames = {a["ArgTypeId"]: a["Type"] for a in engines["blender"]["Arguments"]}
    assert frames["start_frame"] == frames["end_frame"] == "integer", "Blender takes those below 0"
    assert engines["any"] == {
        "EngineId": 2,
        "Name": "any",
        "Extension": ".any",
        "Adapter": "generic",
        "Arguments": [
            {"ArgTypeId": "end_frame", "Type": "natural", "Regex": None, "Default": None},
            {"ArgTypeId": "note", "Type": "word", "Regex": "[^;]{0,40}", "Default": "none"},
            {"ArgTypeId": "start_frame", "Type": "natural", "Regex": None, "Default": None},
        ],
    }


def test_tasks_are_listed_by_pages(house: House) -> None:
    wanted = [house.task() for _ in range(5)]
    seen: list[int] = []
    route = "tasks?limit=2"
    while len(seen) < 5:
        page = house.get(route)
        assert len(page["Tasks"]) == 2
        seen += [entry["Task"]["TaskId"] for entry in page["Tasks"]]
        route = f"tasks?limit=2&after={page['Next']}"
    assert seen[:5] == wanted[::-1]


def test_tasks_are_listed_by_state(house: House) -> None:
    task_id = house.task()
    assert house.request("POST", "dequeue", json={"TaskId": task_id}).status_code == 200
    listed = {
        e["Task"]["TaskId"]: e["Task"]["State"] for e in house.get("tasks?state=cancelled")["Tasks"]
    }
    assert listed[task_id] == "cancelled"
    assert set(listed.values()) == {"cancelled"}
    assert house.request("GET", "tasks?state=busy").status_code == 400


def test_admin_sees_everybodys(house: House) -> None:
    task_id = house.task()
    assert (
        house.get("tasks?limit=1", house.people["admin"])["Tasks"][0]["Task"]["TaskId"] == task_id
    )
    assert house.get(f"tasks/{task_id}", house.people["admin"])["Task"]["TaskId"] == task_id


def test_one_task_in_detail(house: House) -> None:
    task_id = house.task()
    detail = house.get(f"tasks/{task_id}")
    assert set(detail) == {"Task", "Render", "Engine", "Chunks", "Warnings", "Variants", "Machines"}
    assert (detail["Task"]["TaskId"], detail["Chunks"]) == (task_id, [])
    assert "no machine yet" in detail["Warnings"][0], "why it waits"


@pytest.mark.parametrize("task_id", ["999999", "0", "9223372036854775807"])
def test_a_task_that_is_not_there_is_404(house: House, task_id: str) -> None:
    check_error(house.request("GET", f"tasks/{task_id}"), 404, "no_such_task")


def test_somebody_elses_task_is_404_too(house: House) -> None:
    task_id = house.task()
    answer = house.request("GET", f"tasks/{task_id}", house.people["other"])
    missing = house.request("GET", f"tasks/{task_id + 1000}", house.people["other"])
    check_error(answer, 404, "no_such_task")
    assert answer.text.replace(str(task_id), "#") == missing.text.replace(str(task_id + 1000), "#")


@pytest.mark.parametrize(
    "route",
    [
        *("tasks/-1", "tasks/x", "tasks/1.5", "tasks/9223372036854775808", f"tasks/{'9' * 5000}"),
        *("tasks/٣", "tasks/1%00", "tasks/1%0A", "tasks?limit=x", "tasks?after=-1"),
        f"tasks?after={'9' * 5000}",
    ],
)
def test_ids_that_are_none_are_400(house: House, route: str) -> None:
    check_error(house.request("GET", route), 400, "bad_request")


@pytest.mark.parametrize("route", ["engines", "tasks", "tasks/1"])
def test_ours_need_a_user_and_say_what_to_do(house: House, route: str) -> None:
    answer = house.request("GET", route, headers={"token": "wrong"})
    check_error(answer, 401, "unauthorized")
    assert "renderonline admin user token" in answer.json()["Hint"]


def check_error(answer: requests.Response, status: int, code: str) -> None:
    """The one shape of an error of ours."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    body = answer.json()
    assert set(body) == {"Error", "ErrorMessage", "Hint"}
    assert body["Error"] == code
    assert body["ErrorMessage"].endswith(".")
    assert "server made a mistake" not in body["ErrorMessage"]


@pytest.mark.parametrize(
    ("method", "route", "status"), [("GET", "nothing", 404), ("GET", "enqueue", 405)]
)
def test_no_such_route(house: House, method: str, route: str, status: int) -> None:
    answer = house.request(method, route)
    check_error(answer, status, {404: "not_found", 405: "method_not_allowed"}[status])
    assert f"/renderapi/v1/{route}" in answer.json()["ErrorMessage"]


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_health_needs_nobody(house: House, path: str) -> None:
    answer = requests.get(house.service.url + path, timeout=60)
    assert answer.status_code == 200
    assert set(answer.json()) == {"Name", "Version"}


# --------------------------------------------------------------------------- other origins


@pytest.mark.parametrize(
    ("method", "route", "status"),
    [
        ("GET", "info", 200),
        ("GET", "engines", 200),
        ("GET", "tasks/999999", 404),
        ("POST", "enqueue", 400),
        ("POST", "dequeue", 400),
        ("GET", "nothing", 404),
        ("DELETE", "info", 405),
    ],
)
def test_a_browser_from_anywhere_may_read_every_answer(
    house: House, method: str, route: str, status: int
) -> None:
    answer = house.request(method, route, headers={"Origin": "https://farm.example"})
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("route", ["info", "enqueue", "download"])
def test_without_a_user_too(house: House, route: str) -> None:
    method = "GET" if route == "info" else "POST"
    answer = house.request(method, route, headers={"Origin": "null", "token": "wrong"})
    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("route", ["info", "enqueue", "delete", "tasks/1", "anything"])
def test_preflight_allows_any_method_and_header(house: House, route: str) -> None:
    answer = requests.options(
        f"{house.service.url}/renderapi/v1/{route}",
        headers={
            "Origin": "https://farm.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, email, token",
        },
        timeout=60,
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type, email, token"


def test_log_stayed_quiet(house: House) -> None:
    house.assert_quiet()
