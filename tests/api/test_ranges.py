"""Parts of a file: what a Range header means, and what is answered over both servers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import requests

from renderonline.api.http.ranges import Unsatisfiable, is_known, part

from .house import House

SIZE = 300_000
NOTHING = "unsatisfiable"


@pytest.mark.parametrize(
    ("wanted", "size", "expected"),
    [
        (None, 10, None),
        ("", 10, None),
        ("bytes=0-", 10, (0, 10)),
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=3-5", 10, (3, 6)),
        ("bytes=3-99", 10, (3, 10)),
        ("bytes=9-", 10, (9, 10)),
        ("bytes=10-", 10, NOTHING),
        ("bytes=99-100", 10, NOTHING),
        ("bytes=999999999999999999999999-", 10, NOTHING),
        ("bytes=-1", 10, (9, 10)),
        ("bytes=-10", 10, (0, 10)),
        ("bytes=-99", 10, (0, 10)),
        ("bytes=-0", 10, NOTHING),
        ("bytes=0-", 0, NOTHING),
        ("bytes=-5", 0, None),
        ("BYTES = 3-5 ", 10, (3, 6)),
        ("bytes=,3-5,", 10, (3, 6)),
        # no range: the whole
        ("bytes=5-3", 10, None),
        ("bytes=3", 10, None),
        ("bytes=", 10, None),
        ("bytes=-", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=+3-5", 10, None),
        ("bytes=3-5x", 10, None),
        ("bytes=٣-٥", 10, None),
        ("bytes=" + "9" * 5000 + "-", 10, None),
        ("items=3-5", 10, None),
        # several ranges: the whole
        ("bytes=0-1,3-5", 10, None),
        ("bytes=0-1, -3", 10, None),
    ],
)
def test_what_a_range_means(wanted: str | None, size: int, expected: Any) -> None:
    if expected == NOTHING:
        with pytest.raises(Unsatisfiable):
            part(wanted, size)
    else:
        assert part(wanted, size) == expected


@pytest.mark.parametrize(
    ("condition", "known"),
    [
        (None, False),
        ("", False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ('"b",W/"a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        ('"ab"', False),
    ],
)
def test_what_a_condition_knows(condition: str | None, known: bool) -> None:
    assert is_known(condition, '"a"') is known


# --------------------------------------------------------------------------- over HTTP


@pytest.fixture(params=["house", "secure_house"], ids=["http", "https"])
def served(request: pytest.FixtureRequest) -> House:
    """An api over each of the two servers."""
    found: House = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def route(served: House, content: bytes) -> str:
    """Where a file of a task can be had."""
    task_id = served.task()
    put(served.task_dir(task_id) / "output", "a.png", content)
    return f"tasks/{task_id}/files/a.png"


def put(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def get(house: House, route: str, method: str = "GET", **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return house.request(method, route, headers=named)


def test_the_whole(served: House, route: str, content: bytes) -> None:
    answer = get(served, route)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["ETag"].startswith('"')
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=100-", 100, SIZE), ("bytes=-7", SIZE - 7, SIZE)],
)
def test_a_part(
    wanted: str, start: int, stop: int, served: House, route: str, content: bytes
) -> None:
    answer = get(served, route, Range=wanted)
    assert (answer.status_code, answer.content) == (206, content[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)


def test_a_part_that_is_not_there(served: House, route: str) -> None:
    answer = get(served, route, Range=f"bytes={SIZE}-")
    assert (answer.status_code, answer.json()["Error"]) == (416, "no_such_range")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


def test_several_parts_are_answered_with_the_whole(
    served: House, route: str, content: bytes
) -> None:
    answer = get(served, route, Range="bytes=0-1,5-6")
    assert (answer.status_code, answer.content) == (200, content)


def test_a_part_of_what_one_has_or_else_the_whole(
    served: House, route: str, content: bytes
) -> None:
    etag = get(served, route, "HEAD").headers["ETag"]
    same = get(served, route, Range="bytes=5-", If_Range=etag)
    assert (same.status_code, same.content) == (206, content[5:])
    for other in ('"other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        answer = get(served, route, Range="bytes=5-", If_Range=other)
        assert (answer.status_code, answer.content) == (200, content)


def test_nothing_if_it_is_known(served: House, route: str) -> None:
    etag = get(served, route, "HEAD").headers["ETag"]
    for method in ("GET", "HEAD"):
        answer = get(served, route, method, If_None_Match=f'"x", {etag}')
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == etag
    assert get(served, route, If_None_Match='"x"').status_code == 200


def test_a_head_tells_all_but_the_bytes(served: House, route: str) -> None:
    answer = get(served, route, "HEAD", Range="bytes=5-")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(SIZE)
    assert get(served, route).status_code == 200, "the connection is of use afterwards"


def test_an_empty_file(served: House) -> None:
    task_id = served.task()
    put(served.task_dir(task_id) / "output", "empty.txt", b"")
    answer = get(served, f"tasks/{task_id}/files/empty.txt")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == "0"


def test_another_content_has_another_name(served: House) -> None:
    task_id = served.task()
    folder, route = served.task_dir(task_id) / "output", f"tasks/{task_id}/files/a.png"
    put(folder, "a.png", b"first")
    etag = get(served, route).headers["ETag"]
    put(folder, "b.png", b"other").replace(folder / "a.png")
    answer = get(served, route, Range="bytes=3-", If_Range=etag)
    assert (answer.status_code, answer.content) == (200, b"other")
    assert answer.headers["ETag"] != etag


def test_logs_stayed_quiet(house: House, secure_house: House) -> None:
    house.assert_quiet()
    secure_house.assert_quiet()
