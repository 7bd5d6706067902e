"""The original's README, followed: its rows by SQL, its node, its client's requests, its own queries."""

from __future__ import annotations

import io
import re
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from support import multipart
from support.mariadb import Database as MariaDatabase
from support.original_node import OriginalNode, original_node
from support.processes import DEADLINE_S, Service, end_all, write_config
from support.waiting import wait_until

from renderonline.api.app import open_database
from renderonline.config import ApiSettings

ROOT = Path(__file__).resolve().parents[2]
HEADERS = {"email": "user@example.com", "token": "my-secret-token"}

README_ROWS = """
INSERT INTO subscriptions (subscription_id, name, queue_limit)
VALUES (1, 'Default', 3);

INSERT INTO users (first_name, last_name, email, subscription_id, is_active, token)
VALUES ('Test', 'User', 'user@example.com', 1, 1, 'my-secret-token');

INSERT INTO engines (engine_id, name, extension, download_path, render_argument)
VALUES (
  1,
  'blender',
  '.blend',
  'DOWNLOADS',
  'blender -b $RENDERONLINE:@uploaded_file -s $RENDERONLINE:start_frame -e $RENDERONLINE:end_frame -a'
);

INSERT INTO argtypes (argtype_id, type, regex)
VALUES
  ('start_frame', 'natural', NULL),
  ('end_frame', 'natural', NULL),
  ('output_format', 'extension', NULL);

INSERT INTO machines (machine_id, ip_address, port)
VALUES (1, '127.0.0.1', PORT)
"""
"""As written there, but for the folder and the machine's address."""

ARGUMENTS = {"start_frame": "1", "end_frame": "100", "output_format": ".png"}

Query = Callable[[str], list[tuple[Any, ...]]]


class Flow:
    """A farm as the README builds it, and its client."""

    def __init__(self, service: Service, node: OriginalNode, query: Query, downloads: Path) -> None:
        self.service = service
        self.node = node
        self.query = query
        self.downloads = downloads

    def call(self, method: str, route: str, **options: Any) -> requests.Response:
        url = f"{self.service.url}/renderapi/v1/{route}"
        return requests.request(method, url, headers=HEADERS, timeout=DEADLINE_S, **options)

    def newest(self) -> Any:
        return self.call("GET", "info").json()["Tasks"][0]["Task"]

    def wait_until_rendering(self) -> None:
        """The machine has the newest task, and the api knows: it is running from its claim on."""

        def renders() -> bool:
            task = self.node.task
            return task is not None and task["IsRunning"] and self.newest()["IsRunning"]

        wait_until(renders, "the machine has it")

    def finish_all(self, success: bool = True) -> None:
        """Let every render of the newest task end like this, until the task is over."""

        def over() -> bool:
            if self.node.task is not None and self.node.task["IsRunning"]:
                self.node.finish(success)
            return self.newest()["EndTime"] is not None

        wait_until(over, "the task is over")


@pytest.fixture
def flow(connection_string: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Flow]:
    """Over SQLite, and over MariaDB with schema.sql imported as the README says."""
    downloads = tmp_path / "downloads"
    raw = {
        "ConnectionString": connection_string,
        "Port": "0",
        "Certificate": None,
        "DataPath": str(tmp_path / "data"),
        "PollSeconds": 0.2,
        "Retries": 0,
    }
    query: Query
    with original_node() as node:
        rows = README_ROWS.replace("DOWNLOADS", str(downloads)).replace("PORT", str(node.port))
        if connection_string.startswith("sqlite"):
            query = sqlite_with(tmp_path, connection_string, rows)
        else:
            database: MariaDatabase = request.getfixturevalue("mariadb_database")
            database.import_file(ROOT / "schema.sql")
            for statement in rows.split(";\n"):
                database.query(statement)

            def query(sql: str) -> list[tuple[Any, ...]]:
                return [tuple(row.values()) for row in database.query(sql)]

        service = Service("api", write_config(tmp_path / "RenderAPI.json", raw))
        try:
            yield Flow(service, node, query, downloads)
        finally:
            end_all([service])


def sqlite_with(folder: Path, connection_string: str, rows: str) -> Query:
    """An SQLite file with our tables and nothing but these rows in them."""
    settings = ApiSettings(connection_string=connection_string, data_path=folder / "data")
    open_database(settings).close()
    file = folder / "farm.sqlite3"

    def query(sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(file, timeout=30)) as connection:
            return connection.execute(sql).fetchall()

    with closing(sqlite3.connect(file)) as connection:
        for table in ("subscriptions", "engines", "argtypes"):
            connection.execute(f"DELETE FROM {table}")
        connection.executescript(rows)
    return query


ORIGINALS_QUERY = """
SELECT t.task_id, t.user_id, t.is_running, t.is_success, t.machine_id,
       t.start_time IS NULL, t.end_time IS NULL, r.file_name, r.file_size, e.name
FROM tasks t JOIN queue q ON q.task_id = t.task_id
JOIN renders r ON r.render_id = t.render_id JOIN engines e ON e.engine_id = r.engine_id
WHERE t.is_success = 0 ORDER BY t.task_id
"""


