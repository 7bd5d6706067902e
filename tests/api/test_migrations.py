"""Any database comes up: nothing at all, the original's with rows, ours again; a newer one does not."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support import original_database
from support.mariadb import Database as MariaDatabase
from support.original_database import DEQUEUED, FAILED, FINISHED, QUEUED, RUNNING
from support.processes import DEADLINE_S, private_environment

from renderonline.api.app import open_database
from renderonline.api.db import catalog, chunks, tasks
from renderonline.api.db.connection import Database, DatabaseError
from renderonline.api.db.tables import ALL, SchemaVersion
from renderonline.config import ApiSettings
from renderonline.wire import ChunkState, TaskState

from .conftest import OpenDatabase

ROOT = Path(__file__).resolve().parents[2]


def rows(database: Database, sql: str) -> list[tuple[Any, ...]]:
    """A statement of the test's own, on the database that is open."""
    with database.reading():
        return [tuple(row) for row in database.peewee.execute_sql(sql).fetchall()]


def execute(database: Database, sql: str) -> None:
    with database.reading():
        database.peewee.execute_sql(sql)


# --------------------------------------------------------------------------- from nothing


def test_nothing_becomes_a_farm(database: Database) -> None:
    assert rows(database, "SELECT name, queue_limit FROM subscriptions") == [("Default", 100)]
    assert rows(database, "SELECT name, extension FROM engines") == [("blender", ".blend")]
    types = rows(database, "SELECT argtype_id, type FROM argtypes ORDER BY argtype_id")
    assert types == [
        ("end_frame", "natural"),
        ("output_format", "extension"),
        ("start_frame", "natural"),
    ]
    for table in ("users", "machines", "renders", "tasks", "queue"):
        assert rows(database, f"SELECT * FROM {table}") == []


def test_twice_does_no_harm(open_again: OpenDatabase) -> None:
    first = everything(open_again())
    assert everything(open_again()) == first


def test_what_an_admin_emptied_stays_empty(open_again: OpenDatabase) -> None:
    """Only a database without any row that an admin makes is a new one."""
    database = open_again()
    execute(database, "DELETE FROM engines")
    database.close()
    assert rows(open_again(), "SELECT * FROM engines") == []


def test_newer_version_is_refused_with_a_sentence(
    open_again: OpenDatabase, settings: ApiSettings
) -> None:
    database = open_again()
    execute(database, "UPDATE schema_version SET version = 99")
    before = everything(database)
    with pytest.raises(DatabaseError, match=r"version 99.*newer RenderOnline.*Start the newer"):
        open_database(settings)
    assert everything(database) == before


@pytest.mark.parametrize("earlier", [False, True], ids=["nothing", "earlier version"])
def test_several_programs_may_come_first(
    connection_string: str, open_again: OpenDatabase, tmp_path: Path, earlier: bool
) -> None:
    """An api and an admin's commands, started at once, bring the database up once."""
    if earlier:
        database = open_again()
        execute(database, "ALTER TABLE tasks DROP COLUMN cause")
        execute(database, "ALTER TABLE engines DROP COLUMN file_pattern")
        database.close()
    children = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, connection_string, str(tmp_path / "data")],
            env=private_environment(tmp_path / "home"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate(timeout=DEADLINE_S) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0, 0], said
    assert {out for out, _ in said} == {"['blender']\n"}, "each sees the one engine"


OPENER = """
import sys
from pathlib import Path
from renderonline.api.app import open_database
from renderonline.api.db import catalog
from renderonline.config import ApiSettings
settings = ApiSettings(connection_string=sys.argv[1], data_path=Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
database = open_database(settings)
with database.reading():
    print([engine.name for engine in catalog.engines()])
"""
"""A program that opens a database when it is told to, its imports done before."""


