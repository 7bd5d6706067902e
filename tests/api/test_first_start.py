"""A first start on nothing, what it says and keeps to itself, and how an api ends."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from cli.certificates import make_certificate
from support.processes import (
    DEADLINE_S,
    READY,
    ProcessFailed,
    Service,
    command,
    end_all,
    private_environment,
    run_cli,
    run_json,
    write_config,
)

ADMIN = "admin@renderonline.local"
TOKEN_FILE = "admin-token.txt"


def configure(folder: Path, **settings: Any) -> Path:
    defaults = {"Port": "0", "DataPath": str(folder / "data")}
    return write_config(folder / "RenderAPI.json", {**defaults, **settings})


@contextmanager
def running(config: Path) -> Iterator[Service]:
    api = Service("api", config)
    try:
        yield api
    finally:
        end_all([api])


def get(api: Service, route: str, token: str, email: str = ADMIN) -> requests.Response:
    headers = {"email": email, "token": token}
    return requests.get(f"{api.url}/renderapi/v1/{route}", headers=headers, timeout=DEADLINE_S)


def test_first_start_makes_a_farm_and_its_admin(tmp_path: Path) -> None:
    config = configure(tmp_path, QueueLimitDefault=7)
    data = tmp_path / "data"
    with running(config) as api:
        assert api.stdout_lines == [f"{READY}{api.url}"], "one line, and nothing else"
        assert api.url.startswith("http://127.0.0.1:")
        token = (data / TOKEN_FILE).read_text().strip()
        signed_in = get(api, "info", token)
        assert signed_in.status_code == 200
        assert signed_in.json()["User"]["Email"] == ADMIN
        (engine,) = get(api, "engines", token).json()["Engines"]
        said = api.stderr
    assert (engine["Name"], engine["Extension"]) == ("blender", ".blend")
    assert [a["ArgTypeId"] for a in engine["Arguments"]] == [
        "end_frame",
        "output_format",
        "start_frame",
    ]
    assert token not in said
    assert str(data / TOKEN_FILE) in said, "where it is, is said"
    assert stat.S_IMODE((data / TOKEN_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert (data / "renderonline.sqlite3").is_file()
    (subscription,) = run_json(
        "admin", "subscription", "list", "--config", config, home=tmp_path / "home"
    )
    assert (subscription["Name"], subscription["QueueLimit"]) == ("Default", 7)


def test_token_is_given_once(tmp_path: Path) -> None:
    config = configure(tmp_path)
    with running(config):
        pass
    file = tmp_path / "data" / TOKEN_FILE
    token = file.read_text().strip()
    file.unlink()  # its owner has put it in a safe place
    with running(config) as again:
        assert not file.exists()
        assert get(again, "info", token).status_code == 200
        assert token not in again.stderr
        assert again.stderr.count("first start") == 1, "of both starts"


def test_token_on_a_terminal_is_shown_and_not_kept(tmp_path: Path) -> None:
    config = configure(tmp_path)
    ours, theirs = os.openpty()
    api = subprocess.Popen(
        command("api", "--config", config),
        env=private_environment(tmp_path / "home"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    try:
        assert api.stdout is not None
        url = api.stdout.readline().split(READY)[1].strip()
        shown = read_terminal(ours, api)
        token = next(line.strip() for line in shown.splitlines() if len(line.strip()) == 43)
        headers = {"email": ADMIN, "token": token}
        answer = requests.get(f"{url}/renderapi/v1/info", headers=headers, timeout=DEADLINE_S)
        assert answer.status_code == 200
    finally:
        api.terminate()
        assert api.wait(DEADLINE_S) == 0
        os.close(ours)
    assert ADMIN in shown
    assert not (tmp_path / "data" / TOKEN_FILE).exists()


def read_terminal(descriptor: int, writer: subprocess.Popen[str]) -> str:
    """What has been written on a terminal until it holds a whole token."""
    shown = ""
    while not any(len(line.strip()) == 43 for line in shown.splitlines()[:-1]):
        assert writer.poll() is None, shown
        shown += os.read(descriptor, 65536).decode()
    return shown


def test_farm_that_has_users_gets_no_admin(tmp_path: Path) -> None:
    config = configure(tmp_path)
    made = run_json(
        "admin", "user", "add", "--email", "me@example.com", "--config", config, home=tmp_path / "h"
    )
    with running(config) as api:
        assert not (tmp_path / "data" / TOKEN_FILE).exists()
        assert get(api, "info", made["Token"], "me@example.com").status_code == 200
        assert "first start" not in api.stderr
    users = run_json("admin", "user", "list", "--config", config, home=tmp_path / "h")
    assert [user["Email"] for user in users] == ["me@example.com"]


def test_plain_http_on_the_network_is_said_loudly(tmp_path: Path) -> None:
    with running(configure(tmp_path, Host="0.0.0.0", Certificate=None)) as api:
        assert "without TLS" in api.stderr
        assert get(api, "info", "x").status_code == 401
    with running(configure(tmp_path / "home", Host="127.0.0.1")) as api:
        assert "without TLS" not in api.stderr


def test_unknown_key_is_a_warning(tmp_path: Path) -> None:
    with running(configure(tmp_path, Prot=5000)) as api:
        assert "unknown key 'Prot'" in api.stderr


# --------------------------------------------------------------------------- ending


@pytest.mark.parametrize("way", ["terminate", "interrupt"])
def test_signal_ends_it_well(tmp_path: Path, way: str) -> None:
    with running(configure(tmp_path)) as api:
        kept_alive = requests.Session()
        assert kept_alive.get(f"{api.url}/health", timeout=DEADLINE_S).ok
        assert getattr(api, way)() == 0
        assert "Traceback" not in api.stderr
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{api.url}/health", timeout=DEADLINE_S)


def test_signal_ends_it_over_tls_too(tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls", "127.0.0.1")
    certificate = {
        "FullchainPemPath": str(files.fullchain_pem_path),
        "PrivPemPath": str(files.priv_pem_path),
    }
    with running(configure(tmp_path, Certificate=certificate, Host="127.0.0.1")) as api:
        assert api.url.startswith("https://127.0.0.1:")
        health = requests.get(
            f"{api.url}/health", verify=str(files.fullchain_pem_path), timeout=DEADLINE_S
        )
        assert health.status_code == 200
        assert api.terminate() == 0
        assert "Traceback" not in api.stderr


# --------------------------------------------------------------------------- starts that cannot be


def refused(config: Path) -> str:
    """What the api says when it cannot start, exit code 2: a sentence, no traceback, not ready."""
    done = run_cli("api", "--config", config, home=config.parent / "home", expected_exit=2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr
    return done.stderr


def test_port_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(configure(tmp_path, Port=str(port)))
    assert f"127.0.0.1:{port}" in said
    assert "`Port`" in said, "what to do now"


def test_port_taken_over_tls(tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls", "127.0.0.1")
    certificate = {
        "FullchainPemPath": str(files.fullchain_pem_path),
        "PrivPemPath": str(files.priv_pem_path),
    }
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(configure(tmp_path, Port=port, Host="127.0.0.1", Certificate=certificate))
    assert f"127.0.0.1:{port}" in said


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"Port": "x"}, "Port takes a port number"),
        ({"PollSeconds": 0}, "PollSeconds takes"),
        ({"DataPath": 5}, "DataPath takes"),
        ({"Certificate": {"FullchainPemPath": "a", "PrivPemPath": "b"}}, "Certificate takes"),
        ({"ConnectionString": "hello"}, "ConnectionString"),
        ({"ConnectionString": "sqlite:farm"}, "ConnectionString"),
        ({"ConnectionString": "Server=127.0.0.1;Database=farm"}, "lacks user"),
        (
            {"ConnectionString": "Server=127.0.0.1;Port=1;Database=farm;Uid=me;Pwd=s3cret"},
            "database",
        ),
        ({"Host": "no.such.host.invalid"}, "no.such.host.invalid"),
        ({"Host": "192.0.2.1"}, "192.0.2.1"),
    ],
)
def test_setting_that_cannot_be(tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    said = refused(configure(tmp_path, **settings))
    assert says in said
    assert "s3cret" not in said


def test_file_that_is_not_json(tmp_path: Path) -> None:
    config = configure(tmp_path)
    config.write_text("{Port: 5}")
    assert "RenderAPI.json: not valid JSON at line 1" in refused(config)


def test_data_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in refused(configure(tmp_path, DataPath=str(tmp_path / "file")))


def test_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "farm.sqlite3").write_bytes(b"this is no database\n" * 500)
    said = refused(configure(tmp_path, ConnectionString="sqlite:///farm.sqlite3"))
    assert "not a database" in said


def test_certificate_that_is_none(tmp_path: Path) -> None:
    pem = tmp_path / "x.pem"
    pem.write_text("not a certificate")
    certificate = {"FullchainPemPath": str(pem), "PrivPemPath": str(pem)}
    said = refused(configure(tmp_path, Certificate=certificate, Host="127.0.0.1"))
    assert "`Certificate` cannot be used" in said
    assert "PEM" in said


def test_second_start_on_the_same_port_does_not_disturb_the_first(tmp_path: Path) -> None:
    with running(configure(tmp_path)) as api:
        second = configure(tmp_path / "second", Port=str(api.port))
        with contextlib.suppress(ProcessFailed):
            Service("api", second)
            raise AssertionError("it started")
        assert requests.get(f"{api.url}/health", timeout=DEADLINE_S).ok
