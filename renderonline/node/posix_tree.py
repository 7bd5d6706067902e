"""A renderer's process tree on Linux and macOS: finding every process of it, and ending them.

Used by the node (a stop) and by its guard (the node was killed). A tree is found by three things,
because each alone misses some: the process group (lost by `setsid`), the parents (lost when one
of them exits) and a mark in the environment (unreadable for a few system programs of macOS).
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable

import psutil

MARK = "RENDERONLINE_ATTEMPT"
"""The variable whose random value says to which tree a process belongs. Not a secret."""

EARLIER_S = 2.0
"""A process may seem to be so much older than it is: system times are rounded, clocks are slewed."""

LOOK_AGAIN_S = 0.02
KILL_S = 3.0
"""How long to insist with SIGKILL; only a process stuck in the kernel outlives that."""


class PosixTree:
    """One renderer with all that it started. Its first process leads a group of its own."""

    def __init__(self, mark: str, pid: int | None = None) -> None:
        """`pid` None: the process is about to start, and only its mark is known."""
        self._mark = mark
        self._since = time.time() - EARLIER_S
        self._clocks_apart = time.time() - time.monotonic()
        self._root: psutil.Process | None = None
        if pid is not None:
            self.adopt(pid)

    def adopt(self, pid: int) -> None:
        """Take `pid` as the tree's first process. It must not have been waited for yet."""
        try:
            self._root = psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._root = None

    def members(self) -> list[psutil.Process]:
        """Every living process of the tree; zombies have ended and do not count."""
        known = self._descendants()
        found = [
            process
            for process in psutil.process_iter()
            if process.pid in known
            or (
                self._may_be_ours(process)
                and (self._is_in_group(process) or self._is_marked(process))
            )
        ]
        return [process for process in found if _is_alive(process)]

    def end(self, grace_s: float) -> bool:
        """Ask all to terminate, kill after `grace_s` what is left; True if nothing is left.

        Blocks until then. Any thread, also several at once.
        """
        if grace_s > 0:
            asked = self.members()
            for process in asked:
                _signal(process.terminate)
            _wait_until(lambda: not any(map(_is_alive, asked)), grace_s)
        return _wait_until(self._kill_all, KILL_S)

    def _kill_all(self) -> bool:
        """Kill what there is now; True if there was nothing. A fork bomb takes several turns."""
        members = self.members()
        for process in members:
            _signal(process.kill)
        return not members

    def _descendants(self) -> set[int]:
        if self._root is None or not self._root.is_running():
            return set()
        try:
            return {self._root.pid, *(p.pid for p in self._root.children(recursive=True))}
        except psutil.Error:
            return {self._root.pid}

    def _may_be_ours(self, process: psutil.Process) -> bool:
        """Whether the process is not older than the tree. Reading the environment of everything
        that runs takes milliseconds; ages are remembered by psutil."""
        if abs(time.time() - time.monotonic() - self._clocks_apart) > 1:
            return True  # the clock was set meanwhile: ages say nothing
        try:
            return process.create_time() >= self._since
        except psutil.Error:
            return False

    def _is_in_group(self, process: psutil.Process) -> bool:
        """Whether `process` is in the group that the root leads or led.

        While a group has members the system gives its number to no new process. If its number
        belongs to another process all the same, our group is gone and this one is a stranger's.
        """
        if sys.platform == "win32" or self._root is None:
            return False
        try:
            if os.getpgid(process.pid) != self._root.pid:
                return False
        except OSError:
            return False
        return self._root.is_running() or not psutil.pid_exists(self._root.pid)

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self._mark
        except (psutil.Error, OSError):
            return False


def _is_alive(process: psutil.Process) -> bool:
    """psutil's own wait would take the exit code away from `subprocess`, so we look instead."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(send: Callable[[], None]) -> None:
    """Send a signal by one of psutil's methods, which refuse if the pid is another's by now."""
    # AccessDenied: a set-uid program. Whoever waits for the end sees that it is still there.
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        send()


def _wait_until(is_done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_AGAIN_S)
    return True
