"""What a node makes of the journal of its predecessor: orphans are ended, and all of it is told."""

from __future__ import annotations

import logging

import msgspec
import psutil

from renderonline.node.journal import Entry
from renderonline.node.posix_tree import MARK, PosixTree
from renderonline.wire import Cause, HpcTask

log = logging.getLogger(__name__)


def after_restart(task: HpcTask) -> HpcTask:
    """How an attempt ended whose node ended first. Pure.

    An end that was written down stays what it was. What ran is lost, but not its saved frames.
    """
    if task.is_running:
        message = "The node was restarted while it rendered; the frames saved until then count."
        return _ended(task, Cause.LOST, message)
    if task.is_waiting:
        return _ended(task, Cause.INTERRUPTED, "The node was restarted before this render began.")
    return task


def end_orphan(entry: Entry) -> None:
    """End the renderer of `entry`, with all that it started, if it is still there. Blocks.

    The node's guard, or on Windows its job, has done that already, unless it was killed as well.
    """
    process = entry.renderer.find() if entry.renderer is not None else None
    if process is None:
        return
    log.warning(
        "process %d of task %d outlived its node; it is ended", process.pid, entry.task.task_id
    )
    if not PosixTree(_mark(process), process.pid).end(grace_s=0):
        log.error("process %d cannot be ended; it may still write frames", process.pid)


def _mark(process: psutil.Process) -> str:
    """By which those of its family are known that have left it; "" where it cannot be read."""
    try:
        return process.environ().get(MARK, "")
    except (psutil.Error, OSError):
        return ""


def _ended(task: HpcTask, cause: Cause, message: str) -> HpcTask:
    return msgspec.structs.replace(
        task, is_running=False, is_waiting=False, is_success=False, cause=cause, message=message
    )
