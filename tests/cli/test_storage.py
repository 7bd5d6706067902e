"""`renderonline admin storage`: what people read of it, and what programs do, on both databases."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.processes import run_cli, run_json, write_config

from renderonline import sizes
from renderonline.commands.storage import size, summary
from renderonline.wire import StorageResponse


@pytest.fixture
def settings(tmp_path: Path, connection_string: str) -> Path:
    """A RenderAPI.json of an empty database, with a user."""
    values = {"ConnectionString": connection_string, "DataPath": str(tmp_path / "data")}
    file = write_config(tmp_path / "RenderAPI.json", values)
    home = tmp_path / "home"
    run_cli("admin", "user", "add", "--email", "ada@example.com", "--config", file, home=home)
    quota = ["--quota", "10G", "--config", file]
    run_cli("admin", "subscription", "set", "Default", *quota, home=home)
    return file


def test_report_and_clean(settings: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    report = run_json("admin", "storage", "--config", settings, home=home)
    assert report["Users"] == [
        {
            "UserId": 1,
            "Email": "ada@example.com",
            "Tasks": 0,
            "ProjectsBytes": 0,
            "ResultsBytes": 0,
            "UploadsBytes": 0,
            "UsedBytes": 0,
            "QuotaBytes": 10 << 30,
        }
    ]
    assert report["Contents"] == 0
    said = run_cli("admin", "storage", "--config", settings, home=home).stdout.splitlines()
    assert said[0].split() == [
        "User",
        "Tasks",
        "Projects",
        "Results",
        "Uploads",
        "Used",
        "Of",
        "quota",
    ]
    assert said[1].split() == ["ada@example.com", "0", "-", "-", "-", "-", "0%"]
    assert said[-1].startswith("Disk: ")
    done = run_json("admin", "storage", "clean", "--config", settings, home=home)
    assert done == {"FreedBytes": 0, "Contents": 0, "Uploads": 0, "Results": 0, "Projects": 0}
    said = run_cli("admin", "storage", "clean", "--config", settings, home=home).stdout
    assert said == "There was nothing to remove.\n"


def test_what_is_left_over_is_cleaned(settings: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    number = "0" * 32
    note = {"user_id": 1, "length": 100, "sha256": None, "metadata": ""}
    uploads = tmp_path / "data" / "uploads"
    uploads.mkdir(parents=True)
    (uploads / f"{number}.json").write_text(json.dumps(note))
    (uploads / number).write_bytes(b"x" * 50)
    report = run_json("admin", "storage", "--config", settings, home=home)
    assert report["UploadsBytes"] == 50
    assert report["Users"][0]["UploadsBytes"] == 100, "at its full length"
    os.utime(uploads / number, (0, 0))
    said = run_cli("admin", "storage", "clean", "--config", settings, home=home).stdout
    assert said == "Removed 1 abandoned uploads: 50 bytes are free again.\n"
    assert list(uploads.iterdir()) == []


def test_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    config = write_config(tmp_path / "RenderAPI.json", {"DataPath": str(tmp_path / "data")})
    done = run_cli("admin", "storage", "--config", config, home=tmp_path / "home", expected_exit=2)
    assert "data" in done.stderr


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (3000 << 40, "3000.0 TiB"),
    ],
)
def test_sizes_for_people(size_bytes: int, said: str) -> None:
    assert sizes.text(size_bytes) == said
    assert size(size_bytes) == (said if size_bytes else "-")


def test_what_could_go_is_said() -> None:
    report = StorageResponse(
        disk_total_bytes=100 << 30,
        disk_free_bytes=40 << 30,
        disk_floor_bytes=2 << 30,
        contents=12345,
        contents_bytes=50 << 30,
        unused_bytes=3 << 30,
        results_bytes=7 << 30,
        uploads_bytes=0,
    )
    contents, disk, unused = summary(report)
    assert "12,345 files" in contents and "50.0 GiB" in contents
    assert disk.startswith("Disk: 40.0 GiB of 100.0 GiB are free; 2.0 GiB have to stay so")
    assert unused.startswith("3.0 GiB of the contents") and unused.endswith("admin storage clean")
