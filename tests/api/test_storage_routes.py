"""Storage over HTTP: an admin sees who uses what, and quotas are said before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.certificates import make_certificate

from . import tus
from .house import House, running_house
from .shelf import manifest, missing, submit
from .test_projects import unchanged


@pytest.fixture(params=["http", "https"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """An api of this test's own: everybody may have 100,000 bytes."""
    is_secure = request.param == "https"
    certificate = make_certificate(tmp_path / "tls", "127.0.0.1") if is_secure else None
    with running_house(tmp_path / "house", certificate) as running:
        running.rows("UPDATE subscriptions SET quota_bytes = 100000")
        yield running
        running.assert_quiet()


def test_only_an_admin_sees_and_cleans(house: House) -> None:
    with unchanged(house):
        for method, route in (("GET", "storage"), ("POST", "storage/clean")):
            answer = house.request(method, route)
            assert (answer.status_code, answer.json()["Error"]) == (403, "forbidden")
            assert house.request(method, route, headers={"token": "wrong"}).status_code == 401


def test_who_uses_what(house: House) -> None:
    task_id = house.task(content=b"x" * 1000)
    output = house.task_dir(task_id) / "output"
    output.mkdir()
    (output / "frame.png").write_bytes(b"y" * 500)
    tus.begin(house, b"z" * 300)
    report = house.get("storage", house.people["admin"])
    first = report["Users"][0]
    assert first == {
        "UserId": first["UserId"],
        "Email": "artist@example.com",
        "Tasks": 1,
        "ProjectsBytes": 1000,
        "ResultsBytes": 500,
        "UploadsBytes": 300,
        "UsedBytes": 1800,
        "QuotaBytes": 100_000,
    }
    assert [user["UsedBytes"] for user in report["Users"][1:]] == [0, 0]
    assert report["Contents"] == 2, "a file, and the manifest of its project"
    assert report["ResultsBytes"] == 500
    assert report["DiskFreeBytes"] < report["DiskTotalBytes"]
    assert report["DiskFloorBytes"] == 2 << 30


def test_clean(house: House) -> None:
    tus.send(house, b"of no task")
    admin = house.people["admin"]
    nothing = {"FreedBytes": 0, "Contents": 0, "Uploads": 0, "Results": 0, "Projects": 0}
    assert house.request("POST", "storage/clean", admin).json() == nothing
    assert missing(house, b"of no task") == []
    long_ago = "2001-01-01 00:00:00.000000"
    house.rows("UPDATE contents SET stored_at = ?, wanted_until = ?", long_ago, long_ago)
    done = house.request("POST", "storage/clean", admin).json()
    assert done == nothing | {"FreedBytes": 10, "Contents": 1}
    assert len(missing(house, b"of no task")) == 1


def test_quota_is_said_before_the_transfer(house: House) -> None:
    tus.send(house, b"a" * 60_000)
    with unchanged(house):
        answer = tus.create(house, tus.creation(b"b" * 50_000))
        assert (answer.status_code, answer.json()["Error"]) == (507, "quota")
        assert "58.6 KiB of the 97.7 KiB" in answer.json()["ErrorMessage"]
        answer = house.enqueue(content=b"b" * 50_000)
        assert (answer.status_code, answer.json()["IsAdded"]) == (507, False)
        assert "58.6 KiB of the 97.7 KiB" in answer.json()["ErrorMessage"]
    assert tus.create(house, tus.creation(b"b" * 50_000), house.people["other"]).status_code == 201
    tus.send(house, b"c" * 30_000)
    answer = submit(house, manifest({"scene.any": b"a" * 60_000, "wood.png": b"c" * 30_000}))
    assert answer.status_code == 200, answer.text


def test_projects_of_what_others_have_sent_count_too(house: House) -> None:
    other = house.people["other"]
    tus.send(house, b"a" * 90_000)
    tus.send(house, b"b" * 90_000, other)
    files = {"scene.any": b"a" * 90_000, "wood.png": b"b" * 90_000}
    with unchanged(house):
        answer = submit(house, manifest(files))
        assert (answer.status_code, answer.json()["Error"]) == (507, "quota")
