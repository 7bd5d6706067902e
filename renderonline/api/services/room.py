"""Whether there is room for what somebody wants to send, said before it is sent: the disk's floor,
and what a user's subscription allows."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from renderonline import sizes
from renderonline.api.db import contents, storage
from renderonline.api.db.connection import Database
from renderonline.api.domain.model import User
from renderonline.api.services.refusal import Refused
from renderonline.api.services.usage import Usage
from renderonline.config import ApiSettings
from renderonline.lifecycle import Clock

MEASURED_EVERY_S = 60.0
"""How old a measurement of what a user has may be that lets something in. None is refused by it."""

RESULTS_SHARE = 0.5
"""How much of the floor results leave free. Less than projects do: what is rendered already comes in
for a while yet where nothing new is taken. The database may need the rest, also to become smaller."""


@dataclass(slots=True)
class _Estimate:
    """What a user had, and what they were allowed since."""

    used_bytes: int
    measured_s: float


class Room:
    """The room on one api's disk. Safe from any thread. Its methods raise DatabaseError, OSError."""

    def __init__(
        self, settings: ApiSettings, database: Database, usage: Usage, clock: Clock
    ) -> None:
        self.floor_bytes = settings.disk_floor_bytes
        self._folder = settings.data_path
        self._database = database
        self._usage = usage
        self._clock = clock
        self._lock = threading.Lock()
        self._estimates: dict[int, _Estimate] = {}

    def disk_bytes(self) -> tuple[int, int]:
        """The size of DataPath's disk, and what is free on it."""
        usage = shutil.disk_usage(self._folder)
        return usage.total, usage.free

    def check(self, user: User, size_bytes: int) -> None:
        """Raises Refused 507 if so much more of this user's cannot be taken."""
        self.check_disk(size_bytes)
        self._check_quota(user, size_bytes)

    def check_disk(self, size_bytes: int) -> None:
        """Raises Refused 507 if so much more would bring the disk below its floor."""
        _total, free_bytes = self.disk_bytes()
        if free_bytes - size_bytes < self.floor_bytes:
            raise Refused(
                507,
                "disk_full",
                f"The server's disk is full: {sizes.text(free_bytes)} are free, "
                f"{sizes.text(size_bytes)} were to be sent, and {sizes.text(self.floor_bytes)} stay "
                "free.",
                "An admin can see what takes it, and clean up: `renderonline admin storage`.",
            )

    def check_result(self, size_bytes: int) -> None:
        """Raises Refused 507 if so much more of results cannot be taken just now. A quota is none for
        what was let in: it is measured with the results, and refuses the user's next project."""
        if self.is_short(size_bytes):
            message = "The server's disk is full. The node keeps the file for now."
            raise Refused(507, "disk_full", message)

    def is_short(self, size_bytes: int = 0) -> bool:
        """Whether so much of results does not come in. Without any to come, nothing is begun, either."""
        try:
            _total, free_bytes = self.disk_bytes()
        except OSError:
            return False  # whoever writes there is told what is wrong with it
        return free_bytes - size_bytes < self.floor_bytes * RESULTS_SHARE

    def check_project(self, user: User, manifest: str, hashes: Sequence[str]) -> None:
        """Raises Refused 507 if these contents, which others may have sent, are too much for the
        user's quota. Those that are the user's already count nothing."""
        with self._database.reading():
            if storage.quota_of(user.user_id) is None:
                return
            if storage.has_project(user.user_id, manifest):
                return
            own = storage.counted(user.user_id, hashes)
            more = contents.known([sha256 for sha256 in hashes if sha256 not in own])
        if more:
            self._check_quota(user, sum(size_bytes for size_bytes, _ in more.values()))

    def _check_quota(self, user: User, size_bytes: int) -> None:
        with self._database.reading():
            quota = storage.quota_of(user.user_id)
        if quota is None:
            return
        with self._lock:
            now_s = self._clock.monotonic()
            estimate = self._estimates.get(user.user_id)
            is_old = estimate is None or now_s - estimate.measured_s > MEASURED_EVERY_S
            if estimate is None or is_old or estimate.used_bytes + size_bytes > quota:
                estimate = _Estimate(self._usage.of(user.user_id).total, now_s)
                self._estimates[user.user_id] = estimate
            if estimate.used_bytes + size_bytes > quota:
                raise _over(estimate.used_bytes, quota, size_bytes)
            estimate.used_bytes += size_bytes


def _over(used_bytes: int, quota: int, size_bytes: int) -> Refused:
    more = f"; {sizes.text(size_bytes)} more do not fit" if size_bytes else ""
    return Refused(
        507,
        "quota",
        f"Your files take {sizes.text(used_bytes)} of the {sizes.text(quota)} that your subscription "
        f"allows{more}.",
        "Delete tasks that you do not need any more, or ask an admin for a larger quota.",
    )
