"""Where projects lie: .NET's ticks, a folder of its own for each task, and nothing left behind."""

from __future__ import annotations

import errno
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from renderonline.api.storage.folders import DiskFull, TaskFolders, is_disk_full, ticks

MOMENT = datetime(2024, 8, 27, 20, 0, 0, 123456)


@pytest.fixture
def folders(tmp_path: Path) -> TaskFolders:
    return TaskFolders(tmp_path)


def files_below(folder: Path) -> set[str]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != "programs.lock")
    return {p.relative_to(folder).as_posix() for p in files}


def holding(name: str) -> Callable[[Path], None]:
    """Fills a folder with a project of one file."""

    def fill(folder: Path) -> None:
        (folder / name).write_bytes(b"BLENDER")

    return fill


def received(folders: TaskFolders, content: bytes = b"BLENDER") -> Path:
    file = folders.incoming_file()
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(1, 1, 1), 0),
        (datetime(1, 1, 1, 0, 0, 1), 10_000_000),
        (datetime(1970, 1, 1), 621_355_968_000_000_000),  # .NET's DateTime.UnixEpoch.Ticks
        (datetime(2000, 1, 1), 630_822_816_000_000_000),
        (datetime(1601, 1, 1), 504_911_232_000_000_000),  # the epoch of a Windows FILETIME
        (datetime(9999, 12, 31, 23, 59, 59, 999999), 3_155_378_975_999_999_990),
        (MOMENT, 638_603_856_001_234_560),
    ],
)
def test_ticks_are_dotnets(moment: datetime, expected: int) -> None:
    assert ticks(moment) == expected


def test_a_task_lies_where_the_original_has_it(folders: TaskFolders, tmp_path: Path) -> None:
    own = folders.plan("", 7, MOMENT)
    assert own == tmp_path / "projects" / "7" / "638603856001234560"
    elsewhere = folders.plan(str(tmp_path / "downloads"), 7, MOMENT)
    assert elsewhere == tmp_path / "downloads" / "7" / "638603856001234560"
    assert not own.exists()


def test_two_tasks_of_one_moment_have_two_folders(folders: TaskFolders) -> None:
    first = folders.plan("", 7, MOMENT)
    folders.create(first, holding("a.blend"))
    second = folders.plan("", 7, MOMENT)
    assert first != second
    with pytest.raises(FileExistsError):
        folders.create(first, holding("b.blend"))
    assert files_below(first) == {"a.blend"}


def test_a_crash_before_the_commit_leaves_nothing(folders: TaskFolders, tmp_path: Path) -> None:
    folder = folders.plan("", 7, MOMENT)
    folders.create(folder, holding("a.blend"))
    received(folders)  # and an upload that was being received
    TaskFolders(tmp_path).repair(lambda _folder: False)
    assert files_below(tmp_path) == set()
    assert not folder.exists()


def test_a_crash_after_the_commit_keeps_the_project(folders: TaskFolders, tmp_path: Path) -> None:
    folder = folders.plan("", 7, MOMENT)
    folders.create(folder, holding("a.blend"))
    asked: list[Path] = []
    TaskFolders(tmp_path).repair(lambda wanted: asked.append(wanted) is None)
    assert asked == [folder]
    assert files_below(tmp_path) == {"projects/7/638603856001234560/a.blend"}


def test_a_crash_in_a_deletion_is_finished(folders: TaskFolders, tmp_path: Path) -> None:
    folder = folders.plan("", 7, MOMENT)
    folders.create(folder, holding("a.blend"))
    folders.settle(folder)
    folders.condemn(folder)
    TaskFolders(tmp_path).repair(lambda _folder: False)
    assert files_below(tmp_path) == set()


def test_a_crash_while_a_part_is_deleted_is_finished(folders: TaskFolders, tmp_path: Path) -> None:
    folder = folders.plan("", 7, MOMENT)
    folders.create(folder, holding("a.blend"))
    (folder / "b.blend").write_bytes(b"BLENDER")
    folders.settle(folder)
    away = folders.aside(folder)
    folders.put_aside([folder / "b.blend", folder / "gone.blend"], away)
    assert files_below(away) == {"b.blend"}
    TaskFolders(tmp_path).repair(lambda _folder: False)
    assert files_below(tmp_path) == {"projects/7/638603856001234560/a.blend"}


def test_repair_touches_nothing_that_is_settled(folders: TaskFolders, tmp_path: Path) -> None:
    folder = folders.plan("", 7, MOMENT)
    folders.create(folder, holding("a.blend"))
    folders.settle(folder)
    TaskFolders(tmp_path).repair(lambda _folder: False)
    assert files_below(folder) == {"a.blend"}


def test_a_folder_that_cannot_be_made_leaves_no_note(folders: TaskFolders, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        folders.create(tmp_path / "file" / "7" / "1", holding("a.blend"))
    assert files_below(tmp_path) == {"file"}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "full"), DiskFull),
        (OSError(errno.EIO, "broken"), OSError),
        (KeyError(), KeyError),
    ],
)
def test_a_folder_that_cannot_be_filled_leaves_nothing(
    folders: TaskFolders, tmp_path: Path, error: Exception, told: type[Exception]
) -> None:
    def fill(folder: Path) -> None:
        (folder / "half.blend").write_bytes(b"BLEN")
        raise error

    with pytest.raises(told):
        folders.create(folders.plan("", 7, MOMENT), fill)
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize(("code", "full"), [("ENOSPC", True), ("EDQUOT", True), ("EACCES", False)])
def test_what_a_full_disk_is(code: str, full: bool) -> None:
    assert is_disk_full(OSError(getattr(errno, code), "…")) is full
    assert not issubclass(DiskFull, OSError)
