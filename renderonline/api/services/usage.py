"""What each user's files take: projects, results, and what was sent and is in no project yet."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from renderonline.api.db import storage
from renderonline.api.db.connection import Database
from renderonline.api.db.storage import Folder
from renderonline.api.storage.uploads import UploadStore


@dataclass(frozen=True, slots=True)
class Used:
    """In bytes. A content counts once for each user who has it in a project."""

    projects: int = 0
    results: int = 0
    uploads: int = 0  # on their way at their full length, and finished ones in no project yet
    tasks: int = 0

    @property
    def total(self) -> int:
        return self.projects + self.results + self.uploads


class Usage:
    """Measures, and remembers the results of tasks that are over. Safe from any thread."""

    def __init__(self, database: Database, uploads: UploadStore) -> None:
        self._database = database
        self._uploads = uploads
        self._lock = threading.Lock()
        # render → (the task's version, bytes): nothing is written into what has ended
        self._measured: dict[int, tuple[int, int]] = {}

    def of(self, user_id: int) -> Used:
        """Raises DatabaseError."""
        self._uploads.refresh()
        with self._database.reading():
            folders = storage.folders(user_id)
            projects, sent = storage.project_bytes(user_id), storage.sent_bytes(user_id)
        return Used(
            projects=projects,
            results=sum(map(self._results, folders)),
            uploads=sent + self._unfinished(user_id),
            tasks=len(folders),
        )

    def of_everybody(self, user_ids: Iterable[int]) -> dict[int, Used]:
        """Raises DatabaseError."""
        return {user_id: self.of(user_id) for user_id in user_ids}

    def unfinished_bytes(self) -> int:
        """What uploads on their way take on the disk, by now."""
        return sum(self._uploads.offset(number) or 0 for number in self._uploads.all())

    def _unfinished(self, user_id: int) -> int:
        return sum(
            upload.length
            for number, upload in self._uploads.all().items()
            if upload.user_id == user_id and self._uploads.offset(number) is not None
        )

    def _results(self, folder: Folder) -> int:
        render_id = folder.render.render_id
        with self._lock:
            version, size_bytes = self._measured.get(render_id, (-1, 0))
        if version == folder.version and not folder.is_live:
            return size_bytes
        size_bytes = size_below(folder.render.output_dir)
        with self._lock:
            self._measured[render_id] = (folder.version, size_bytes)
        return size_bytes

    def forget(self, render_id: int) -> None:
        """Its results were deleted."""
        with self._lock:
            self._measured.pop(render_id, None)


def size_below(folder: Path) -> int:
    """The bytes of all files below a folder; 0 where there is none. Links are not followed."""
    size_bytes, folders = 0, [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        size_bytes += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # gone meanwhile
    return size_bytes
