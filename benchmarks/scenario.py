"""What scale.py runs: how many machines and frames, how they behave; and the database that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from simulated_nodes import ENGINE, Behaviour

from renderonline.api import app
from renderonline.api.db import catalog, tasks
from renderonline.api.domain.model import OUTPUT_FOLDER, Engine
from renderonline.api.services import admin, commands
from renderonline.config import ApiSettings

ADAPTER = "blender"
"""One whose renderers tell their frames: of others, start-ups cannot be told from rendering."""
TEMPLATE = (
    "-b $RENDERONLINE:@uploaded_file -o $RENDERONLINE:@output_dir/frame_#### -F PNG -x 1 "
    "-s $RENDERONLINE:start_frame -e $RENDERONLINE:end_frame -a"
)
USERS = 20
PORT = 5001


@dataclass(frozen=True)
class Scenario:
    """One run."""

    name: str
    machines: int
    tasks: int
    frames: int  # of each task
    behaviour: Behaviour
    chunk_frames: int | None = None  # None: as many as the farm thinks right
    stop_after: int | None = None  # chunks; None: when everything is rendered

    def address(self, number: int) -> tuple[str, int]:
        """Where the api finds machine `number`, from 0. Nothing listens there."""
        return f"10.0.{number // 250}.{number % 250 + 1}", PORT


def fill(settings: ApiSettings, scenario: Scenario, addresses: Sequence[tuple[str, int]]) -> None:
    """A new database with users, an engine, machines and tasks."""
    database = app.open_database(settings)
    try:
        row = {"name": ENGINE, "extension": ".blend", "adapter": ADAPTER}
        engine_id = admin.add(database, "engine", {**row, "render_argument": TEMPLATE})["engine_id"]
        emails = [f"user{number}@example.com" for number in range(USERS)]
        users = [admin.add(database, "user", {"email": email}) for email in emails]
        for address, port in addresses:
            admin.add(database, "machine", {"ip_address": address, "port": port})
        with database.reading():
            engine = catalog.engine(int(engine_id))
        assert engine is not None
        ids = [int(user["user_id"]) for user in users]
        database.transact(lambda _tx: _add_tasks(settings, scenario, engine, ids))
    finally:
        database.close()


def _add_tasks(
    settings: ApiSettings, scenario: Scenario, engine: Engine, user_ids: list[int]
) -> None:
    values = {"start_frame": "1", "end_frame": str(scenario.frames)}
    for number in range(scenario.tasks):
        project = settings.data_path / "projects" / str(number) / "scene.blend"
        place = commands.Place(project, project.parent, project.parent / OUTPUT_FOLDER)
        command = commands.build(engine, values, (), place)
        render = {
            "file_name": project.name,
            "file_path": str(project),
            "file_size": 1,
            "arguments": command.arguments,
            "engine_id": engine.engine_id,
        }
        tasks.add(
            user_ids[number % USERS],
            datetime(2026, 1, 1),
            render,
            str(command.frames),
            todo=str(command.frames),
            command=command.recipe,
            chunk_frames=scenario.chunk_frames,
        )


def database_bytes(settings: ApiSettings) -> int:
    """The size of the SQLite database on the disk, which nobody has open."""
    return sum(file.stat().st_size for file in Path(settings.data_path).glob("*.sqlite3*"))
