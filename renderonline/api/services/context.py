"""What a use case needs from the outside, and the error it answers with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from renderonline.api.db.connection import Database
from renderonline.api.domain.model import Chunk
from renderonline.api.storage.folders import TaskFolders
from renderonline.config import ApiSettings
from renderonline.lifecycle import Clock


class Refused(Exception):
    """A request that cannot be carried out. `status` is HTTP's, the text a sentence."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Context:
    """The api, as its services see it. Shared by all threads."""

    database: Database
    folders: TaskFolders
    settings: ApiSettings
    clock: Clock
    wake: Callable[[], None]  # something can be dispatched; returns at once
    machine_free: Callable[[int], None]  # this machine's render ended; returns at once
    stop_render: Callable[[Chunk, str], None]  # end it on its machine; seconds if that is away
    background: Callable[..., None]  # call the function with the arguments, soon, elsewhere

    def local_now(self) -> datetime:
        """The moment as the original writes it: the server's local time, no offset."""
        return self.clock.now().astimezone().replace(tzinfo=None)


def whole_seconds(moment: datetime) -> datetime:
    """What the original's `datetime` columns hold."""
    return moment.replace(microsecond=0)
