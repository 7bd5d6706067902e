"""What takes the farm's disk, as an admin sees it."""

from __future__ import annotations

from renderonline.wire.message import Message


class UserStorage(Message):
    """A content that several users have in their projects counts for each."""

    user_id: int
    email: str
    tasks: int  # how many
    projects_bytes: int = 0
    results_bytes: int = 0
    uploads_bytes: int = 0  # on their way, at full length, and what is in no project yet
    used_bytes: int = 0  # all three
    quota_bytes: int | None = None  # None: no limit


class StorageResponse(Message):
    disk_total_bytes: int
    disk_free_bytes: int
    disk_floor_bytes: int  # what has to stay free
    contents: int  # how many files of projects, each once
    contents_bytes: int
    unused_bytes: int  # of the contents, those that no task needs any more
    results_bytes: int
    uploads_bytes: int  # what has come of those on their way
    users: list[UserStorage] = []


class CleanResponse(Message):
    """What a clean-up has removed."""

    freed_bytes: int = 0
    contents: int = 0  # how many that no task needed
    uploads: int = 0  # how many that were abandoned
    results: int = 0  # of how many tasks
    projects: int = 0  # of how many tasks
