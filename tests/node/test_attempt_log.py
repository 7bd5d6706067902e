"""The log that each attempt leaves."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from renderonline.node import attempt_log
from renderonline.node.attempt_log import AttemptLog, delete_oldest, log_file, pasteable

NOON = datetime(2026, 1, 2, 12, 0, 0, 5, tzinfo=UTC)


def test_a_long_log_keeps_its_beginning_and_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_log, "MAX_LOG_BYTES", 1000)
    log = AttemptLog(tmp_path / "logs" / "x.log")
    for number in range(10_000):
        log.write(f"line {number}")
    log.close()
    log.close()
    lines = (tmp_path / "logs" / "x.log").read_text().splitlines()
    kept = 10_000 - attempt_log.END_LINES
    head = lines.index(next(line for line in lines if "left out" in line))
    assert lines[:2] == ["line 0", "line 1"]
    assert lines[head] == f"[{kept - head} lines left out]"
    assert lines[head + 1 :] == [f"line {n}" for n in range(kept, 10_000)]


def test_a_log_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = AttemptLog(tmp_path / "file" / "x.log")
    log.write("lost")
    log.close()


def test_a_full_disk_ends_the_log_only() -> None:
    log = AttemptLog(Path("/dev/full"))
    log.write("lost")
    log.write("lost too")
    log.close()


def test_the_oldest_go(tmp_path: Path) -> None:
    files = [
        log_file(tmp_path, NOON.replace(day=day), task_id=100 - day, attempt_id=day)
        for day in range(1, 11)
    ]
    for file in files:
        file.write_text("")
    other = tmp_path / "notes.txt"
    other.write_text("")
    delete_oldest(tmp_path, keep=3)
    assert sorted(tmp_path.iterdir()) == sorted([*files[-3:], other])
    delete_oldest(tmp_path / "none", keep=3)


def test_names() -> None:
    assert log_file(Path("l"), NOON, 7, 3).name == "20260102T120000.000005-task-7-attempt-3.log"
    assert log_file(Path("l"), NOON, 7, None).name == "20260102T120000.000005-task-7.log"


def test_the_command_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "it's a $HOME"
    folder.mkdir()
    words = ["a b", "it's", "$HOME", "`id`", "", '"', "\\", "*", "ü"]
    code = "import os, sys; print([os.getcwd(), *sys.argv[1:]])"
    line = pasteable([sys.executable, "-c", code, *words], folder)
    said = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    assert said.strip() == repr([os.fspath(folder), *words])
    assert shlex.split(line)[:2] == ["cd", os.fspath(folder)]
