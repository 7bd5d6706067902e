"""Results one by one: the list, the files, whose frames they are, and who may have them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from renderonline.paths import UNFINISHED

from .house import House


def put(house: House, task_id: int, *names: str, content: bytes = b"a frame") -> Path:
    """Files among a task's results; the folder of the results."""
    folder = house.task_dir(task_id) / "output"
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def paths(house: House, task_id: int, query: str = "") -> list[str]:
    return [told["Path"] for told in house.get(f"tasks/{task_id}/files{query}")["Files"]]


def status(house: House, route: str) -> int:
    return house.request("GET", route).status_code


# --------------------------------------------------------------------------- the list


def test_what_has_been_rendered_by_path(house: House) -> None:
    task_id = house.task()
    assert house.get(f"tasks/{task_id}/files") == {"Files": [], "Next": None}
    folder = put(house, task_id, "frame_0002.png", "beauty/frame_0001 ü.exr", "frame_0001.png")
    os.utime(folder / "frame_0001.png", ns=(0, 1_700_000_000_123_456_789))
    told = house.get(f"tasks/{task_id}/files")
    assert [file["Path"] for file in told["Files"]] == [
        "beauty/frame_0001 ü.exr", "frame_0001.png", "frame_0002.png",
    ]  # fmt: skip
    assert told["Files"][1] == {
        "Path": "frame_0001.png",
        "Size": 7,
        "Modified": "2023-11-14T22:13:20.123456Z",
    }
    assert told["Next"] is None


def test_pages_of_it(house: House) -> None:
    task_id = house.task()
    names = [f"f_{number:04}.png" for number in range(25)]
    put(house, task_id, *names)
    seen, after = [], ""
    while True:
        page = house.get(f"tasks/{task_id}/files?limit=10&after={quote(after)}")
        seen += [file["Path"] for file in page["Files"]]
        assert len(page["Files"]) <= 10
        if page["Next"] is None:
            break
        after = page["Next"]
    assert seen == names
    assert paths(house, task_id, "?after=f_0023.pngx") == ["f_0024.png"]
    assert status(house, f"tasks/{task_id}/files?limit=x") == 400


def test_what_is_being_written_is_no_result_yet(house: House) -> None:
    task_id = house.task()
    put(house, task_id, f"{UNFINISHED}7/frame_0001.png", f"a/{UNFINISHED}8/x.png", "a/y.png")
    assert paths(house, task_id) == ["a/y.png"]
    put(house, task_id, f"{UNFINISHED}file.png")
    assert paths(house, task_id) == ["a/y.png"]
    for name in (f"{UNFINISHED}7/frame_0001.png", f"{UNFINISHED}file.png"):
        assert status(house, f"tasks/{task_id}/files/{name}") == 404


def test_a_task_of_the_originals_has_its_results_beside_its_project(house: House) -> None:
    task_id = house.task(name="scene.any")
    (house.task_dir(task_id) / "0001.png").write_bytes(b"1")
    assert paths(house, task_id) == ["0001.png"]
    assert status(house, f"tasks/{task_id}/files/0001.png") == 200
    assert status(house, f"tasks/{task_id}/files/scene.any") == 404


@pytest.mark.parametrize("mtime_s", [-(2**40), -1, 0, 2**33, 2**38])
def test_a_time_that_no_calendar_has(house: House, mtime_s: int) -> None:
    task_id = house.task()
    folder = put(house, task_id, "a.png")
    try:
        os.utime(folder / "a.png", (mtime_s, mtime_s))
    except (OSError, OverflowError):
        return  # nor this disk
    assert paths(house, task_id) == ["a.png"]
    assert status(house, f"tasks/{task_id}/results.zip?only=all") == 200


# --------------------------------------------------------------------------- one file


def test_one_file(house: House) -> None:
    task_id = house.task()
    put(house, task_id, "beauty/frame_0001 ü%#?.exr", content=b"its bytes")
    answer = house.request("GET", f"tasks/{task_id}/files/" + quote("beauty/frame_0001 ü%#?.exr"))
    assert (answer.status_code, answer.content) == (200, b"its bytes")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    name = quote("frame_0001 ü%#?.exr", safe="")
    assert answer.headers["Content-Disposition"].endswith(f"filename*=UTF-8''{name}")


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "script.js", "noextension", "a.xml"])
def test_nothing_that_was_rendered_is_a_page_of_ours(house: House, name: str) -> None:
    task_id = house.task()
    put(house, task_id, name, content=b"<script>alert(1)</script>")
    answer = house.request("GET", f"tasks/{task_id}/files/{name}")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        "../scene.any",
        "..%2Fscene.any",
        "%2e%2e/scene.any",
        "a/../a.png",
        "./a.png",
        "a//b.png",
        "/a.png",
        "%2Fa.png",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "a.png/",
        "a.png%00",
        "a",
        "",
        "..\\scene.any",
        "%FF%FE",
        "x" * 5000,
        "C:%5Cscene.any",
    ],
)
def test_a_path_that_is_no_results(house: House, path: str) -> None:
    task_id = house.task()
    put(house, task_id, "a.png", "a/b.png")
    # Sent as it is: an HTTP library would tidy it.
    lines = house.head("", {}).decode().split("\r\n")
    lines[0] = f"GET /renderapi/v1/tasks/{task_id}/files/{path} HTTP/1.1"
    with house.connect() as connection:
        connection.sendall("\r\n".join([lines[0], "Connection: close", *lines[1:]]).encode())
        answer = connection.makefile("rb").read()
    assert answer.split()[1] == b"404", answer[:200]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["Error"] in ("no_such_file", "not_found")