def everything(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    names = [table._meta.table_name for table in ALL]
    return {name: rows(database, f"SELECT * FROM {name}") for name in names}


# --------------------------------------------------------------------------- from the original


@pytest.fixture
def adopted(mariadb_database: MariaDatabase, tmp_path: Path) -> Any:
    """The original's live database, under ours."""
    original_database.create(mariadb_database, tmp_path / "downloads")
    database = open_database(settings_of(mariadb_database, tmp_path))
    yield database
    database.close()


def test_originals_tasks_have_their_state(
    adopted: Database, mariadb_database: MariaDatabase
) -> None:
    found = mariadb_database.query("SELECT * FROM tasks ORDER BY task_id")
    states = {row["task_id"]: TaskState(row["state"]) for row in found}
    assert states == {
        FINISHED: TaskState.SUCCEEDED,
        FAILED: TaskState.FAILED,
        QUEUED: TaskState.QUEUED,
        RUNNING: TaskState.RUNNING,
        DEQUEUED: TaskState.CANCELLED,
    }
    by_id = {row["task_id"]: row for row in found}
    assert by_id[FINISHED]["end_time"] == datetime(2024, 8, 27, 20, 5)
    assert by_id[RUNNING]["start_time"] == datetime(2024, 8, 27, 23, 0, 15)
    # the one that clients showed busy for ever
    assert by_id[DEQUEUED]["is_running"] == 0
    assert by_id[DEQUEUED]["end_time"] is not None


def test_originals_rows_are_what_they_were(mariadb_database: MariaDatabase, tmp_path: Path) -> None:
    original_database.create(mariadb_database, tmp_path / "downloads")
    kept = {
        "subscriptions": "*",
        "users": "*",
        "engines": "*",
        "argtypes": "*",
        "machines": "*",
        "renders": "*",
        "queue": "*",
        "tasks": "task_id, user_id, queue_time, start_time, is_success, render_id, machine_id",
    }
    before = {t: mariadb_database.query(f"SELECT {c} FROM {t} ORDER BY 1") for t, c in kept.items()}
    open_database(settings_of(mariadb_database, tmp_path)).close()
    for table, earlier in before.items():
        after = mariadb_database.query(f"SELECT * FROM {table} ORDER BY 1")
        assert [{k: row[k] for k in earlier[0]} for row in after] == earlier, table


def test_originals_users_keep_their_tokens(adopted: Database) -> None:
    with adopted.reading():
        zoe = catalog.user_by_email("ZOE@example.com")
        nobody = catalog.user_by_email("empty@example.com")
    assert zoe is not None and nobody is not None
    assert (zoe[0].user_id, zoe[0].first_name, zoe[1]) == (2, "Zoë", "MY-SECRET-TOKEN")
    assert nobody[1] == ""


def test_originals_running_task_is_watched(adopted: Database) -> None:
    """What the old node renders right now has a chunk: the poll goes on with it."""
    with adopted.reading():
        (chunk,) = chunks.of_task(RUNNING)
        untouched = chunks.of_task(QUEUED)
        waiting = tasks.place_in_queue(QUEUED)
    assert (chunk.state, chunk.machine_id) == (ChunkState.RUNNING, 1)
    assert chunk.started_at is not None
    assert chunk.started_at.astimezone().replace(tzinfo=None) == datetime(2024, 8, 27, 23, 0, 15)
    assert waiting is not None and untouched == []


def test_adopted_once(adopted: Database, tmp_path: Path, mariadb_database: MariaDatabase) -> None:
    before = everything(adopted)
    again = open_database(settings_of(mariadb_database, tmp_path))
    assert everything(again) == before
    again.close()


def settings_of(database: MariaDatabase, folder: Path) -> ApiSettings:
    return ApiSettings(connection_string=database.connection_string, data_path=folder / "data")


ORIGINALS_INSERTS = (
    "INSERT INTO subscriptions (subscription_id, name, queue_limit) VALUES (9, 'Old', 3)",
    "INSERT INTO users (first_name, last_name, email, subscription_id, is_active, token)"
    " VALUES ('Test', 'User', 'by-hand@example.com', 9, 1, 'my-secret-token')",
    "INSERT INTO engines (engine_id, name, extension, download_path, render_argument)"
    " VALUES (9, 'old', '.old', '/srv/x', 'old $RENDERONLINE:@uploaded_file')",
    "INSERT INTO argtypes (argtype_id, type, regex) VALUES ('quality', 'natural', NULL)",
    "INSERT INTO machines (machine_id, ip_address, port) VALUES (300, '192.168.1.10', 5001)",
    "INSERT INTO renders (render_id, file_name, file_path, file_size, arguments, engine_id)"
    " VALUES (900, 'x.old', '/srv/x/1/2/x.old', 5, 'old /srv/x/1/2/x.old', 9)",
    "INSERT INTO tasks (task_id, user_id, queue_time, is_running, is_success, render_id)"
    " VALUES (9000, 1, '2026-01-01 10:00:00', 0, 0, 900)",
    "INSERT INTO queue (task_id) VALUES (9000)",
)


def check_originals_inserts(database: Database) -> None:
    """Rows as the original, or its README, writes them: columns named, none of ours."""
    for statement in ORIGINALS_INSERTS:
        execute(database, statement)
    with database.reading():
        job = tasks.job(9000)
        machine = catalog.machine(300)
        waiting = tasks.versions()
        by_hand = catalog.user_by_email("by-hand@example.com")
    assert job is not None and machine is not None and by_hand is not None
    assert (job.task.state, job.engine.name, job.task.version) == (TaskState.QUEUED, "old", 0)
    assert machine.ip_address == "192.168.1.10"
    assert 9000 in waiting
    assert by_hand[1] == "my-secret-token"


def test_originals_inserts_still_work(database: Database) -> None:
    check_originals_inserts(database)


def test_originals_inserts_still_work_in_its_own_database(adopted: Database) -> None:
    check_originals_inserts(adopted)


ENGINE_256 = (
    "INSERT INTO engines (engine_id, name, extension, download_path, render_argument)"
    " VALUES (256, 'e', '.e', '', 'e')"
)


def test_ids_grow_beyond_the_originals_bytes(adopted: Database) -> None:
    execute(adopted, ENGINE_256)
    execute(adopted, "UPDATE renders SET engine_id = 256 WHERE render_id = 5")
    execute(adopted, "UPDATE tasks SET machine_id = 70000, user_id = 70000 WHERE task_id = 120")
    with adopted.reading():
        job = tasks.job(FINISHED)
    assert job is not None
    assert (job.engine.engine_id, job.task.machine_id, job.task.user_id) == (256, 70000, 70000)


def test_earlier_version_of_ours_keeps_its_states(
    open_again: OpenDatabase, settings: ApiSettings
) -> None:
    """A column that is missing is added; what the rows say is not derived anew."""
    database = open_again()
    for statement in ORIGINALS_INSERTS[:-1]:
        execute(database, statement)
    execute(database, "UPDATE tasks SET state = 'cancelled', message = 'by hand'")
    execute(database, "ALTER TABLE tasks DROP COLUMN cause")
    execute(database, "DROP TABLE task_warnings")
    database.close()
    again = open_again()
    with again.reading():
        job = tasks.job(9000)
        assert tasks.warnings(9000) == []
    assert job is not None
    assert (job.task.state, job.task.message, job.task.cause) == (
        TaskState.CANCELLED,
        "by hand",
        None,
    )


# --------------------------------------------------------------------------- schema.sql


def shape(database: MariaDatabase) -> dict[str, list[dict[str, Any]]]:
    """All that a schema is: columns, keys, foreign keys, tables."""
    where = "TABLE_SCHEMA = DATABASE()"
    return {
        "columns": database.query(
            "SELECT TABLE_NAME, ORDINAL_POSITION, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, "
            "COLUMN_DEFAULT, EXTRA, COLUMN_KEY, COLLATION_NAME "
            f"FROM information_schema.COLUMNS WHERE {where} ORDER BY 1, 2"
        ),
        "keys": database.query(
            "SELECT TABLE_NAME, COLUMN_NAME, SEQ_IN_INDEX, NON_UNIQUE "
            f"FROM information_schema.STATISTICS WHERE {where} ORDER BY 1, 2, 3, 4"
        ),
        "references": database.query(
            "SELECT TABLE_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME "
            f"FROM information_schema.KEY_COLUMN_USAGE WHERE {where} "
            "AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY 1, 2"
        ),
        "rules": database.query(
            "SELECT TABLE_NAME, REFERENCED_TABLE_NAME, DELETE_RULE, UPDATE_RULE "
            "FROM information_schema.REFERENTIAL_CONSTRAINTS "
            "WHERE CONSTRAINT_SCHEMA = DATABASE() ORDER BY 1, 2"
        ),
        "tables": database.query(
            "SELECT TABLE_NAME, ENGINE, TABLE_COLLATION "
            f"FROM information_schema.TABLES WHERE {where} ORDER BY 1"
        ),
    }


def test_schema_sql_is_what_migrations_make(
    mariadb_database: MariaDatabase, tmp_path: Path
) -> None:
    open_database(settings_of(mariadb_database, tmp_path)).close()
    made = shape(mariadb_database)
    server = mariadb_database.server
    other = server.create_database()
    try:
        other.import_file(ROOT / "schema.sql")
        imported = shape(other)
    finally:
        server.drop_database(other)
    for part, expected in made.items():
        assert imported[part] == expected, part
    assert len(made["columns"]) > 50, "the comparison saw the tables"


def test_schema_sql_can_be_imported_twice_and_then_be_a_farm(
    mariadb_database: MariaDatabase, tmp_path: Path
) -> None:
    mariadb_database.import_file(ROOT / "schema.sql")
    mariadb_database.import_file(ROOT / "schema.sql")
    before = shape(mariadb_database)
    database = open_database(settings_of(mariadb_database, tmp_path))
    try:
        assert rows(database, "SELECT name FROM engines") == [("blender",)]
        with database.reading():
            assert SchemaVersion.select().count() == 1
    finally:
        database.close()
    assert shape(mariadb_database) == before
