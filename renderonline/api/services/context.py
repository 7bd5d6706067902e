"""What a use case needs from the outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from renderonline.api.db.connection import Database
from renderonline.api.domain.forecast import Forecast
from renderonline.api.domain.model import Chunk
from renderonline.api.services.contents import Contents
from renderonline.api.services.fleet import Fleet
from renderonline.api.services.refusal import Refused as Refused
from renderonline.api.services.room import Room
from renderonline.api.services.storekeeping import Storekeeper
from renderonline.api.services.uploads import Uploads
from renderonline.api.storage.folders import TaskFolders
from renderonline.config import ApiSettings
from renderonline.lifecycle import Clock


class Stop(Protocol):
    """Ends a chunk on its machine."""

    def __call__(self, chunk: Chunk, reason: str, after_frame: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """The api, as its services see it. Shared by all threads."""

    database: Database
    folders: TaskFolders
    contents: Contents
    uploads: Uploads
    room: Room
    storekeeper: Storekeeper
    settings: ApiSettings
    clock: Clock
    fleet: Fleet
    wake: Callable[[], None]  # something can be dispatched; returns at once
    changed: Callable[[int], None]  # this task is not what it was; returns at once
    forecast: Callable[[int], Forecast]  # when this task is done; outside of a reading
    chunk_changed: Callable[[Chunk], None]  # began, went on or ended; returns at once
    used: Callable[[int, float], None]  # this user has used a machine for so many seconds
    machine_free: Callable[[int, int], None]  # this machine's attempt ended; returns at once
    stop_render: Stop  # end it on its machine; seconds if that is away
    background: Callable[..., None]  # call the function with the arguments, soon, elsewhere

    def local_now(self) -> datetime:
        """The moment as the original writes it: the server's local time, no offset."""
        return self.clock.now().astimezone().replace(tzinfo=None)


def whole_seconds(moment: datetime) -> datetime:
    """What the original's `datetime` columns hold."""
    return moment.replace(microsecond=0)