def test_no_link_is_followed(house: House) -> None:
    task_id = house.task()
    folder = put(house, task_id, "real.png")
    secret = house.folder / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "key.pem").write_bytes(b"secret")
    (folder / "key.pem").symlink_to(secret / "key.pem")
    (folder / "folder").symlink_to(secret)
    (folder / "real.lnk").symlink_to("real.png")
    assert paths(house, task_id) == ["real.png"]
    for name in ("key.pem", "folder/key.pem", "real.lnk"):
        assert status(house, f"tasks/{task_id}/files/{name}") == 404
    project = house.task_dir(task_id)
    for folder_ in (folder, project):
        folder_.rename(folder_.with_name("moved"))
        folder_.symlink_to(secret)
        assert paths(house, task_id) == []
        for route in ("files/key.pem", "frames/1/file/key.pem"):
            assert status(house, f"tasks/{task_id}/{route}") == 404
        folder_.unlink()
        folder_.with_name("moved").rename(folder_)


def test_a_name_that_is_no_utf8_can_be_had(house: House) -> None:
    task_id = house.task()
    folder = put(house, task_id, "a.png")
    Path(os.fsdecode(os.fsencode(folder) + b"/inv\377.txt")).write_bytes(b"z")
    assert paths(house, task_id) == ["a.png", "inv\ufffd.txt"]
    answer = house.request("GET", f"tasks/{task_id}/files/" + quote("inv\ufffd.txt"))
    assert (answer.status_code, answer.content) == (200, b"z")
    assert house.request("GET", f"tasks/{task_id}/files/" + quote("b\ufffd.txt")).status_code == 404


@pytest.mark.parametrize(
    "route", ["files", "files/a.png", "frames/1/file/frame_0001.png", "results.zip"]
)
def test_only_its_owner_and_an_admin_may_have_it(house: House, route: str) -> None:
    task_id = house.task()
    put(house, task_id, "a.png", "frame_0001.png")
    path = f"tasks/{task_id}/{route}"
    assert house.request("GET", path, house.people["other"]).status_code == 404
    assert house.request("GET", path, house.people["admin"]).status_code == 200
    assert house.request("GET", path, headers={"token": "wrong"}).status_code == 401


# --------------------------------------------------------------------------- frames


def test_the_files_of_each_frame(house: House) -> None:
    """By its number in the name, as the renderers' reader has it."""
    task_id = house.task(arguments={"start_frame": "1", "end_frame": "12"})
    names = ["beauty/shot_v2_0003.exr", "notes.txt", "0003.png", "0010.jp2", "0099.png"]
    put(house, task_id, *names)
    frames = house.get(f"tasks/{task_id}/frames")["Frames"]
    found = {frame["Frame"]: frame["Files"] for frame in frames if frame["Files"]}
    assert found == {3: ["0003.png", "beauty/shot_v2_0003.exr"], 10: ["0010.jp2"]}
    page = house.get(f"tasks/{task_id}/frames?from=4&limit=2")["Frames"]
    assert [(frame["Frame"], frame["Files"]) for frame in page] == [(4, []), (5, [])]


def test_one_file_of_a_frame(house: House) -> None:
    task_id = house.task(arguments={"start_frame": "1", "end_frame": "12"})
    put(house, task_id, "beauty/0003.exr", "0003.png", content=b"third")
    for name in ("0003.png", "beauty/0003.exr"):
        answer = house.request("GET", f"tasks/{task_id}/frames/3/file/{name}")
        assert (answer.status_code, answer.content) == (200, b"third")
        assert status(house, f"tasks/{task_id}/frames/4/file/{name}") == 404
    assert status(house, f"tasks/{task_id}/frames/3/file/0004.png") == 404
    assert status(house, f"tasks/{task_id}/frames/x/file/0003.png") == 400
    assert status(house, f"tasks/{task_id}/frames/-3/file/0003.png") == 404


def test_log_stayed_quiet(house: House) -> None:
    house.assert_quiet()
