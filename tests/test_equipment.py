"""The tests' own equipment does what the tests rely on."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support import multipart, original_database
from support.farm import Farm
from support.mariadb import Database, mariadb_server
from support.original_node import OriginalNode
from support.processes import ProcessFailed, service

START = {"EngineId": "Blender", "TaskId": 7, "Arguments": "blender -b x.blend -a"}


def url(node: OriginalNode, path: str) -> str:
    return f"http://127.0.0.1:{node.port}/hpc/{path}"


def test_other_machine_runs_one_task_at_a_time(other_machine: OriginalNode) -> None:
    assert requests.get(url(other_machine, "status"), timeout=30).json() == {
        "EngineIds": ["blender"],
        "Task": None,
    }
    assert requests.post(url(other_machine, "start"), json=START, timeout=30).status_code == 200
    assert requests.post(url(other_machine, "start"), json=START, timeout=30).status_code == 400
    other_machine.finish()
    task = requests.get(url(other_machine, "status"), timeout=30).json()["Task"]
    assert task == {"TaskId": 7, "IsSuccess": True, "IsRunning": False, "TotalSeconds": 0}
    assert [start["taskid"] for start in other_machine.starts] == [7, 7]


def test_other_machine_stops_only_what_it_renders(other_machine: OriginalNode) -> None:
    idle = requests.post(url(other_machine, "stop"), json={"TaskId": 7}, timeout=30)
    assert (idle.status_code, idle.json()["IsSuccess"]) == (200, True)
    requests.post(url(other_machine, "start"), json=START, timeout=30)
    other = requests.post(url(other_machine, "stop"), json={"TaskId": 8}, timeout=30)
    assert (other.status_code, other.json()["IsSuccess"]) == (400, False)
    own = requests.post(url(other_machine, "stop"), json={"taskId": 7}, timeout=30)
    assert (own.status_code, own.json()["IsSuccess"]) == (200, True)


def test_other_machine_can_go_away_hang_and_come_back(other_machine: OriginalNode) -> None:
    with requests.Session() as kept_alive:
        assert kept_alive.get(url(other_machine, "status"), timeout=30).ok
        other_machine.down()
        with pytest.raises(requests.ConnectionError):
            kept_alive.get(url(other_machine, "status"), timeout=30)
    other_machine.up()
    other_machine.hang()
    with pytest.raises(requests.Timeout):
        requests.get(url(other_machine, "status"), timeout=0.5)
    other_machine.recover()
    assert requests.get(url(other_machine, "status"), timeout=30).ok


@pytest.mark.parametrize("name", ["scene.blend", "with space.blend", "Szene ü/日.blend"])
def test_multipart_is_read_back_by_a_mail_parser(name: str) -> None:
    sent = multipart.enqueue_body(name, b"BLENDER\r\n--not a boundary", {"start_frame": "1"})
    assert sent.content_type.startswith('multipart/form-data; boundary="')
    whole = f"Content-Type: {sent.content_type}\r\n\r\n".encode() + sent.content
    message = email.message_from_bytes(whole, policy=email.policy.HTTP)
    request, file = message.iter_parts()
    assert request.get_param("name", header="Content-Disposition") == "request"
    assert b"".join(sent.chunks(3)) == sent.content
    assert file.get_payload(decode=True) == b"BLENDER\r\n--not a boundary"
    assert f"filename={multipart.dotnet_file_name(name)}" in sent.content.decode()


def test_non_ascii_file_names_are_rfc_2047_words() -> None:
    assert multipart.dotnet_file_name("ü.blend") == '"=?utf-8?B?w7wuYmxlbmQ=?="'


def test_originals_database_has_its_rows_and_files(
    mariadb_database: Database, tmp_path: Path
) -> None:
    original_database.create(mariadb_database, tmp_path / "downloads")
    tables = {next(iter(row.values())) for row in mariadb_database.query("SHOW TABLES")}
    assert tables == {
        *("subscriptions", "users", "engines", "argtypes"),
        *("machines", "renders", "tasks", "queue"),
    }
    users = mariadb_database.query("SELECT first_name FROM users ORDER BY user_id")
    assert [user["first_name"] for user in users] == ["Test", "Zoë", "Gone", "No"]
    (finished,) = mariadb_database.query(
        "SELECT file_path, file_size FROM renders JOIN tasks USING (render_id) WHERE task_id = %s",
        original_database.FINISHED,
    )
    assert Path(finished["file_path"]).stat().st_size == finished["file_size"]


def test_databases_are_apart(mariadb_database: Database) -> None:
    mariadb_database.query("CREATE TABLE t (x INT)")
    other = mariadb_database.server.create_database()
    assert other.query("SHOW TABLES") == []
    mariadb_database.server.drop_database(other)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_database_server_comes_back_with_its_data(tmp_path: Path, end: str) -> None:
    with mariadb_server(tmp_path / "server") as server:
        database = server.create_database()
        database.query("CREATE TABLE t (x INT)")
        database.query("INSERT INTO t VALUES (5)")
        getattr(server, end)()
        server.start()
        assert database.query("SELECT x FROM t") == [{"x": 5}]


def test_scene_is_a_blend_file_made_once(blend: Callable[[str], Path]) -> None:
    made = blend("cube")
    assert made.read_bytes()[:4] in (b"BLEN", b"\x28\xb5\x2f\xfd")  # plain or zstd
    before = made.stat().st_mtime_ns
    assert blend("cube") == made
    assert made.stat().st_mtime_ns == before


def test_farm_comes_back_after_a_kill(start_farm: Callable[..., Farm]) -> None:
    farm = start_farm(nodes=1)
    other = farm.add_user("other@example.com")
    for part in (farm.api, farm.nodes[0]):
        url = part.url
        part.kill()
        assert part.exit_code not in (None, 0)
        part.restart()
        assert part.url == url
    assert farm.get("info", other)["User"]["UserId"] == other.user_id
    assert farm.api.terminate() == 0


def test_service_that_cannot_start_shows_its_own_words(tmp_path: Path) -> None:
    with (
        pytest.raises(ProcessFailed, match="PollSeconds"),
        service("api", tmp_path, {"PollSeconds": "often"}),
    ):
        pass
