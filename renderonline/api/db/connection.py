"""The connection to either database, and the one way to write.

Everything that is written goes through `Database.transact`; everything read through
`Database.reading`. Both may be called from any thread. peewee's errors do not leave this package.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import peewee
from playhouse.pool import PooledMySQLDatabase, PooledSqliteDatabase
from playhouse.shortcuts import ReconnectMixin
from pymysql.constants import CLIENT

from renderonline import paths
from renderonline.api.db.connection_string import MySqlTarget, SqliteTarget, Target

log = logging.getLogger(__name__)

T = TypeVar("T")

proxy = peewee.DatabaseProxy()
"""What the models are bound to; `open_database` points it at a database. One per process."""

CONNECTIONS = 128
"""More than the threads that can ask at once: HTTP's, the dispatcher's pool's and the loops'."""

BUSY_TIMEOUT_S = 10
"""How long SQLite waits for another writer."""

TRIES = 8
"""How often a write is tried that another writer got in the way of."""

# MySQL: 1021 disk full, 1114 table full. SQLite says it in words.
_MYSQL_FULL = {1021, 1114}

# MySQL: 1205 lock wait timeout, 1213 deadlock. The server has rolled back; trying again is right.
_MYSQL_RETRY = {1205, 1213}


class DatabaseError(Exception):
    """The database cannot be used just now. Its text is a sentence without a secret."""


class DatabaseFull(DatabaseError):
    """There is no room left on the database's disk; nothing was written."""


class Stale(Exception):
    """What a write was decided on has changed meanwhile. Raised inside `transact`, which begins
    anew and reads again."""


class Transaction:
    """One write in progress. What must happen outside the database waits here for the commit."""

    def __init__(self) -> None:
        self._effects: list[Callable[[], None]] = []

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Run `effect` once the write is on disk, on the writing thread; not if it rolls back."""
        self._effects.append(effect)

    def run_effects(self) -> None:
        for effect in self._effects:
            effect()


class _Sqlite(PooledSqliteDatabase):  # type: ignore[misc]
    field_types = {  # noqa: RUF012
        "UBIGINT": "INTEGER",
        "UINT": "INTEGER",
        "UAUTO": "INTEGER",
        "UBIGAUTO": "INTEGER",
        "FLAG": "INTEGER",
        "UTC": "TEXT",
        "SHA256": "TEXT",
        "FOLDED": "TEXT COLLATE NOCASE",
    }

    def _connect(self) -> Any:
        """While a new file is turned to WAL by another program, SQLite fails at once, not waits."""
        end = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                return super()._connect()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def rollback(self) -> None:
        """On a full disk SQLite has rolled back by itself, and refuses to do it again."""
        if self.connection().in_transaction:
            super().rollback()


class _MySql(ReconnectMixin, PooledMySQLDatabase):  # type: ignore[misc]
    field_types = {  # noqa: RUF012
        "UBIGINT": "BIGINT UNSIGNED",
        "UINT": "INT UNSIGNED",
        "UAUTO": "INT UNSIGNED AUTO_INCREMENT",
        "UBIGAUTO": "BIGINT UNSIGNED AUTO_INCREMENT",
        "FLAG": "TINYINT(1)",
        "UTC": "DATETIME(6)",
        "SHA256": "CHAR(64) CHARACTER SET ascii COLLATE ascii_bin",
        "FOLDED": "VARCHAR",
    }


def is_mysql() -> bool:
    """Whether the open database is MySQL or MariaDB."""
    return isinstance(proxy.obj, _MySql)


class Database:
    """An open database. Close it when done."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.is_mysql = isinstance(target, MySqlTarget)
        self.peewee = _mysql(target) if isinstance(target, MySqlTarget) else _sqlite(target)
        # SQLite has one writer at a time, and lets the others sleep for ever longer between two
        # tries. Our own threads take turns here, and wait no longer than they must.
        self._turn: AbstractContextManager[Any] = (
            nullcontext() if self.is_mysql else threading.RLock()
        )
        proxy.initialize(self.peewee)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A connection for reads. Keep it short: never across a request to a machine.

        Raises DatabaseError.
        """
        try:
            with self.peewee.connection_context():
                yield
        except peewee.PeeweeException as error:
            raise _translated(error) from error

    def transact(self, write: Callable[[Transaction], T]) -> T:
        """Run `write` in one transaction, then its effects; returns what it returned.

        `write` may run several times, when another writer got in the way: it must do nothing but
        read and write this database. Raises DatabaseError.
        """
        for attempt in range(TRIES):
            transaction = Transaction()
            try:
                with self._turn, self.peewee.connection_context(), self._atomic():
                    result = write(transaction)
            except (peewee.OperationalError, Stale) as error:
                if attempt == TRIES - 1 or not _may_succeed_again(error):
                    raise _translated(error) from error
                time.sleep(random.uniform(0.005, 0.02) * 2**attempt)
                continue
            except peewee.PeeweeException as error:
                raise _translated(error) from error
            transaction.run_effects()
            return result
        raise AssertionError("unreachable")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other programs from bringing up this database meanwhile; on this thread only.

        On SQLite all that happens inside is one transaction. MySQL commits each change of a table,
        so there it is a lock of the server's that our programs ask for. Raises DatabaseError.
        """
        with self.reading():
            if not self.is_mysql:
                with self._atomic():
                    yield
                return
            name = f"renderonline {self.peewee.database}"[:64]  # the longest that MySQL takes
            if self.peewee.execute_sql("SELECT GET_LOCK(%s, 120)", (name,)).fetchone()[0] != 1:
                raise DatabaseError("Another program has been changing the database for too long.")
            try:
                yield
            finally:
                self.peewee.execute_sql("SELECT RELEASE_LOCK(%s)", (name,))

    def _atomic(self) -> Any:
        # SQLite: take the write lock at the beginning; a deferred transaction that turns into a
        # write fails at once when another one is writing. peewee reads the same argument as an
        # isolation level on MySQL, so it is passed to SQLite only.
        return self.peewee.atomic() if self.is_mysql else self.peewee.atomic("IMMEDIATE")

    def close(self) -> None:
        """Close all pooled connections. Idempotent."""
        self.peewee.close_all()


