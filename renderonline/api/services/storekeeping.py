"""Storekeeping: what nobody needs goes, and what a subscription keeps for so long and no longer.

`step` is called once an hour and may be called by several programs at once: each thing is looked at
again inside the transaction that removes it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from renderonline import wire
from renderonline.api.db import contents, storage, tasks
from renderonline.api.db.connection import Transaction
from renderonline.api.db.storage import Ended
from renderonline.api.domain.model import OUTPUT_FOLDER, Job
from renderonline.api.domain.transitions import QUEUED_TASK
from renderonline.api.services.contents import KEPT_FOR
from renderonline.api.services.stores import Stores
from renderonline.api.services.usage import size_below
from renderonline.wire import CleanResponse, StorageResponse, UserStorage

log = logging.getLogger(__name__)

GRACE = timedelta(hours=24)
"""How long a content stays that nobody needs: a project that is sent again then need not be."""

BATCH = 100
"""Contents that are removed in one transaction: others want to write as well."""


class Storekeeper:
    """One per program. Safe from any thread. Its methods raise DatabaseError and OSError."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._turn = threading.Lock()

    def report(self) -> StorageResponse:
        """Who uses what, the largest first."""
        with self._stores.database.reading():
            users = storage.users()
            count, contents_bytes, unused_bytes = storage.totals()
        used = self._stores.usage.of_everybody(number for number, _, _ in users)
        total_bytes, free_bytes = self._stores.room.disk_bytes()
        listed = [
            UserStorage(
                user_id=number,
                email=email,
                tasks=used[number].tasks,
                projects_bytes=used[number].projects,
                results_bytes=used[number].results,
                uploads_bytes=used[number].uploads,
                used_bytes=used[number].total,
                quota_bytes=quota,
            )
            for number, email, quota in users
        ]
        return StorageResponse(
            disk_total_bytes=total_bytes,
            disk_free_bytes=free_bytes,
            disk_floor_bytes=self._stores.room.floor_bytes,
            contents=count,
            contents_bytes=contents_bytes,
            unused_bytes=unused_bytes,
            results_bytes=sum(one.results for one in used.values()),
            uploads_bytes=self._stores.usage.unfinished_bytes(),
            users=sorted(listed, key=lambda user: (-user.used_bytes, user.email)),
        )

    def step(self, now: datetime, grace: timedelta = GRACE) -> CleanResponse:
        """Remove what may go; `now` is aware. With a shorter grace, which is at least KEPT_FOR,
        contents go that would stay for a while."""
        done = CleanResponse()
        with self._turn:
            self._retention(now, done)
            self._forget_projects(now)
            self._drop_contents(now, grace, done)
            self._drop_orphans(now, grace, done)
            freed_bytes, count = self._stores.uploads.drop_abandoned(now)
            done.freed_bytes += freed_bytes
            done.uploads += count
        if done.freed_bytes or done.results or done.projects:
            log.info("storekeeping: %s", wire.encode(done).decode())
        return done

    def clean(self, now: datetime) -> CleanResponse:
        """The same, when somebody needs room: only what was sent or asked for within KEPT_FOR stays
        of what no task needs."""
        return self.step(now, KEPT_FOR)

    # ------------------------------------------------------------------ retention

    def _retention(self, now: datetime, done: CleanResponse) -> None:
        with self._stores.database.reading():
            ended = storage.ended()
        for task in ended:
            age = _local(now) - task.ended_at
            if task.days_results is not None and age > timedelta(days=task.days_results):
                done.freed_bytes += self._drop_results(task, done)
            if task.days_projects is not None and age > timedelta(days=task.days_projects):
                self._drop_project(task, done)
                with suppress(OSError):  # its results are still there, or it is gone
                    task.render.task_dir.rmdir()

    def _drop_results(self, task: Ended, done: CleanResponse) -> int:
        """How many bytes that frees."""
        folder = task.render.output_dir
        if not folder.is_dir() or folder.is_symlink():
            return 0
        size_bytes = size_below(folder)
        days = _days(task.days_results)
        text = f"Its results were deleted {days} after its end, as the subscription {task.subscription} has it."
        if not self._remove(task, [folder], text, _nothing):
            return 0
        self._stores.usage.forget(task.render.render_id)
        done.results += 1
        return size_bytes

    def _drop_project(self, task: Ended, done: CleanResponse) -> None:
        """Its contents go when no other task needs them."""
        folder = task.render.task_dir
        if folder.is_symlink() or not folder.is_dir():
            return
        files = [file for file in folder.iterdir() if file.name != OUTPUT_FOLDER]
        if not files and task.render.manifest is None:
            return
        days = _days(task.days_projects)
        text = (
            f"Its project was deleted {days} after its end, as the subscription {task.subscription} has it: "
            "it cannot be rendered again."
        )
        forget = partial(storage.forget_project, task.render.file_path)
        if self._remove(task, files, text, forget):
            done.projects += 1

    def _remove(
        self, task: Ended, files: list[Path], text: str, write_more: Callable[[], None]
    ) -> bool:
        """Take these out of the task's folder, and say so; whether the task was still over.

        They leave the folder in the transaction that has the task, so that nobody begins to render
        what is on its way out, and are deleted afterwards.
        """
        away = self._stores.folders.aside(task.render.task_dir)

        def write(tx: Transaction) -> bool:
            job = tasks.locked(task.task_id)
            if job is None or not _is_over(job, task):
                return False
            for part in _parts(job):
                tasks.add_warning(part, text, datetime.now(UTC), always=True)
            write_more()
            self._stores.folders.put_aside(files, away)
            return True

        try:
            return self._stores.database.transact(write)
        except OSError as error:  # on Windows, somebody reads one of them
            log.warning("the files of task %d cannot go just now: %s", task.task_id, error)
            return False
        finally:
            self._stores.folders.discard(away)

    # ------------------------------------------------------------------ contents

    def _forget_projects(self, now: datetime) -> None:
        """Projects that no task has; their contents have been wanted until now."""
        while True:
            with self._stores.database.reading():
                unused = storage.unused_manifests(BATCH)
            if not unused:
                return
            for sha256 in unused:
                self._stores.database.transact(partial(_forget_project, sha256, now))

    def _drop_contents(self, now: datetime, grace: timedelta, done: CleanResponse) -> None:
        moments = (now - grace, now - grace + KEPT_FOR)
        last = ""
        while True:
            with self._stores.database.reading():
                hashes = storage.unused_contents(*moments, last, BATCH)
            if not hashes:
                return
            last = hashes[-1]
            freed = self._stores.contents.drop_unused(hashes, *moments)
            done.contents += len(freed)
            done.freed_bytes += sum(freed)

    def _drop_orphans(self, now: datetime, grace: timedelta, done: CleanResponse) -> None:
        """Files that a crash left without a row."""
        store = self._stores.contents.store
        found = [sha256 for sha256 in store.hashes() if store.is_older(sha256, now - grace)]
        for start in range(0, len(found), 10 * BATCH):
            some = found[start : start + 10 * BATCH]
            known = self._stores.contents.stamps(some)
            for sha256 in some:
                if sha256 not in known:
                    stamp = store.stamp(sha256)
                    self._stores.contents.drop_if_changed(sha256)
                    done.freed_bytes += stamp.size_bytes if stamp else 0


def _forget_project(sha256: str, now: datetime, _tx: Transaction) -> None:
    needed = storage.take_manifest(sha256)
    if needed:
        contents.want(needed, now + KEPT_FOR)


def _parts(job: Job) -> list[int]:
    """The tasks that show what is said of this one. In a transaction."""
    if not job.task.has_variants:
        return [job.task.task_id]
    return [task.task_id for task in tasks.variants(job.task.task_id)]


def _is_over(job: Job, task: Ended) -> bool:
    """Whether it has not come back since it was looked at."""
    ended_at = job.task.end_time or job.task.queue_time
    return job.task.state not in QUEUED_TASK and ended_at == task.ended_at


def _local(now: datetime) -> datetime:
    return now.astimezone().replace(tzinfo=None)


def _days(days: int | None) -> str:
    return "a day" if days == 1 else f"{days} days"


def _nothing() -> None:
    """Nothing more is to be written."""
