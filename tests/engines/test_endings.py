"""Exit codes of each platform, and the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from renderonline.engines.endings import crash, is_disk_full
from renderonline.wire import Reason

from .conftest import fill

CRASH, MEMORY = Reason.CRASH, Reason.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("exit_code", "reason", "says"),
    [
        (-11, CRASH, "X crashed (SIGSEGV)"),
        (139, CRASH, "X crashed (SIGSEGV)"),
        (-6, CRASH, "X crashed (SIGABRT)"),
        (134, CRASH, "X crashed (SIGABRT)"),
        (-8, CRASH, "X crashed (SIGFPE)"),
        (-4, CRASH, "processor is too old"),
        (132, CRASH, "processor is too old"),
        (-9, MEMORY, "X was killed by the system (SIGKILL)"),
        (137, MEMORY, "out of memory"),
        (-15, None, "from outside (SIGTERM)"),
        (143, None, "from outside (SIGTERM)"),
        (-2, None, "from outside (SIGINT)"),
        (-200, CRASH, "X crashed (signal 200)"),
        (0xC0000005, CRASH, "X crashed (access violation)"),
        (0xC0000005 - 2**32, CRASH, "X crashed (access violation)"),
        (0xC000001D, CRASH, "processor is too old"),
        (0xC0000017, MEMORY, "ran out of memory"),
        (0xC000012D, MEMORY, "ran out of memory"),
        (0xC000007F, Reason.DISK_FULL, "disk of the machine is full"),
        (0xC0000135, None, "a DLL is missing"),
        (0xC000013A, None, "from outside"),
        (0xC0001234, CRASH, "Windows status 0xC0001234"),
    ],
)
def test_what_stopped_it(exit_code: int, reason: Reason | None, says: str) -> None:
    stopped_by = crash(exit_code)
    assert stopped_by is not None
    assert stopped_by.reason is reason
    assert says in stopped_by.message("X")


@pytest.mark.parametrize("exit_code", [0, 1, 2, 3, 11, 70, 127, 128, 255, 200])
def test_what_ended_by_itself(exit_code: int) -> None:
    assert crash(exit_code) is None


def test_a_disk_with_room_is_not_full(tmp_path: Path) -> None:
    assert not is_disk_full(tmp_path)
    assert not is_disk_full(tmp_path / "absent")
    assert not is_disk_full(None)


def test_a_disk_without_room_is_full(small_disk: Path) -> None:
    assert not is_disk_full(small_disk)
    fill(small_disk, spare_bytes=64 * 1024)
    assert is_disk_full(small_disk)
