"""Whether there is room for what somebody wants to send, said before it is sent."""

from __future__ import annotations

import shutil

from renderonline.api.domain.model import User
from renderonline.api.services.refusal import Refused
from renderonline.config import ApiSettings


class Room:
    """The room on one api's disk. Safe from any thread."""

    def __init__(self, settings: ApiSettings) -> None:
        self._floor_bytes = settings.disk_floor_bytes
        self._folder = settings.data_path

    def free_bytes(self) -> int:
        """What is free on the disk of DataPath. Raises OSError."""
        return shutil.disk_usage(self._folder).free

    def check(self, user: User, size_bytes: int) -> None:
        """Raises Refused 507 if so much more of this user's cannot be taken."""
        self.check_disk(size_bytes)

    def check_disk(self, size_bytes: int) -> None:
        """Raises Refused 507 if so much more would bring the disk below its floor."""
        free_bytes = self.free_bytes()
        if free_bytes - size_bytes < self._floor_bytes:
            raise Refused(
                507,
                "disk_full",
                f"The server's disk is full: {said(free_bytes)} are free, {said(size_bytes)} were to "
                f"be sent, and {said(self._floor_bytes)} stay free.",
                "An admin can free some: `renderonline admin storage`.",
            )


def said(size_bytes: int) -> str:
    """A size for people: 1.5 GiB."""
    size, unit = float(size_bytes), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
