"""`renderonline admin`: every column of every kind, field by field, on both databases."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.processes import run_cli, run_json, write_config

from renderonline.api.services import admin as service
from renderonline.commands import admin
from renderonline.commands.admin_options import KINDS
from renderonline.commands.edge import UsageError

Admin = Callable[..., Any]


@pytest.fixture
def settings(tmp_path: Path, connection_string: str) -> Path:
    """A RenderAPI.json of an empty database."""
    values = {"ConnectionString": connection_string, "DataPath": str(tmp_path / "data")}
    return write_config(tmp_path / "RenderAPI.json", values)


@pytest.fixture
def ask(settings: Path, tmp_path: Path) -> Admin:
    """Runs `renderonline admin … --json` and gives its value."""
    return lambda *words: run_json("admin", *words, "--config", settings, home=tmp_path / "home")


def test_the_options_are_the_columns() -> None:
    for kind, columns in service.COLUMNS.items():
        assert sorted(option.column for option in KINDS[kind].options) == sorted(columns)
    assert set(KINDS) == set(service.KINDS)


def test_an_empty_database_is_set_up_by_the_first_command(ask: Admin) -> None:
    assert [(s["Name"], s["QueueLimit"]) for s in ask("subscription", "list")] == [("Default", 100)]
    assert [(e["Name"], e["Extension"]) for e in ask("engine", "list")] == [("blender", ".blend")]
    types = {t["ArgTypeId"]: t["Type"] for t in ask("argtype", "list")}
    assert types.keys() == {"start_frame", "end_frame", "output_format"}
    assert types["start_frame"] == types["end_frame"] == "natural"
    assert (ask("user", "list"), ask("machine", "list")) == ([], [])


def test_a_user_from_beginning_to_end(ask: Admin, tmp_path: Path) -> None:
    made = ask(
        "user", "add", "--email", "ada@example.com", "--first-name", "Ada", "--role", "admin"
    )
    token = made.pop("Token")
    assert re.fullmatch(r"[\w-]{43}", token)
    assert made == {
        "UserId": made["UserId"],
        "FirstName": "Ada",
        "LastName": "",
        "Email": "ada@example.com",
        "SubscriptionId": 1,
        "IsActive": True,
        "Role": "admin",
    }
    changed = ask("user", "set", "--email", "ADA@example.com", "--is-active", "no")
    assert changed == made | {"IsActive": False}
    by_id = ask("user", "set", str(made["UserId"]), "--email", "countess@example.com")
    assert by_id["Email"] == "countess@example.com"
    assert ask("user", "list") == [by_id]
    assert ask("user", "remove", "countess@example.com") == by_id
    assert ask("user", "list") == []


@pytest.mark.parametrize(
    ("kind", "add", "added", "change", "changed"),
    [
        (
            "machine",
            ["--host", "127.0.0.1", "--port", "5003"],
            {
                "MachineId": 1,
                "IpAddress": "127.0.0.1",
                "Port": 5003,
                "Name": "",
                "Tags": "",
                "OnlyEngines": "",
                "PathMap": None,
                "Hours": "",
                "OnlyUsers": [],
                "Reserve": "",
                "State": "enabled",
                "Reason": None,
            },
            [
                *("--machine-id", "1", "--host", "render1.local", "--port", "5004"),
                *("--name", "Render 1", "--tags", "gpu, fast,gpu", "--only-engines", "BLENDER"),
                *("--map", "/mnt/farm=Z:\\farm", "--map", "/mnt/tex=/Volumes/tex"),
                *("--hours", "Mon-Fri 19:00-07:00,  sat-sun", "--reserve", "film"),
            ],
            {
                "IpAddress": "render1.local",
                "Port": 5004,
                "Name": "Render 1",
                "Tags": "fast gpu",
                "OnlyEngines": "blender",
                "PathMap": ["/mnt/farm=Z:\\farm", "/mnt/tex=/Volumes/tex"],
                "Hours": "Mon-Fri 19:00-07:00, sat-sun",
                "Reserve": "film",
            },
        ),
        (
            "subscription",
            ["--name", "Studio", "--queue-limit", "7"],
            {
                "SubscriptionId": 2,
                "Name": "Studio",
                "QueueLimit": 7,
                "Weight": 1.0,
                "QuotaBytes": None,
                "RetentionDaysResults": None,
                "RetentionDaysProjects": None,
            },
            [
                *("Studio", "--name", "Big studio", "--queue-limit", "0", "--weight", "2.5"),
                *("--quota", "500G", "--retention-days-results", "30"),
                *("--retention-days-projects", "7"),
            ],
            {
                "Name": "Big studio",
                "QueueLimit": 0,
                "Weight": 2.5,
                "QuotaBytes": 500 << 30,
                "RetentionDaysResults": 30,
                "RetentionDaysProjects": 7,
            },
        ),
        (
            "argtype",
            ["--argtype-id", "samples", "--type", "natural", "--default-value", "16"],
            {"ArgTypeId": "samples", "Type": "natural", "Regex": None, "DefaultValue": "16"},
            ["samples", "--type", "integer", r"--regex=-?\d{1,4}", "--default-value", ""],
            {"Type": "integer", "Regex": r"-?\d{1,4}", "DefaultValue": None},
        ),
        (
            "engine",
            ["--name", "povray", "--extension", ".pov", "--render-argument", "povray +I$X"],
            {
                "EngineId": 2,
                "Name": "povray",
                "Extension": ".pov",
                "DownloadPath": "",
                "RenderArgument": "povray +I$X",
                "Adapter": "",
                "FilePattern": None,
                "ChunkFrames": None,
                "MachineLimit": None,
                "Version": None,
                "StartLimit": None,
                "SilenceLimit": None,
                "ProgressLimit": None,
                "FrameLimit": None,
                "MemoryLimit": None,
            },
            [
                *("--name", "povray", "--extension", ".inc", "--render-argument", "povray"),
                *("--download-path", "/srv/pov", "--adapter", "generic"),
                *("--file-pattern", "*.png", "--chunk-frames", "all", "--machine-limit", "3"),
                *("--version", "3.7", "--start-limit", "90", "--silence-limit", "15m"),
                *("--progress-limit", "2h", "--frame-limit", "30s", "--memory-limit", "8G"),
            ],
            {
                "Extension": ".inc",
                "RenderArgument": "povray",
                "DownloadPath": "/srv/pov",
                "Adapter": "generic",
                "FilePattern": "*.png",
                "ChunkFrames": 0,
                "MachineLimit": 3,
                "Version": "3.7",
                "StartLimit": 90,
                "SilenceLimit": 900,
                "ProgressLimit": 7200,
                "FrameLimit": 30,
                "MemoryLimit": 8 << 30,
            },
        ),
    ],
)
def test_a_row_is_added_changed_field_by_field_and_removed(
    ask: Admin,
    kind: str,
    add: list[str],
    added: dict[str, Any],
    change: list[str],
    changed: dict[str, Any],
) -> None:
    before = ask(kind, "list")
    assert ask(kind, "add", *add) == added
    assert ask(kind, "set", *change) == added | changed
    key = str(next(iter(added.values())))
    assert added | changed in ask(kind, "list")
    assert ask(kind, "remove", key) == added | changed
    assert ask(kind, "list") == before


@pytest.mark.parametrize(
    ("words", "exit_code", "says"),
    [
        (["engine", "set", "--name", "maya", "--extension", ".ma"], 5, "no engine maya"),
        (["user", "remove", "nobody@example.com"], 5, "no user nobody@example.com"),
        (["user", "token", "7"], 5, "no user 7"),
        (["machine", "add", "--host", "127.0.0.1", "--port", "70000"], 2, "port"),
        (["machine", "add", "--port", "5001"], 2, "ip_address"),
        (["user", "add", "--email", "no address"], 2, "email address"),
        (["user", "set", "--role", "admin"], 2, "--user-id or --email"),
        (["subscription", "add", "--name", "Default"], 2, "already"),
        (["argtype", "add", "--argtype-id", "a b"], 2, "argtype_id"),
        (["subscription", "set", "Default", "--weight", "0"], 2, "weight"),
        (["subscription", "set", "Default", "--weight", "nan"], 2, "weight"),
        (["subscription", "set", "Default", "--quota", "much"], 2, "8G"),
        (["subscription", "set", "Default", "--quota", "0"], 2, "8G"),
        (["subscription", "set", "Default", "--retention-days-results", "-1"], 2, "from 0"),
        (["engine", "set", "blender", "--chunk-frames", "few"], 2, "auto or all"),
        (["engine", "set", "blender", "--chunk-frames=-1"], 2, "auto or all"),
        (["engine", "set", "blender", "--machine-limit", "0"], 2, "machine_limit"),
        (["engine", "set", "blender", "--version", "four"], 2, "4.5, or any"),
        (["engine", "set", "blender", "--frame-limit", "0"], 2, "15m"),
        (["engine", "set", "blender", "--frame-limit", "5d"], 2, "15m"),
        (["engine", "set", "blender", "--memory-limit", "much"], 2, "8G"),
        (["machine", "add", "--host", "a", "--tags", "a b/c"], 2, "is not a tag"),
        (["machine", "add", "--host", "a", "--only-engines", "maya"], 2, "no engine maya"),
        (["machine", "add", "--host", "a", "--name", "7"], 2, "taken for an id"),
        (["machine", "add", "--host", "a", "--map", "farm=Z:\\farm"], 2, "FROM=TO"),
        (["machine", "add", "--host", "a", "--hours", "9-17"], 2, "are no hours"),
        (["machine", "add", "--host", "a", "--only-users", "x@y"], 2, "no user x@y"),
        (["machine", "add", "--host", "a", "--reserve", "a b"], 2, "is not a tag"),
        (["machine", "drain", "nowhere"], 5, "no machine nowhere"),
        (["machine", "disable"], 2, "--machine-id or --name"),
        (["engine", "add", "--nam", "x"], 2, "--nam"),
        (["farm", "list"], 2, "farm"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    tmp_path: Path, words: list[str], exit_code: int, says: str
) -> None:
    file = write_config(tmp_path / "RenderAPI.json", {"DataPath": str(tmp_path / "data")})
    done = run_cli(
        "admin",
        *words,
        *(["--config", file] if words[0] != "farm" else []),
        "--json",
        home=tmp_path / "home",
        expected_exit=exit_code,
    )
    assert says in json.loads(done.stdout)["ErrorMessage"]
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_one_limit_is_set_without_the_others_and_taken_away_again(ask: Admin) -> None:
    def limits(*words: str) -> list[object]:
        row = ask("engine", "set", "blender", *words)
        return [row[name] for name in ("StartLimit", "FrameLimit", "MemoryLimit")]

    assert limits("--start-limit", "60") == [60, None, None]
    assert limits("--frame-limit", "2m", "--memory-limit", "512m") == [60, 120, 512 << 20]
    assert limits("--extension", ".blend") == [60, 120, 512 << 20]
    assert limits("--start-limit", "none") == [None, 120, 512 << 20]
    assert limits("--frame-limit", "none", "--memory-limit", "") == [None, None, None]
    row = ask("engine", "set", "blender", "--chunk-frames", "12", "--version", "4.5")
    assert (row["ChunkFrames"], row["Version"]) == (12, "4.5")
    row = ask("engine", "set", "blender", "--chunk-frames", "auto", "--version", "any")
    assert (row["ChunkFrames"], row["Version"]) == (None, None)


def test_a_machines_paths_are_mapped_shown_and_taken_away(ask: Admin) -> None:
    ask("machine", "add", "--host", "127.0.0.1", "--map", "/mnt/farm=Z:\\farm")
    assert ask("machine", "list")[0]["PathMap"] == ["/mnt/farm=Z:\\farm"]
    both = ["/mnt/tex=\\\\nas\\tex", "/mnt/farm=/Volumes/farm"]
    told = ask("machine", "set", "1", *(word for text in both for word in ("--map", text)))
    assert told["PathMap"] == both
    assert ask("machine", "set", "1", "--name", "Render 1")["PathMap"] == both
    assert ask("machine", "set", "1", "--map", "none")["PathMap"] is None


def test_a_machine_is_drained_disabled_enabled_and_forgiven(ask: Admin) -> None:
    ask("machine", "add", "--host", "127.0.0.1", "--name", "Render 1", "--tags", "gpu")
    for verb, state in (
        ("drain", "draining"),
        ("disable", "disabled"),
        ("enable", "enabled"),
        ("forgive", "enabled"),
    ):
        for row in (["1"], ["Render 1"], ["--machine-id", "1"], ["--name", "Render 1"]):
            told = ask("machine", verb, *row)
            assert (told["State"], told["Reason"] is None) == (state, state == "enabled")
            assert (told["Name"], told["Tags"]) == ("Render 1", "gpu")
    assert [row["State"] for row in ask("machine", "list")] == ["enabled"]


def test_a_list_has_the_columns_that_something_is_set_in() -> None:
    rows = [
        {"machine_id": 1, "name": "", "reason": None},
        {"machine_id": 2, "name": "b", "reason": None},
    ]
    assert admin.shown_columns("machine", rows) == ["machine_id", "name"]
    assert "ip_address" in admin.shown_columns("machine", [])


def test_a_token_is_shown_once_and_never_stored_or_listed(tmp_path: Path) -> None:
    file = write_config(tmp_path / "RenderAPI.json", {"DataPath": str(tmp_path / "data")})
    home = tmp_path / "home"
    first = run_json("admin", "user", "add", "--email", "a@b.c", "--config", file, home=home)
    second = run_json("admin", "user", "token", "--email", "a@b.c", "--config", file, home=home)
    assert first["Token"] != second["Token"]
    listed = run_cli("admin", "user", "list", "--config", file, home=home).stdout
    stored = b"".join(f.read_bytes() for f in (tmp_path / "data").rglob("*") if f.is_file())
    for token in (first["Token"], second["Token"]):
        assert token not in listed
        assert token.encode() not in stored
    third = run_cli("admin", "user", "token", "a@b.c", "--revoke", "--config", file, home=home)
    assert len(third.stdout.splitlines()[-1]) == 43
    database = next(f for f in (tmp_path / "data").rglob("*") if f.suffix.startswith(".sqlite"))
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT COUNT(*) FROM tokens").fetchone() == (1,)


@pytest.mark.parametrize(
    ("kind", "row", "given", "expected"),
    [
        ("engine", "blender", {"name": "b", "extension": ".b"}, ("blender", ["name", "extension"])),
        ("engine", None, {"engine_id": "1", "name": "b"}, ("1", ["name"])),
        ("engine", None, {"name": "b", "extension": ".b"}, ("b", ["extension"])),
        ("machine", None, {"machine_id": "3", "port": "1"}, ("3", ["port"])),
    ],
)
def test_which_row_is_meant(
    kind: str, row: str | None, given: dict[str, str], expected: tuple[str, list[str]]
) -> None:
    row_id, values = admin.identify(kind, row, given)
    assert (row_id, list(values)) == expected


def test_a_row_that_is_not_named_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"Which machine\? It takes --machine-id or --name\."):
        admin.identify("machine", None, {"port": "1"})


def test_a_database_that_cannot_be_had_is_a_sentence(tmp_path: Path) -> None:
    string = "Server=127.0.0.1;Port=1;Database=renderonline;User Id=u;Password=hidden-password;"
    values = {"ConnectionString": string, "DataPath": str(tmp_path / "data")}
    file = write_config(tmp_path / "RenderAPI.json", values)
    done = run_cli(
        "admin", "user", "list", "--config", file, home=tmp_path / "home", expected_exit=2
    )
    assert "127.0.0.1" in done.stderr
    assert "hidden-password" not in done.stderr
    assert "Traceback" not in done.stderr
