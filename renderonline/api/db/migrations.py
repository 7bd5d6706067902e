"""Brings any database up to this version: nothing at all, the original's, an earlier one of ours.

The shape is brought up by comparing it with `tables`: what is missing is added, what is too narrow
is widened, nothing is renamed or dropped. What the rows must say afterwards is a numbered step.
Runs at every start, before anything else; twice does no harm, and two programs at once take turns.
"""

from __future__ import annotations

import logging
from datetime import datetime

import peewee

from renderonline.api.db import tables
from renderonline.api.db.connection import Database, DatabaseError, Transaction
from renderonline.wire import ChunkState, TaskState

log = logging.getLogger(__name__)

VERSION = 3
"""Version of the data. A database that says a higher one was written by a newer program."""

# The original's one- and two-byte ids: (table, column). MySQL only; SQLite's integers have no width.
_WIDENED = (
    ("users", "user_id"),
    ("users", "subscription_id"),
    ("subscriptions", "subscription_id"),
    ("engines", "engine_id"),
    ("machines", "machine_id"),
    ("renders", "engine_id"),
    ("tasks", "user_id"),
    ("tasks", "machine_id"),
)
_MYSQL_TABLE = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci"
_NARROW = ("tinyint", "smallint", "mediumint")


def bring_up(database: Database) -> None:
    """Create or update everything. The caller keeps other programs out meanwhile (`alone`).

    Raises DatabaseError, also when the database belongs to a newer program.
    """
    with database.reading():
        existing = set(database.peewee.get_tables())
        is_new = "users" not in existing
        version = _version(existing)
        if version > VERSION:
            raise DatabaseError(
                f"This database is of version {version}, made by a newer RenderOnline; this one "
                f"knows up to {VERSION}. Start the newer program."
            )
        if database.is_mysql:
            _prepare_mysql(database)
        if not is_new and database.is_mysql:
            _widen_ids(database)  # before our tables, whose foreign keys want equal types
        for table in tables.ALL:  # in this order: ours refer to the original's
            table._meta.table_settings = [_MYSQL_TABLE] if database.is_mysql else []
            table.create_table(safe=True)
        if not is_new:
            _add_columns(database)
            _add_indexes(database)
    database.transact(lambda tx: _bring_up_rows(tx, is_original=not is_new and version == 0))


def _version(existing: set[str]) -> int:
    if "schema_version" not in existing:
        return 0
    return int(
        tables.SchemaVersion.select(peewee.fn.MAX(tables.SchemaVersion.version)).scalar() or 0
    )


def _prepare_mysql(database: Database) -> None:
    # An engine with the id 0, which the original's client asks for, must not be renumbered.
    database.peewee.execute_sql(
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"
    )


def _add_columns(database: Database) -> None:
    for table in tables.ALL:
        name = table._meta.table_name
        present = {column.name.lower() for column in database.peewee.get_columns(name)}
        for field in table._meta.sorted_fields:
            if field.column_name.lower() not in present:
                log.info("database: adding %s.%s", name, field.column_name)
                context = database.peewee.get_sql_context()
                column = context.sql(field.ddl(context)).query()[0]
                database.peewee.execute_sql(f"ALTER TABLE {name} ADD COLUMN {column}")


def _add_indexes(database: Database) -> None:
    for table in tables.ALL:
        present = {index.name for index in database.peewee.get_indexes(table._meta.table_name)}
        for index in table._meta.fields_to_index():
            name = index._name
            if name not in present:
                log.info("database: adding the index %s", name)
                database.peewee.execute(index.safe(False))


def _widen_ids(database: Database) -> None:
    for table, column in _WIDENED:
        row = database.peewee.execute_sql(
            "SELECT COLUMN_TYPE, IS_NULLABLE, COLUMN_KEY FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s AND COLUMN_NAME = %s",
            (table, column),
        ).fetchone()
        if row is None or not str(row[0]).lower().startswith(_NARROW):
            continue
        log.info("database: widening %s.%s", table, column)
        nullable = "NULL" if row[1] == "YES" else "NOT NULL"
        auto = " AUTO_INCREMENT" if row[2] == "PRI" else ""
        database.peewee.execute_sql(
            f"ALTER TABLE `{table}` MODIFY COLUMN `{column}` INT UNSIGNED {nullable}{auto}"
        )


def _bring_up_rows(_transaction: Transaction, *, is_original: bool) -> None:
    if is_original:
        _adopt_tasks()
    tables.SchemaVersion.delete().execute()
    tables.SchemaVersion.insert(version=VERSION).execute()


def _adopt_tasks() -> None:
    """Give the original's tasks their state, which there follows from four columns and `queue`."""
    task, queued = tables.Task, tables.Queue.select(tables.Queue.task_id)
    now = datetime.now().replace(microsecond=0)
    out = task.task_id.not_in(queued)
    task.update(state=TaskState.SUCCEEDED.value, is_running=0).where(task.is_success == 1).execute()
    done = task.select(task.task_id).where(task.is_success == 1)
    tables.Queue.delete().where(tables.Queue.task_id.in_(done)).execute()
    task.update(state=TaskState.FAILED.value).where(
        out, task.is_success == 0, task.is_running == 0, task.end_time.is_null(False)
    ).execute()
    # Dequeued: the original leaves these "running" without an end, and clients show them busy.
    task.update(state=TaskState.CANCELLED.value, is_running=0, end_time=now).where(
        out, task.is_success == 0, task.end_time.is_null()
    ).execute()
    running = task.select().where(task.task_id.in_(queued), task.is_running == 1)
    for row in list(running):
        if row.machine_id is None:
            task.update(is_running=0).where(task.task_id == row.task_id).execute()
        else:
            _adopt_running(row)


def _adopt_running(row: tables.Task) -> None:
    """A render that an original node is doing right now: the poll goes on with it."""
    start = (row.start_time or row.queue_time).astimezone()
    tables.Chunk.insert(
        task_id=row.task_id,
        machine_id=row.machine_id,
        state=ChunkState.RUNNING.value,
        key_hash="",
        assigned_at=start,
        started_at=start,
    ).execute()
    tables.Task.update(state=TaskState.RUNNING.value).where(
        tables.Task.task_id == row.task_id
    ).execute()
