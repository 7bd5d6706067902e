"""Renderers that nothing is known of: exit code, files, percentages. With real children."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from renderonline import engines
from renderonline.engines.base import Ending, Progress
from renderonline.engines.generic import GenericReader, fraction_of
from renderonline.wire import Cause, Owes, Reason

from .conftest import Renderer, Run, fill

PYTHON = Renderer(engines.by_name("generic"), sys.executable)


@pytest.mark.parametrize(
    ("line", "fraction"),
    [
        ("Rendered 1024 of 3072 pixels (33%)", 0.33),
        ("Progress: 62.5 %", 0.625),
        ("10% ... 20%", 0.2),
        ("tile 3/12 done", 0.25),
        ("Sample: 5 of 10", 0.5),
        ("ALF_PROGRESS 7%", 0.07),
        ("100%", 1.0),
        ("250% faster", None),
        ("version 3.7.0", None),
        ("tile 13/12", None),
        ("sample 0/0", None),
    ],
)
def test_progress_in_a_line(line: str, fraction: float | None) -> None:
    assert fraction_of(line) == pytest.approx(fraction)


def test_percentages_within_frames_count_over_all_frames() -> None:
    reader = GenericReader(Owes())
    lines = ["Rendering frame 1 of 2", "50%", "100%", "Rendering frame 2 of 2", "50%", "20%"]
    events = [event for line in lines for event in reader.feed(line)]
    assert [e.fraction for e in events if isinstance(e, Progress)] == [0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("owes", "exit_code", "files", "says"),
    [
        (Owes(), 0, ["a.png"], None),
        (Owes(pattern="*.png"), 0, ["sub/a.png"], None),
        (Owes(pattern="sub/*.png *.txt"), 0, ["sub/a.png", "b.txt"], None),
        (Owes(), 0, [], "wrote nothing"),
        (Owes(files=2), 0, ["a.png"], "wrote nothing"),
        (Owes(pattern="*.png *.exr"), 0, ["a.png"], "*.exr"),
        (Owes(), 3, ["a.png"], "exit code 3"),
        (Owes(), -11, ["a.png"], "SIGSEGV"),
    ],
)
def test_judges(owes: Owes, exit_code: int, files: list[str], says: str | None) -> None:
    verdict = GenericReader(owes).judge(Ending(exit_code, [Path(file) for file in files]))
    assert verdict.is_success == (says is None)
    assert (says or "") in (verdict.message or "")
    assert verdict.cause == (None if says is None else Cause.MACHINE)


@pytest.mark.parametrize(
    ("lines", "exit_code", "reason", "says"),
    [
        ([], -9, Reason.OUT_OF_MEMORY, "The renderer was killed by the system (SIGKILL)"),
        ([], -11, Reason.CRASH, "The renderer crashed (SIGSEGV)"),
        ([], 0xC0000017, Reason.OUT_OF_MEMORY, "ran out of memory"),
        ([], 3, None, "exit code 3"),
        (["Parse Error: Out of memory."], 1, Reason.OUT_OF_MEMORY, "The machine ran out"),
        (["std::bad_alloc"], -6, Reason.OUT_OF_MEMORY, "The machine ran out"),
        (["write: No space left on device"], 1, Reason.DISK_FULL, "disk of the machine"),
        (["write: No space left on device"], 0, Reason.DISK_FULL, "disk of the machine"),
        (["write: No space left on device"], -9, Reason.OUT_OF_MEMORY, "SIGKILL"),
        (["CUDA error 700: illegal address"], 1, Reason.GPU, "illegal address"),
        (["Out of memory.", "write: No space left on device"], 1, Reason.DISK_FULL, "disk"),
        (["45 %: out of memory"], 1, Reason.OUT_OF_MEMORY, "The machine ran out"),
    ],
)
def test_of_what_the_machine_failed(
    lines: list[str], exit_code: int, reason: Reason | None, says: str
) -> None:
    reader = GenericReader(Owes())
    for line in lines:
        reader.feed(line)
    verdict = reader.judge(Ending(exit_code))
    assert (verdict.cause, verdict.reason) == (Cause.MACHINE, reason)
    assert says in (verdict.message or "")


def test_what_a_success_complained_of_does_not_count() -> None:
    reader = GenericReader(Owes())
    reader.feed("GPU: out of memory, rendering on the CPU")
    assert reader.judge(Ending(0, [Path("a.png")])).is_success


def test_a_real_child_that_fails_in_silence_on_a_full_disk(
    run: Run, small_disk: Path, output_dir: Path
) -> None:
    fill(small_disk, spare_bytes=0)
    attempt = run(PYTHON, ["-c", "raise SystemExit(1)"])
    assert attempt.verdict.reason is None  # another disk
    reader = GenericReader(Owes())
    verdict = reader.judge(Ending(attempt.exit_code, output_dir=small_disk))
    assert verdict.reason is Reason.DISK_FULL


def test_a_real_child_that_fails_is_quoted(run: Run) -> None:
    code = "print('warming up'); print('10%'); raise SystemExit('Error: no licence, 0% left')"
    attempt = run(PYTHON, ["-c", code])
    assert "exit code 1" in (attempt.verdict.message or "")
    assert "warming up | Error: no licence" in (attempt.verdict.message or "")
    assert "10%" not in (attempt.verdict.message or "")


def test_the_tail_is_bounded() -> None:
    reader = GenericReader(Owes())
    for number in range(1000):
        reader.feed(f"line {number} " + "x" * 10_000)
    message = reader.judge(Ending(1)).message or ""
    assert "line 999" in message
    assert len(message) < 3000


def test_the_engines_name_in_front_is_dropped() -> None:
    adapter = engines.by_name("generic")
    assert adapter.command("/opt/Ren.exe", ["ren", "-x"]) == ["/opt/Ren.exe", "-x"]
    assert adapter.command(r"C:\x\Ren.exe", ["Ren.exe", "-x"]) == [r"C:\x\Ren.exe", "-x"]
    assert adapter.command("/opt/ren", ["other", "-x"]) == ["/opt/ren", "other", "-x"]