def test_from_upload_to_deletion(flow: Flow) -> None:
    sent = multipart.enqueue_body("scene.blend", b"BLENDER-v304", ARGUMENTS)
    answer = multipart.post(f"{flow.service.url}/renderapi/v1/enqueue", sent, HEADERS)
    assert answer.status_code == 200
    task_id = answer.json()["TaskId"]
    assert answer.json() == {
        "IsAdded": True,
        "ErrorMessage": "Task successfully enqueued.",
        "TaskId": task_id,
    }

    flow.wait_until_rendering()
    running = flow.newest()
    assert (running["TaskId"], running["MachineId"], running["IsSuccess"]) == (task_id, 1, False)
    assert running["StartTime"] >= running["QueueTime"]
    assert running["EndTime"] is None
    assert flow.query(ORIGINALS_QUERY) == [
        (task_id, 1, 1, 0, 1, 0, 1, "scene.blend", 12, "blender")
    ]
    start = flow.node.starts[0]
    assert (start["engineid"], start["taskid"]) == ("blender", task_id)
    ((file_path, arguments),) = flow.query("SELECT file_path, arguments FROM renders")
    # the machine gets a command line for its own frames, the first ones
    assert re.sub(r"-e \d+", "-e 100", start["arguments"]) == arguments
    assert re.fullmatch(rf"blender .*-b {re.escape(file_path)} .*-s 1 -e 100 .*-a", arguments)
    project = Path(file_path)
    assert project.parts[:-2] == (*flow.downloads.parts, "1")
    assert (project.parent.name.isdigit(), project.read_bytes()) == (True, b"BLENDER-v304")

    (project.parent / "frame_0001.png").write_bytes(b"an image")
    flow.finish_all()
    done = flow.newest()
    assert (done["IsSuccess"], done["MachineId"]) == (True, 1)
    assert done["EndTime"] >= done["StartTime"] == running["StartTime"]
    assert flow.query(ORIGINALS_QUERY) == [], "out of the queue"

    # the stock client sends these two in camelCase
    downloaded = flow.call("POST", "download", json={"taskId": task_id})
    assert (downloaded.status_code, downloaded.headers["Content-Type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(downloaded.content)) as archive:
        assert archive.namelist() == ["frame_0001.png", "scene.blend"]
    deleted = flow.call("POST", "delete", json={"taskId": task_id})
    assert (deleted.status_code, deleted.json()) == (
        200,
        {
            "IsDeleted": True,
            "ErrorMessage": "Task and associated render successfully deleted.",
        },
    )
    assert flow.call("GET", "info").json()["Tasks"] == []
    for table in ("tasks", "renders", "queue"):
        assert flow.query(f"SELECT * FROM {table}") == []
    assert not project.parent.exists()


def test_a_failed_render_and_a_dequeued_one(flow: Flow) -> None:
    sent = multipart.enqueue_body("scene.blend", b"BLENDER-v304", ARGUMENTS)
    url = f"{flow.service.url}/renderapi/v1/enqueue"
    multipart.post(url, sent, HEADERS)
    flow.wait_until_rendering()
    flow.finish_all(success=False)
    failed = flow.newest()
    assert (failed["IsSuccess"], failed["State"], failed["MachineId"]) == (False, "failed", 1)
    assert failed["EndTime"] >= failed["StartTime"] >= failed["QueueTime"]
    assert flow.query("SELECT * FROM queue") == []

    second = multipart.post(url, sent, HEADERS).json()["TaskId"]
    flow.wait_until_rendering()
    removed = flow.call("POST", "dequeue", json={"TaskId": str(second)})
    assert (removed.status_code, removed.json()) == (
        200,
        {"IsRemoved": True, "ErrorMessage": "Task successfully dequeued."},
    )
    wait_until(lambda: flow.node.stops, "the machine is told")
    assert flow.node.stops[0]["taskid"] == second
    ((running, end_time),) = flow.query(
        f"SELECT is_running, end_time FROM tasks WHERE task_id = {second}"
    )
    assert (running, end_time is None) == (0, False)


def test_queue_limit_counts_waiting_and_running(flow: Flow) -> None:
    """The README's subscription has three; a running task counts, a finished one does not."""
    sent = multipart.enqueue_body("scene.blend", b"BLENDER-v304", ARGUMENTS)
    url = f"{flow.service.url}/renderapi/v1/enqueue"
    for _ in range(3):
        assert multipart.post(url, sent, HEADERS).status_code == 200
    wait_until(lambda: flow.node.starts, "one of them runs")
    full = multipart.post(url, sent, HEADERS)
    assert (full.status_code, full.json()["IsAdded"]) == (403, False)
    assert "queue is full" in full.json()["ErrorMessage"]

    def has_room() -> bool:
        if flow.node.task is not None and flow.node.task["IsRunning"]:
            flow.node.finish()
        return multipart.post(url, sent, HEADERS).status_code == 200

    wait_until(has_room, "there is room again")


# --------------------------------------------------------------------------- bodies


def parts(engine_id: str = "0") -> list[multipart.Part]:
    values = [{"ArgTypeId": name, "Value": value} for name, value in ARGUMENTS.items()]
    return [
        multipart.request_part({"EngineId": engine_id, "Arguments": values}),
        multipart.file_part("scene.blend", b"BLENDER-v304"),
    ]


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "with its length"])
@pytest.mark.parametrize("order", [1, -1], ids=["request first", "file first"])
@pytest.mark.parametrize("connection_string", ["sqlite"], indirect=True)
def test_parts_in_any_order(flow: Flow, order: int, chunked: bool) -> None:
    url = f"{flow.service.url}/renderapi/v1/enqueue"
    answer = multipart.post(url, multipart.body(parts()[::order]), HEADERS, chunked)
    assert (answer.status_code, answer.json()["IsAdded"]) == (200, True)
    ((name, size),) = flow.query("SELECT file_name, file_size FROM renders")
    assert (name, size) == ("scene.blend", 12)