def _sqlite(target: SqliteTarget) -> _Sqlite:
    if target.file.parent != target.file:
        paths.private_dir(target.file.parent)
    # Ours alone also in a folder that others may enter; its -wal and -shm get the same mode.
    target.file.touch(mode=0o600)
    return _Sqlite(
        str(target.file),
        max_connections=CONNECTIONS,
        stale_timeout=300,
        timeout=10,
        check_same_thread=False,
        pragmas={
            "journal_mode": "wal",
            # FULL: what was acknowledged survives a power cut. Over 4,000 commits/s measured.
            "synchronous": 2,
            "busy_timeout": BUSY_TIMEOUT_S * 1000,
            "foreign_keys": 1,
        },
    )


def _mysql(target: MySqlTarget) -> _MySql:
    return _MySql(
        target.database,
        host=target.host,
        port=target.port,
        user=target.user,
        password=target.password,
        charset="utf8mb4",
        max_connections=CONNECTIONS,
        stale_timeout=300,
        timeout=10,
        connect_timeout=5,
        read_timeout=60,
        write_timeout=60,
        # Row counts are the rows that matched, as on SQLite, also when a value stayed the same.
        client_flag=CLIENT.FOUND_ROWS,
        # What is read behind a row lock is what the lock's last holder wrote; under MySQL's own
        # default it would be what was there when the transaction first read anything.
        init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        **_ssl_options(target),
    )


def _ssl_options(target: MySqlTarget) -> dict[str, Any]:
    if target.ssl_mode == "disabled":
        return {"ssl_disabled": True}
    if target.ssl_mode == "preferred":
        return {}  # PyMySQL's own default: TLS where the server has it
    context = ssl.create_default_context(cafile=target.ssl_ca)
    context.check_hostname = target.ssl_mode == "verifyfull"
    if target.ssl_mode == "required":
        context.verify_mode = ssl.CERT_NONE
    return {"ssl": context}


def _may_succeed_again(error: Exception) -> bool:
    if isinstance(error, Stale):
        return True
    code = error.args[0] if error.args else None
    return code in _MYSQL_RETRY or "database is locked" in str(error)


def _translated(error: Exception) -> DatabaseError:
    text = str(error.args[-1] if error.args else error)
    code = error.args[0] if error.args else None
    kind = DatabaseFull if code in _MYSQL_FULL or "disk is full" in text else DatabaseError
    return kind(f"The database says: {text}")
