"""A real, private MariaDB server in a folder: started, restarted, killed, one database per test.

Owns the server process and the `mariadb` client's command line. Nothing of the machine's own
server, if it has one, is touched: no default file is read, the port and socket are ours.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from .processes import DEADLINE_S
from .waiting import wait_until

USER, PASSWORD = "renderonline", "a password; with 'quotes'"
"""A password that a careless parser of connection strings would trip over."""


@dataclass(frozen=True)
class Database:
    """One empty (at first) database of the server."""

    server: MariaDb
    name: str

    @property
    def connection_string(self) -> str:
        """As the original's RenderAPI.json takes it. A value with a semicolon stands in quotes."""
        return (
            f"Server=127.0.0.1;Port={self.server.port};Database={self.name};"
            f'User Id={USER};Password="{PASSWORD}";'
        )

    def query(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Run one statement on a connection of its own; its rows."""
        connection = pymysql.connect(
            host="127.0.0.1",
            port=self.server.port,
            user=USER,
            password=PASSWORD,
            database=self.name,
            charset="utf8mb4",
            autocommit=True,
            cursorclass=pymysql.cursors.DictCursor,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall())

    def import_file(self, file: Path) -> None:
        """`mariadb DATABASE < file`, as an administrator would. Fails the test on any error."""
        with file.open("rb") as statements:
            self.server.client(self.name, stdin=statements)


class MariaDb:
    """One server with its data in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # A socket's path may have about 100 characters, which a test's folder easily exceeds; a
        # relative one is short, and the server's working directory is ours.
        self._socket = Path("s")
        self.port = _free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._install()
        self.start()
        self._create_user()

    def _temporary(self) -> Path:
        folder = self.folder.with_name(f"{self.folder.name}-temporary")
        folder.mkdir(exist_ok=True)
        return folder

    def _install(self) -> None:
        subprocess.run(
            [
                _tool("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={self.folder}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *_as_root(),
            ],
            check=True,
            capture_output=True,
            timeout=DEADLINE_S,
        )

    def start(self) -> None:
        """Start the server on the port it had before, and wait until it answers."""
        with (self.folder / "mariadbd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    _tool("mariadbd"),
                    "--no-defaults",
                    f"--datadir={self.folder}",
                    # Of its own: a server that starts empties its folder of temporary tables,
                    # and takes those of another server's for its own.
                    f"--tmpdir={self._temporary()}",
                    f"--socket={self._socket}",
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    f"--pid-file={self.folder / 'pid'}",
                    "--skip-name-resolve",
                    "--innodb-flush-log-at-trx-commit=2",  # a test needs no power-cut safety
                    *_as_root(),
                ],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, "MariaDB answers")

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            log = (self.folder / "mariadbd.log").read_text(encoding="utf-8", errors="replace")
            raise AssertionError(f"mariadbd ended with {self._process.returncode}:\n{log[-3000:]}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Shut it down in order."""
        self._process.terminate()
        self._process.wait(DEADLINE_S)

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        self._process.wait(DEADLINE_S)

    def restart(self) -> None:
        """What a machine's update does to it: down and up again, on the same port."""
        self.stop()
        self.start()

    def client(self, *arguments: str, stdin: Any = None, sql: str | None = None) -> str:
        """Run the command-line client as the server's root; its output."""
        done = subprocess.run(
            [
                _tool("mariadb"),
                "--no-defaults",
                f"--socket={self._socket}",
                "--user=root",
                "--default-character-set=utf8mb4",
                "--batch",
                *arguments,
            ],
            cwd=self.folder,
            stdin=subprocess.DEVNULL if sql is None and stdin is None else stdin,
            input=None if sql is None else sql.encode(),
            capture_output=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode()

    def _create_user(self) -> None:
        password = PASSWORD.replace("'", "''")
        for host in ("127.0.0.1", "localhost"):
            self.client(sql=f"CREATE USER '{USER}'@'{host}' IDENTIFIED BY '{password}';")

    def create_database(self) -> Database:
        """A new, empty database that `USER` may do anything with."""
        name = f"test_{secrets.token_hex(6)}"
        self.client(
            sql=f"CREATE DATABASE {name};"
            f"GRANT ALL ON {name}.* TO '{USER}'@'127.0.0.1', '{USER}'@'localhost';"
        )
        return Database(self, name)

    def drop_database(self, database: Database) -> None:
        self.client(sql=f"DROP DATABASE {database.name};")


@contextmanager
def mariadb_server(folder: Path) -> Iterator[MariaDb]:
    """A server for as long as the block lasts."""
    server = MariaDb(folder)
    try:
        yield server
    finally:
        server.stop()


def _tool(name: str) -> str:
    """A program of MariaDB's; servers live in sbin, which is not on everybody's PATH."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=path)
    assert found, f"{name} is not installed; tests/run.py installs it"
    return found


def _as_root() -> list[str]:
    """MariaDB refuses to run as root unless told to."""
    return ["--user=root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def _free_port() -> int:
    """A port nobody has now. The server keeps it over restarts, so it cannot be 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
