"""Writing and reading: retries, effects after the commit, claims that only one gets, lost servers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from support.mariadb import Database as MariaDatabase
from support.mariadb import mariadb_server

from renderonline.api.app import open_database
from renderonline.api.db import catalog, chunks, tables, tasks
from renderonline.api.db.connection import TRIES, Database, DatabaseError, Stale, Transaction
from renderonline.api.db.connection_string import SqliteTarget
from renderonline.api.domain.model import Chunk
from renderonline.api.services import admin
from renderonline.config import ApiSettings
from renderonline.wire import ChunkState

RENDER = {
    "file_name": "x.blend",
    "file_path": "/nowhere/x.blend",
    "file_size": 1,
    "arguments": "blender -b",
    "engine_id": 1,
}


def add_task(database: Database, user_id: int = 1) -> int:
    return database.transact(lambda _tx: tasks.add(user_id, datetime(2026, 1, 1), RENDER, None))


def queue_length(database: Database) -> int:
    with database.reading():
        return len(tasks.versions())


def attempt(task_id: int, machine_id: int, now: datetime) -> Chunk:
    """A chunk that nothing is known of yet."""
    return Chunk(0, task_id, machine_id, ChunkState.ASSIGNED, None, "", 0, 0.0, 0, now)


def test_effects_follow_the_commit(database: Database) -> None:
    seen: list[int] = []

    def write(tx: Transaction) -> str:
        tx.after_commit(lambda: seen.append(queue_length(database)))
        tasks.add(1, datetime(2026, 1, 1), RENDER, None)
        assert seen == []
        return "result"

    assert database.transact(write) == "result"
    assert seen == [1]


def test_what_raises_leaves_nothing_and_has_no_effect(database: Database) -> None:
    effects: list[str] = []

    def write(tx: Transaction) -> None:
        tx.after_commit(lambda: effects.append("ran"))
        tasks.add(1, datetime(2026, 1, 1), RENDER, None)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        database.transact(write)
    assert (queue_length(database), effects) == (0, [])


def test_stale_begins_anew_and_only_the_last_try_has_effects(database: Database) -> None:
    tries: list[int] = []
    effects: list[int] = []

    def write(tx: Transaction) -> None:
        tries.append(len(tries))
        number = len(tries)
        tx.after_commit(lambda: effects.append(number))
        tasks.add(1, datetime(2026, 1, 1), RENDER, None)
        if number < 3:
            raise Stale

    database.transact(write)
    assert (len(tries), effects, queue_length(database)) == (3, [3], 1)


def test_stale_for_ever_is_an_error_of_ours(database: Database) -> None:
    tries: list[int] = []

    def write(_tx: Transaction) -> None:
        tries.append(1)
        raise Stale

    with pytest.raises(DatabaseError):
        database.transact(write)
    assert len(tries) == TRIES


def test_mistakes_in_sql_are_errors_of_ours_and_not_tried_again(database: Database) -> None:
    tries: list[int] = []

    def write(_tx: Transaction) -> None:
        tries.append(1)
        database.peewee.execute_sql("SELECT * FROM no_such_table")

    with pytest.raises(DatabaseError, match="no_such_table"):
        database.transact(write)
    assert len(tries) == 1
    with pytest.raises(DatabaseError, match="no_such_table"), database.reading():
        database.peewee.execute_sql("SELECT * FROM no_such_table")


def test_a_writer_waits_for_the_other(database: Database) -> None:
    """Read, then write what was read plus one: nothing is lost between threads."""
    add_task(database)

    def write(_tx: Transaction) -> None:
        job = tasks.job(1)
        assert job is not None
        if not tasks.set_task(1, job.task.version, message="x"):
            raise Stale

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(database.transact, write) for _ in range(24)]:
            done.result()
    with database.reading():
        job = tasks.job(1)
    assert job is not None
    assert job.task.version == 24


def test_row_that_matches_counts_also_when_it_stays_the_same(database: Database) -> None:
    """What a change answers is whether the row was as expected, on both kinds of database."""
    task_id = add_task(database)
    now = datetime.now().astimezone()
    chunk_id = database.transact(lambda _tx: chunks.add(attempt(task_id, 1, now)))

    def write(_tx: Transaction) -> bool:
        return chunks.set_(chunk_id, ChunkState.ASSIGNED, frames_done=0)

    assert database.transact(write)
    assert not database.transact(lambda _tx: chunks.set_(chunk_id, ChunkState.LOST, frames_done=0))


def test_each_of_many_claims_is_one_claimers(database: Database) -> None:
    ids = [add_task(database) for _ in range(20)]
    together = threading.Barrier(4)

    def claim_all(machine_id: int) -> list[int]:
        together.wait()
        return [task_id for task_id in ids if database.transact(claim(task_id, machine_id))]

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(claim_all, range(1, 5)))
    assert sorted(task_id for some in won for task_id in some) == ids
    with database.reading():
        assert [len(chunks.of_task(task_id)) for task_id in ids] == [1] * len(ids)


@pytest.mark.parametrize("lock", ["user", "machine"])
def test_what_is_counted_under_a_lock_is_all_there_is(database: Database, lock: str) -> None:
    """Two that count, then add: the second waits for the first, and counts what that has added."""
    admin.add(database, "user", {"email": "artist@example.com"})
    admin.add(database, "machine", {"ip_address": "127.0.0.1"})
    take = {"user": tasks.lock_user, "machine": catalog.lock_machine}[lock]
    first_has_added, second_has_counted = threading.Event(), threading.Event()

    def first(_tx: Transaction) -> None:
        take(1)
        tasks.add(1, datetime(2026, 1, 1), RENDER, None)
        first_has_added.set()
        second_has_counted.wait(0.5)  # it cannot, as long as this goes on

    def second(_tx: Transaction) -> int:
        take(1)
        counted = tasks.queued_count(1)
        second_has_counted.set()
        return counted

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(database.transact, first)
        first_has_added.wait()
        assert database.transact(second) == 1
        running.result()


def claim(task_id: int, machine_id: int) -> Callable[[Transaction], bool]:
    """A claim as the dispatcher makes it: at the version that was planned with, 0."""

    def write(_tx: Transaction) -> bool:
        if not tasks.set_task(task_id, 0, state="running", is_running=True, machine_id=machine_id):
            return False
        chunks.add(attempt(task_id, machine_id, datetime.now().astimezone()))
        return True

    return write


def test_email_is_found_in_any_case(database: Database) -> None:
    row = {"first_name": "", "last_name": "", "subscription_id": 1, "is_active": True, "token": ""}
    database.transact(lambda _tx: catalog.insert_row("user", {**row, "email": "Zoe@Example.com"}))
    with database.reading():
        assert catalog.user_by_email("zoe@example.COM") is not None
        assert catalog.user_by_email("zoe@example.co") is None


def test_argument_type_is_found_in_any_case(database: Database) -> None:
    with database.reading():
        assert catalog.find_row("argtype", "argtype_id", "START_frame") is not None


def test_ids_are_not_given_twice(database: Database) -> None:
    """A deleted task's number is never another's: clients and nodes still hold it."""
    first = add_task(database)
    database.transact(lambda _tx: tasks.delete(first, 1))
    assert add_task(database) > first


def test_what_is_about_a_task_goes_with_it(database: Database) -> None:
    task_id = add_task(database)
    now = datetime.now().astimezone()
    database.transact(lambda _tx: chunks.add(attempt(task_id, 1, now)))
    database.transact(lambda _tx: tasks.add_warning(task_id, "a texture is missing", now))
    with database.reading():
        database.peewee.execute_sql("DELETE FROM tasks")  # by hand, as an admin might
        assert tables.Chunk.select().count() == 0
        assert tables.TaskWarning.select().count() == 0


def test_new_files_can_be_opened_by_several_at_once(tmp_path: Path) -> None:
    """SQLite does not wait for the one that is just turning the file to WAL: often enough to see."""
    together = threading.Barrier(4)

    def open_it(file: Path) -> str:
        opened = Database(SqliteTarget(file))
        together.wait()
        try:
            with opened.reading():
                return str(opened.peewee.execute_sql("PRAGMA journal_mode").fetchone()[0])
        finally:
            opened.close()

    with ThreadPoolExecutor(4) as pool:
        for number in range(200):
            modes = list(pool.map(open_it, [tmp_path / f"{number}.sqlite3"] * 4))
            assert modes == ["wal"] * 4


# --------------------------------------------------------------------------- a server that goes


def settings_for(database: MariaDatabase, folder: Path) -> ApiSettings:
    return ApiSettings(
        connection_string=database.connection_string, data_path=folder / "data", port=0
    )


def test_server_restart_is_survived(tmp_path: Path) -> None:
    with mariadb_server(tmp_path / "server") as server:
        database = open_database(settings_for(server.create_database(), tmp_path))
        try:
            add_task(database)
            hold_connections(database, 4)
            server.restart()
            assert queue_length(database) == 1
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda _: add_task(database), range(8)))
            assert queue_length(database) == 9
            server.stop()
            with pytest.raises(DatabaseError):
                queue_length(database)
            with pytest.raises(DatabaseError):
                add_task(database)
            server.start()
            add_task(database)
            assert queue_length(database) == 10
        finally:
            database.close()


def hold_connections(database: Database, count: int) -> None:
    """Fill the pool with so many idle connections."""
    together = threading.Barrier(count)

    def use(_number: int) -> None:
        with database.reading():
            tables.Task.select().count()
            together.wait()

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(use, range(count)))


def test_killed_connections_are_replaced(mariadb_database: MariaDatabase, tmp_path: Path) -> None:
    database = open_database(settings_for(mariadb_database, tmp_path))
    try:
        hold_connections(database, 3)
        killed = 0
        for row in mariadb_database.query("SHOW PROCESSLIST"):
            if row["db"] == mariadb_database.name and row["Command"] == "Sleep":
                mariadb_database.query(f"KILL {row['Id']}")
                killed += 1
        assert killed >= 3
        for number in range(1, 4):
            add_task(database)
            assert queue_length(database) == number
    finally:
        database.close()


def test_a_kill_in_a_transaction_leaves_nothing(
    mariadb_database: MariaDatabase, tmp_path: Path
) -> None:
    """A half-done write is never carried on with on a new connection."""
    database = open_database(settings_for(mariadb_database, tmp_path))

    def write(_tx: Transaction) -> None:
        tasks.add(1, datetime(2026, 1, 1), RENDER, None)
        own = database.peewee.execute_sql("SELECT CONNECTION_ID()").fetchone()[0]
        mariadb_database.query(f"KILL {own}")
        tasks.add(1, datetime(2026, 1, 1), RENDER, None)

    try:
        with pytest.raises(DatabaseError):
            database.transact(write)
        assert queue_length(database) == 0
    finally:
        database.close()


def test_wrong_password_is_said_without_it(mariadb_database: MariaDatabase, tmp_path: Path) -> None:
    right = mariadb_database.connection_string
    wrong = right[: right.index("Password=")] + "Password=s3cret-but-wrong;"
    with pytest.raises(DatabaseError) as refusal:
        open_database(ApiSettings(connection_string=wrong, data_path=tmp_path))
    assert "s3cret" not in str(refusal.value)
    assert "denied" in str(refusal.value)
