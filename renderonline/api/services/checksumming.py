"""The checksums that a ZIP of results will need, worked out behind the renders, before anybody asks.

A file that a node sends is checksummed as it arrives. One that was written where it is, by a node
on this disk, is read here while the system still has it in memory: after a task's end all of its
files would have to be read for the first download instead.
"""

from __future__ import annotations

import threading
import time

from renderonline.api.db import tasks
from renderonline.api.db.connection import Database
from renderonline.api.domain.model import Chunk
from renderonline.api.storage import archive, trees
from renderonline.api.storage.folders import TaskFolders
from renderonline.lifecycle import Clock

LEAST_PAUSE_S = 2.0
"""Between two looks at a task's folder."""

PAUSES = 50
"""It is left alone for so many times as long as listing it took: one fiftieth of a core at the most.
Reading is no waste: each file is read once."""

SETTLED_NS = 1_000_000_000
"""A file that was written to within this time may not be whole: an original node writes in place."""


class Checksumming:
    """What has to be looked at. `note` may be called from any thread, `step` from one."""

    def __init__(self, database: Database, folders: TaskFolders, clock: Clock) -> None:
        self._database, self._folders, self._clock = database, folders, clock
        self._lock = threading.Lock()
        self._due_s: dict[int, float] = {}  # by task: not before, of time.monotonic
        self._rests_s: dict[int, float] = {}  # until when a task is left alone
        self._is_stopped = threading.Event()

    def note(self, chunk: Chunk) -> None:
        """The chunk may have saved something. Returns at once."""
        if chunk.done.runs or not chunk.frame_set.runs:
            with self._lock:
                self._due_s.setdefault(chunk.task_id, self._rests_s.get(chunk.task_id, 0.0))

    def step(self) -> None:
        """Look at those that are due. Raises DatabaseError."""
        now_s = time.monotonic()
        with self._lock:
            due = [task_id for task_id, at_s in self._due_s.items() if at_s <= now_s]
            self._rests_s = {task: at for task, at in self._rests_s.items() if at > now_s}
        for task_id in due:
            if self._is_stopped.is_set():
                return
            with self._lock:
                del self._due_s[task_id]
            is_all, listing_s = self._look(task_id)
            rests_until_s = time.monotonic() + max(LEAST_PAUSE_S, PAUSES * listing_s)
            with self._lock:
                self._rests_s[task_id] = rests_until_s
                if not is_all or task_id in self._due_s:
                    self._due_s[task_id] = rests_until_s

    def close(self) -> None:
        """Read no further. Any thread."""
        self._is_stopped.set()

    def _look(self, task_id: int) -> tuple[bool, float]:
        """Whether nothing of the task's folder is left to be read, and how long listing it took."""
        with self._database.reading():
            job = tasks.job(task_id)
        if job is None:
            return True, 0.0
        began_s = time.monotonic()
        settled_ns = int(self._clock.now().timestamp() * 1e9) - SETTLED_NS
        entries = trees.entries(job.render.task_dir)
        book = self._folders.checksums.book(job.render.task_dir)
        unknown = [entry for entry in entries if book.whole(entry) is None]
        settled = [entry for entry in unknown if entry.mtime_ns <= settled_ns]
        listing_s = time.monotonic() - began_s
        try:
            archive.learn(settled, book, self._is_stopped.is_set)
        finally:
            book.save()
        return len(settled) == len(unknown), listing_s
