"""The programs of `benchmarks/` still run: their figures are for people, their code is held here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.parametrize(
    "command",
    [
        ["scale.py", "--machines", "3", "--tasks", "2", "--frames", "10"],
        ["planner.py", "--help"],
        ["dispatch.py", "--help"],
        ["chunks.py", "--help"],
        ["blender.py", "--help"],
        ["download.py", "--help"],
        ["transfer.py", "--help"],
    ],
    ids=lambda command: command[0],
)
def test_a_benchmark_runs(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / command[0]), *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
