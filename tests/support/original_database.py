"""A live database of the original: its tables, its rows, and the task folders they speak of."""

from __future__ import annotations

from pathlib import Path

from .mariadb import Database

HERE = Path(__file__).resolve().parent
ORIGINAL_FOLDER = "/srv/renderonline/downloads"

FINISHED, FAILED, QUEUED, RUNNING, DEQUEUED = 120, 121, 122, 123, 124
"""The task ids of original_rows.sql."""


def create_tables(database: Database) -> None:
    """The eight empty tables."""
    database.import_file(HERE / "original.sql")


def create(database: Database, downloads: Path) -> None:
    """Tables and rows, with `downloads` for the engine's download path and a file per task."""
    create_tables(database)
    rows = (HERE / "original_rows.sql").read_text(encoding="utf-8")
    own = downloads.parent / "original_rows.sql"
    own.write_text(rows.replace(ORIGINAL_FOLDER, downloads.as_posix()), encoding="utf-8")
    database.import_file(own)
    for render in database.query("SELECT file_path, file_size FROM renders"):
        project = Path(render["file_path"])
        project.parent.mkdir(parents=True)
        project.write_bytes(b"BLENDER-v304" + bytes(render["file_size"] - 12))


def point_machine_at(database: Database, machine_id: int, port: int) -> None:
    """Give a machine of the rows the port of a node that is there."""
    database.query("UPDATE machines SET port = %s WHERE machine_id = %s", port, machine_id)
