"""Everything that holds files of one api, built from its settings; the command line has it as well."""

from __future__ import annotations

from dataclasses import dataclass

from renderonline.api.db.connection import Database
from renderonline.api.services.contents import Contents
from renderonline.api.services.room import Room
from renderonline.api.services.uploads import Uploads
from renderonline.api.services.usage import Usage
from renderonline.api.storage.contents import ContentStore
from renderonline.api.storage.folders import TaskFolders
from renderonline.api.storage.uploads import UploadStore
from renderonline.config import ApiSettings
from renderonline.lifecycle import Clock


@dataclass(frozen=True, slots=True)
class Stores:
    """The files below DataPath, and what is known of them."""

    database: Database
    folders: TaskFolders
    contents: Contents
    uploads: Uploads
    usage: Usage
    room: Room

    def close(self) -> None:
        """Nothing comes any more; other programs may have what was this one's."""
        self.uploads.close()
        self.folders.close()


def open_stores(settings: ApiSettings, database: Database, clock: Clock) -> Stores:
    """Make what is not there yet. Raises OSError. To be closed."""
    upload_store = UploadStore(settings.data_path / "uploads")
    contents = Contents(database, ContentStore(settings.data_path / "contents"), clock)
    usage = Usage(database, upload_store)
    room = Room(settings, database, usage, clock)
    return Stores(
        database=database,
        folders=TaskFolders(settings.data_path),
        contents=contents,
        uploads=Uploads(upload_store, contents, room, settings),
        usage=usage,
        room=room,
    )
