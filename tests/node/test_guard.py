"""The guard: what happens to renderers when the node is killed and runs no code any more."""

from __future__ import annotations

import array
import fcntl
import subprocess
import sys
import termios
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from support.processes import ROOT
from support.waiting import wait_until

from renderonline.node.process_posix import Guardian, PosixSpawner, guard_command, guard_environment

from .renderers import TREE, family, is_alive, wait_until_gone, write_script

Popen = subprocess.Popen[str]


@pytest.fixture
def start() -> Iterator[object]:
    """Starts helper processes that end with the test."""
    with ExitStack() as running:

        def begin(argv: list[str], **options: object) -> Popen:
            process: Popen = subprocess.Popen(argv, cwd=ROOT, text=True, **options)  # type: ignore[call-overload]
            running.callback(process.wait)
            running.callback(process.kill)
            return process

        yield begin


NODE = textwrap.dedent(
    """
    import os, sys, time
    from pathlib import Path
    from renderonline.node.process import RenderProcess, system_spawner
    spawner = system_spawner()
    RenderProcess(spawner, [sys.executable, *sys.argv[1:]], Path.cwd(), dict(os.environ))
    time.sleep(600)
    """
)


def test_the_tree_ends_with_a_killed_node(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    script = write_script(tmp_path, TREE)
    node = start([sys.executable, "-c", NODE, script, str(tmp_path / "pids")])
    pids = family(tmp_path / "pids")
    guard = next(p for p in psutil.Process(node.pid).children() if "guard" in " ".join(p.cmdline()))
    node.kill()
    wait_until_gone([*pids, guard.pid])


def test_a_process_is_found_before_its_pid_is_known(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The node was killed between the start of a renderer and telling its pid."""
    guard = start(guard_command(), env=guard_environment(), stdin=subprocess.PIPE)
    script = write_script(tmp_path, TREE)
    start(
        [sys.executable, script, str(tmp_path / "pids")],
        env={"RENDERONLINE_ATTEMPT": "m1"},
        start_new_session=True,
    )
    pids = family(tmp_path / "pids")
    guard.stdin.write("expect m1\n")
    guard.stdin.close()
    wait_until_gone(pids)


def test_a_group_is_found_without_marks_and_leader(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    guard = start(guard_command(), env=guard_environment(), stdin=subprocess.PIPE)
    code = "import subprocess, time; subprocess.Popen(['sleep', '600'], env={}); time.sleep(600)"
    process = start([sys.executable, "-c", code], env={}, start_new_session=True)
    children = wait_until(psutil.Process(process.pid).children, "its child has started")
    guard.stdin.write(f"expect m1\nroot m1 {process.pid}\n")
    guard.stdin.flush()
    wait_until(lambda: not _unread(guard), "the guard knows of it")
    process.kill()
    process.wait()
    guard.stdin.close()
    wait_until_gone([child.pid for child in children])


def _unread(process: Popen) -> int:
    """How many bytes its stdin still holds."""
    assert process.stdin is not None
    count = array.array("i", [0])
    fcntl.ioctl(process.stdin.fileno(), termios.FIONREAD, count)
    return count[0]


def test_what_is_forgotten_is_left_alone(start) -> None:  # type: ignore[no-untyped-def]
    guard = start(guard_command(), env=guard_environment(), stdin=subprocess.PIPE)
    environment = {"RENDERONLINE_ATTEMPT": "m1"}
    process = start(["sleep", "600"], env=environment, start_new_session=True)
    guard.stdin.write(f"expect m1\nroot m1 {process.pid}\nforget m1\nnonsense\nroot m9 1\n")
    guard.stdin.close()
    assert guard.wait(120) == 0
    assert is_alive(process.pid)


def test_a_lost_guard_is_replaced_and_told_everything(tmp_path: Path) -> None:
    spawner = PosixSpawner()
    script = write_script(tmp_path, TREE)
    argv = [sys.executable, script, str(tmp_path / "pids")]
    process, _tree = spawner.spawn(argv, tmp_path, {})
    pids = family(tmp_path / "pids")
    first = next(p for p in psutil.Process().children() if "renderonline.node.guard" in p.cmdline())
    first.kill()
    wait_until(lambda: not is_alive(first.pid), "the first guard is gone")
    other, _tree = spawner.spawn([sys.executable, "-c", ""], tmp_path, {})
    spawner.close()  # as at the node's end, however it comes
    wait_until_gone(pids)
    for child in (process, other):
        assert child.stdout is not None
        child.stdout.close()
        child.wait(120)


def test_a_guard_ends_with_its_node_and_ignores_signals() -> None:
    before = set(psutil.Process().children())
    guardian = Guardian()
    (guard,) = set(psutil.Process().children()) - before
    wait_until(lambda: _ignores_sigterm(guard), "the guard is up")
    guard.terminate()
    guardian.tell("expect m1")
    assert is_alive(guard.pid)
    guardian.close()
    guardian.close()
    assert not is_alive(guard.pid)


def _ignores_sigterm(process: psutil.Process) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(ignored.split()[1], 16) & 1 << 14)
