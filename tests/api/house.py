"""A real api process for the tests of its routes, with an engine of any kind and some people.

Owns how its database is filled beforehand (through the admin's services, no child needed), what is
looked at afterwards (all rows, all files), and requests that no HTTP library would send.
"""

from __future__ import annotations

import shutil
import socket
import sqlite3
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from support import multipart
from support.multipart import Body
from support.processes import DEADLINE_S, Service, end_all, write_config

from renderonline.api.app import open_database
from renderonline.api.db import catalog
from renderonline.api.db.connection import Database
from renderonline.api.services import admin
from renderonline.config import ApiSettings, parse

TEMPLATE = (
    "any -i $RENDERONLINE:@uploaded_file -o $RENDERONLINE:@output_dir "
    "-s $RENDERONLINE:start_frame -e $RENDERONLINE:end_frame $RENDERONLINE:note"
)
FRAMES = {"start_frame": "1", "end_frame": "3"}

ROUTES = ("info", "enqueue", "dequeue", "download", "delete")
"""The original's five."""


@dataclass(frozen=True)
class Person:
    """A user; `headers` sign a request."""

    email: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"email": self.email, "token": self.token}


@dataclass
class House:
    """A running api. Requests go out as `artist` unless told otherwise."""

    folder: Path
    service: Service
    database_file: Path
    data: Path
    certificate: Path | None = None  # that signs for the server, where it speaks TLS
    people: dict[str, Person] = field(default_factory=dict)

    @property
    def artist(self) -> Person:
        return self.people["artist"]

    # ------------------------------------------------------------------ requests

    def request(
        self, method: str, route: str, person: Person | None = None, **options: Any
    ) -> requests.Response:
        """A request to /renderapi/v1/`route`; `options` as `requests.request` takes."""
        headers = {**(person or self.artist).headers, **options.pop("headers", {})}
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method,
                f"{self.service.url}/renderapi/v1/{route}",
                headers=headers,
                verify=str(self.certificate) if self.certificate else None,
                **{"timeout": DEADLINE_S, **options},
            )

    def post_body(self, sent: Body, person: Person | None = None) -> requests.Response:
        """Enqueue this multipart body, chunked as the original's client does."""
        return self.request(
            "POST",
            "enqueue",
            person,
            data=sent.chunks(),
            headers={"Content-Type": sent.content_type},
        )

    def enqueue(
        self,
        name: str = "scene.any",
        content: bytes = b"a project",
        arguments: Mapping[str, str] = FRAMES,
        person: Person | None = None,
        engine_id: str = "0",
        **fields: Any,
    ) -> requests.Response:
        """Enqueue a file, whatever is answered."""
        sent = multipart.enqueue_body(name, content, arguments, engine_id, **fields)
        return self.post_body(sent, person)

    def task(self, **options: Any) -> int:
        """A task in the queue; its id."""
        answer = self.enqueue(**options)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["TaskId"])

    def get(self, route: str, person: Person | None = None) -> Any:
        """The JSON of a GET that must answer 200."""
        answer = self.request("GET", route, person)
        assert answer.status_code == 200, answer.text
        return answer.json()

    # ------------------------------------------------------------------ raw sockets

    def connect(self) -> socket.socket:
        """A connection on which the test writes what it likes."""
        where = urlsplit(self.service.url)
        assert where.hostname is not None
        plain = socket.create_connection((where.hostname, where.port or 0), DEADLINE_S)
        if self.certificate is None:
            return plain
        context = ssl.create_default_context(cafile=self.certificate)
        return context.wrap_socket(plain, server_hostname=where.hostname)

    def head(self, route: str, headers: Mapping[str, str], person: Person | None = None) -> bytes:
        """The first lines of a request, the empty one included."""
        lines = [f"POST /renderapi/v1/{route} HTTP/1.1", "Host: farm"]
        lines += [f"{k}: {v}" for k, v in {**(person or self.artist).headers, **headers}.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    # ------------------------------------------------------------------ looking

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """A statement on a connection of its own."""
        with closing(sqlite3.connect(self.database_file, timeout=30)) as connection:
            found = connection.execute(sql, values).fetchall()
            connection.commit()
        return found

    def snapshot(self) -> dict[str, Any]:
        """Every table's rows and every file of the data folder but the database itself."""
        tables = [
            name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        found: dict[str, Any] = {name: self.rows(f"SELECT * FROM {name}") for name in tables}
        files = (p for p in self.data.rglob("*") if not p.name.startswith("farm.sqlite3"))
        found["files"] = sorted(p.relative_to(self.data).as_posix() for p in files)
        return found

    def task_dir(self, task_id: int) -> Path:
        """The folder that holds a task's project."""
        ((file_path,),) = self.rows(
            "SELECT file_path FROM renders JOIN tasks USING (render_id) WHERE task_id = ?", task_id
        )
        return Path(file_path).parent

    def assert_quiet(self) -> None:
        """Nothing that went wrong inside has been logged."""
        assert "Traceback" not in self.service.stderr, self.service.stderr[-6000:]


# --------------------------------------------------------------------------- building one


def fill(database: Database) -> dict[str, Person]:
    """An engine for `.any`, its argument type, and people: artist, other, admin.

    Its tasks are one piece each, though it has a frame range.
    """
    engine = {
        "name": "any",
        "extension": ".any",
        "render_argument": TEMPLATE,
        "adapter": "generic",
    }
    number = admin.add(database, "engine", engine)["engine_id"]
    in_one_piece = {"chunk_frames": 0}
    database.transact(lambda _tx: catalog.update_row("engine", number, in_one_piece))
    admin.add(
        database, "argtype", {"argtype_id": "note", "regex": "[^;]{0,40}", "default_value": "none"}
    )
    admin.change(database, "subscription", "Default", {"queue_limit": 255})
    return {
        name: person(database, f"{name}@example.com", role)
        for name, role in (("artist", "artist"), ("other", "artist"), ("admin", "admin"))
    }


def person(database: Database, email: str, role: str = "artist", **columns: Any) -> Person:
    """A new user with a token of ours."""
    row = admin.add(database, "user", {"email": email, "role": role, **columns})
    _, token = admin.issue_token(database, row["user_id"])
    return Person(email, token)


@contextmanager
def running_house(
    folder: Path,
    certificate: Any = None,
    data: Path | None = None,
    **settings: Any,
) -> Iterator[House]:
    """An api over SQLite, filled, running until the block ends. `settings` as in RenderAPI.json."""
    data = data or folder / "data"
    raw = {
        "ConnectionString": "sqlite:///farm.sqlite3",
        "Port": "0",
        "Host": "127.0.0.1",
        "DataPath": str(data),
        "PollSeconds": 0.5,
        **settings,
    }
    if certificate is not None:
        raw["Certificate"] = {
            "FullchainPemPath": str(certificate.fullchain_pem_path),
            "PrivPemPath": str(certificate.priv_pem_path),
        }
    config = write_config(folder / "RenderAPI.json", raw)
    database = open_database(parse(ApiSettings, raw, folder)[0])
    try:
        people = fill(database)
    finally:
        database.close()
    service = Service("api", config)
    signed_by = certificate.fullchain_pem_path if certificate else None
    try:
        yield House(folder, service, data / "farm.sqlite3", data, signed_by, people)
    finally:
        end_all([service])
        shutil.rmtree(data, ignore_errors=True)
