"""Starting renderers on Windows, each in a Job Object that dies with the node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import win32api
import win32job

assert sys.platform == "win32"

CREATE_SUSPENDED = 0x00000004
"""From the Windows SDK's winbase.h; `subprocess` has no name for it."""

PROCESS_TERMINATE, PROCESS_SET_QUOTA = 0x0001, 0x0100
"""From winnt.h: the rights that AssignProcessToJobObject asks for."""

TERMINATED_EXIT_CODE = 1
"""What a process of an ended job reports, as if ended by the Task Manager."""


class WindowsSpawner:
    """Starts renderers. Needs no guard: the system ends a job when its last handle closes."""

    def spawn(
        self,
        argv: list[str],
        working_dir: Path,
        environment: dict[str, str],
        stdin: int = subprocess.DEVNULL,
    ) -> tuple[subprocess.Popen[bytes], WindowsTree]:
        """Start `argv`. Raises OSError or ValueError as `subprocess` does."""
        process = subprocess.Popen(
            argv,
            cwd=working_dir,
            env=environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            # Suspended until it is in its job: a child that it starts before that would escape.
            creationflags=CREATE_SUSPENDED | subprocess.CREATE_NO_WINDOW,
        )
        try:
            tree = WindowsTree(process.pid)
            psutil.Process(process.pid).resume()
        except BaseException:
            process.kill()
            raise
        return process, tree

    def close(self) -> None:
        """Nothing to end: jobs close with the node."""


class WindowsTree:
    """The job of one renderer; every process that it starts is in it, and none can leave."""

    def __init__(self, pid: int) -> None:
        self._job = win32job.CreateJobObject(None, "")
        kind = win32job.JobObjectExtendedLimitInformation
        limits = win32job.QueryInformationJobObject(self._job, kind)
        limits["BasicLimitInformation"]["LimitFlags"] |= win32job.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        win32job.SetInformationJobObject(self._job, kind, limits)
        process = win32api.OpenProcess(PROCESS_SET_QUOTA | PROCESS_TERMINATE, False, pid)
        win32job.AssignProcessToJobObject(self._job, process)
        process.Close()

    def end(self, grace_s: float) -> bool:
        """End all at once; Windows has no way to ask a console program without a console."""
        win32job.TerminateJobObject(self._job, TERMINATED_EXIT_CODE)
        return True

    def close(self) -> None:
        self._job.Close()
