"""The states of tasks and chunks, and why an attempt ended: words of the wire and of the database."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """What a task, the thing an artist sees, is doing."""

    QUEUED = "queued"  # has a row in `queue`, nobody works on it
    RUNNING = "running"  # at least one chunk of it is on a machine
    PAUSED = "paused"  # has its row in `queue`, but gets no machine until it is resumed
    SUCCEEDED = "succeeded"  # everything it owes has arrived
    FAILED = "failed"  # given up, `cause` says why
    CANCELLED = "cancelled"  # its owner took it out of the queue


class ChunkState(StrEnum):
    """What one chunk (a frame range on one machine, with its attempt) is doing."""

    ASSIGNED = "assigned"  # claimed in the database; the machine has not confirmed its start
    RUNNING = "running"  # the machine said that it started
    SUCCEEDED = "succeeded"  # exit code 0 and everything it owed is there
    FAILED = "failed"  # the renderer ended without that
    LOST = "lost"  # the machine went away or forgot it; nobody's fault
    INTERRUPTED = "interrupted"  # stopped by us, or refused by the machine before it began


class Cause(StrEnum):
    """Why an attempt ended without its frames: who has to do something about it."""

    SCENE = "scene"  # the project is wrong: no camera, a script that raises, a corrupt file
    ASSET_MISSING = "asset_missing"  # a file that the project links to is not there
    MACHINE = "machine"  # this machine cannot: crash, out of memory, disk full, no renderer
    LOST = "lost"  # the machine went away
    INTERRUPTED = "interrupted"  # stopped on purpose
    TIMEOUT = "timeout"  # it took longer than its limits allow


class Reason(StrEnum):
    """What a machine failed of, where that decides who should try next."""

    OUT_OF_MEMORY = "out_of_memory"  # a machine with more memory may have room
    DISK_FULL = "disk_full"  # this machine's disk
    GPU = "gpu"  # the device is gone, or its driver gave up
    CRASH = "crash"  # the renderer was killed by a fault of its own
