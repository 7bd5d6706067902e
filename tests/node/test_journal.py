"""What a node leaves behind: the journal's files, and what its next start makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from renderonline import wire
from renderonline.node import recovery
from renderonline.node.journal import Entry, Journal, ProcessId, process_id
from renderonline.wire import Cause, HpcTask

from .renderers import SLEEPER, is_alive

GONE = ProcessId(pid=2**22 + 1, created=1.0)


def entry_of(attempt_id: int | None = 3, **more: object) -> Entry:
    task = HpcTask(task_id=7, attempt_id=attempt_id, key_digest="d" * 64, is_running=True)
    return Entry(task=task, api_url="http://api:5000", report_key="k", **more)  # type: ignore[arg-type]


def predecessor(folder: Path, entry: Entry) -> Path:
    """Let `entry` look as one that an ended node has left; its file."""
    Journal(folder).write(entry)
    (file,) = folder.glob("*.json")
    entry.node = GONE
    file.write_bytes(wire.encode(entry))
    return file


def test_an_entry_comes_back_as_it_was(tmp_path: Path) -> None:
    entry = entry_of(renderer=process_id(os.getpid()))
    entry.task.frames = "1-5"
    predecessor(tmp_path, entry)
    (found,) = Journal(tmp_path).left_behind()
    assert found == entry


@pytest.mark.skipif(sys.platform == "win32", reason="mode bits mean nothing there")
def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    file = predecessor(folder, entry_of())
    assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)


def test_another_nodes_entries_are_left_alone(tmp_path: Path) -> None:
    """One that runs on this machine, and one on another that shares the folder."""
    Journal(tmp_path).write(entry_of())
    file = predecessor(tmp_path / "shared", entry_of())
    file.write_bytes(file.read_bytes().replace(b'"Host":"', b'"Host":"another-'))
    assert Journal(tmp_path).left_behind() == []
    assert Journal(tmp_path / "shared").left_behind() == []
    assert file.exists()


def test_what_a_node_leaves_in_good_order_is_found(tmp_path: Path) -> None:
    Journal(tmp_path).write(entry_of(), is_kept=False)
    assert len(Journal(tmp_path).left_behind()) == 1


def test_an_entry_is_there_at_any_moment_of_its_replacement(tmp_path: Path) -> None:
    """A node may be killed between two steps: half a new one, or the new one without its name."""
    file = predecessor(tmp_path, entry_of())
    part = file.with_suffix(".part")
    part.write_bytes(file.read_bytes()[:40])
    assert len(Journal(tmp_path).left_behind()) == 1
    file.replace(part)
    (found,) = Journal(tmp_path).left_behind()
    Journal(tmp_path).remove(found.task)
    assert list(tmp_path.iterdir()) == []


def test_half_a_new_entry_is_left_to_whoever_writes_it(tmp_path: Path) -> None:
    part = tmp_path / "3.part"
    part.write_bytes(b"{")
    assert Journal(tmp_path).left_behind() == []
    assert part.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"Task": 3}', b"\0" * 100])
def test_a_torn_file_is_removed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "3.json").write_bytes(content)
    assert Journal(tmp_path).left_behind() == []
    assert list(tmp_path.iterdir()) == []


def test_attempts_of_two_databases_have_a_file_each(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for digest in ("a" * 64, "b" * 64, None):
        entry = entry_of()
        entry.task.key_digest = digest
        journal.write(entry)
    journal.write(entry_of(None))
    assert len(list(tmp_path.glob("*.json"))) == 4
    journal.remove(entry_of(None).task)
    journal.remove(entry_of(None).task)
    assert len(list(tmp_path.glob("*.json"))) == 3


def test_a_folder_that_cannot_be_costs_the_journal_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "journal")
    for _ in range(3):
        journal.write(entry_of())
    assert journal.left_behind() == []
    assert caplog.text.count("cannot be written") == 1


RUNNING = HpcTask(task_id=7, attempt_id=3, is_running=True, frames="1-5", frames_done=5)
WAITING = HpcTask(task_id=7, attempt_id=3, is_waiting=True)
DONE = HpcTask(task_id=7, attempt_id=3, is_success=True, exit_code=0, frames="1-9", frames_done=9)
FAILED = HpcTask(task_id=7, attempt_id=3, cause=Cause.SCENE, message="No camera.", exit_code=1)


@pytest.mark.parametrize(
    ("task", "cause", "frames", "is_success"),
    [
        (RUNNING, Cause.LOST, "1-5", False),
        (WAITING, Cause.INTERRUPTED, None, False),
        (DONE, None, "1-9", True),
        (FAILED, Cause.SCENE, None, False),
    ],
)
def test_after_a_restart(
    task: HpcTask, cause: Cause | None, frames: str | None, is_success: bool
) -> None:
    told = recovery.after_restart(task)
    assert (told.cause, told.frames, told.is_success) == (cause, frames, is_success)
    assert not (told.is_running or told.is_waiting)
    assert bool(told.message) is not is_success


def test_a_process_is_found_by_number_and_birth() -> None:
    mine = process_id(os.getpid())
    assert mine is not None
    assert mine.find() == psutil.Process()
    assert ProcessId(pid=os.getpid(), created=mine.created - 5).find() is None
    assert GONE.find() is None
    assert process_id(GONE.pid) is None
    assert ProcessId(pid=-1).find() is None


def test_an_orphan_is_ended_and_a_stranger_is_not() -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=True) as process:
        whose = process_id(process.pid)
        assert whose is not None
        stranger = ProcessId(pid=whose.pid, created=whose.created - 5)
        recovery.end_orphan(entry_of(renderer=stranger))
        assert is_alive(process.pid)
        recovery.end_orphan(entry_of(renderer=whose))
        assert process.wait(120) != 0
        recovery.end_orphan(entry_of(renderer=whose))  # it has gone by now
        recovery.end_orphan(entry_of())
