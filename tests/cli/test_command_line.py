"""The command line as a child process sees it: exit codes, streams, and what it loads."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import bottle
import pytest
from support.blend_bytes import Kind, blend_file
from support.processes import DEADLINE_S, command, private_environment, run_cli

from renderonline import __version__, client
from renderonline.commands.edge import Exit, Failure, explain

from .test_waiting import detail, scripted

Serve = Callable[..., str]

ENGINES = json.dumps(
    {
        "Engines": [
            {
                "EngineId": 1,
                "Name": "blender",
                "Extension": ".blend",
                "Adapter": "blender",
                "Arguments": [
                    {"ArgTypeId": name, "Type": "natural"} for name in ("start_frame", "end_frame")
                ],
            }
        ]
    }
)
"""What a farm answers that renders ranges of frames, none of them negative."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    file = tmp_path / "scene.blend"
    file.write_bytes(blend_file(Kind(), {"Scene": 17}, "Scene"))
    return file


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def signed_in(server: str) -> dict[str, str]:
    return {
        "RENDERONLINE_SERVER": server,
        "RENDERONLINE_EMAIL": "artist@example.com",
        "RENDERONLINE_TOKEN": "the-secret-token",
    }


def test_help_and_version(home: Path) -> None:
    assert run_cli("--version", home=home).stdout.strip() == f"RenderOnline {__version__}"
    text = run_cli("--help", home=home).stdout
    for name in (
        *("api", "node", "submit", "tasks", "download", "pause", "resume", "cancel", "requeue"),
        *("set", "delete", "machines", "login"),
    ):
        assert f"    {name} " in text
    assert "node-guard" not in text


def test_help_loads_neither_server_nor_client() -> None:
    script = (
        "import sys, renderonline.cli\n"
        "renderonline.cli.parser().format_help()\n"
        "print({'requests', 'rich', 'bottle', 'peewee', 'PIL'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "arguments are required: COMMAND"),
        (["rendr"], "invalid choice: 'rendr'"),
        (["submit"], "arguments are required: FILE"),
        (["submit", "--fram", "1-3", "a.blend"], "Unrecognized arguments: --fram"),
        (["tasks", "-1"], "'-1' is not the number of a task"),
        (["tasks", "seven"], "'seven' is not the number of a task"),
        (["cancel", "9" * 30], "is not the number of a task"),
        (["cancel", "²"], "is not the number of a task"),
        (["tasks", "--state", "done"], "invalid choice: 'done'"),
        (["set", "1"], "Nothing to set."),
        (["set", "1", "--priority", "101"], "'101' is not a number from 0 to 100"),
        (["set", "1", "--chunk-frames", "some"], "neither a number, auto nor all"),
        (["set", "1", "--machines", "0"], "'0' is not a number from 1"),
        (["set", "1", "--after", "2,x"], "'x' is not the number of a task"),
        (["set", "1", "--start-at", "tomorrow"], "'tomorrow' is not a moment"),
        (["set", "1", "--engine-version", "4.5"], "Unrecognized arguments"),
        (["pause", "1", "--frames", "1"], "Unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_is_2_and_a_sentence(
    arguments: list[str], says: str, home: Path
) -> None:
    done = run_cli(*arguments, home=home, expected_exit=2)
    assert says in done.stderr
    assert "--help" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.blend", "--frames", "1-3"], "There is no file none.blend."),
        (["{project}", "--frames", "9-1"], "inverted"),
        (["{project}", "--frames", "all"], "is not a frame or a range"),
        (["{project}", "--arg", "samples"], "name=value"),
        (["{project}", "--arg", "a=1", "--arg", "a=2"], "given twice"),
    ],
)
def test_a_submission_is_checked_before_anything_is_sent(
    arguments: list[str], says: str, home: Path, project: Path, nobody: str
) -> None:
    words = [word.format(project=project) for word in arguments]
    done = run_cli("submit", *words, home=home, environment=signed_in(nobody), expected_exit=2)
    assert says in done.stderr


def test_frames_that_the_farm_would_refuse_are_2_before_the_upload(
    home: Path, project: Path, serve: Serve
) -> None:
    uploads: list[str] = []
    app = bottle.Bottle()
    app.get("/renderapi/v1/engines", callback=lambda: ENGINES)
    app.post("/renderapi/v1/enqueue", callback=lambda: uploads.append(bottle.request.path))
    done = run_cli(
        *("submit", project, "--frames=-4-9x2,12"),
        home=home,
        environment=signed_in(serve(app)),
        expected_exit=2,
    )
    assert "takes no negative frames, as in -4-8x2,12" in done.stderr
    assert uploads == []


@pytest.mark.parametrize("content", [b"a shopping list", b"\x1f\x8b no more"])
def test_a_blend_that_blender_did_not_write_is_2_and_sent_only_if_asked(
    content: bytes, home: Path, project: Path, nobody: str
) -> None:
    project.write_bytes(content)
    environment = signed_in(nobody)
    submit = ("submit", project, "--frames", "1")
    done = run_cli(*submit, home=home, environment=environment, expected_exit=2)
    assert "scene.blend" in done.stderr
    assert "--no-links" in done.stderr
    done = run_cli(*submit, "--no-links", home=home, environment=environment, expected_exit=3)
    assert "There is no server" in done.stderr


def test_no_sign_in_is_2_and_names_all_three_ways(home: Path, project: Path) -> None:
    done = run_cli("submit", project, "--frames", "1", home=home, expected_exit=2)
    for way in ("renderonline login", "--token-file", "RENDERONLINE_SERVER"):
        assert way in done.stderr


def test_no_server_is_3_and_json_has_it_too(home: Path, nobody: str) -> None:
    done = run_cli("tasks", "--json", home=home, environment=signed_in(nobody), expected_exit=3)
    told = json.loads(done.stdout)
    assert told["Error"] == "unreachable"
    assert nobody in told["ErrorMessage"]
    assert "renderonline api" in told["Hint"]
    assert told["ErrorMessage"] in done.stderr
    assert "the-secret-token" not in done.stdout + done.stderr


def test_a_wrong_usage_is_json_too(home: Path) -> None:
    done = run_cli("cancel", "x", "--json", home=home, expected_exit=2)
    assert json.loads(done.stdout)["Error"] == "usage"


def test_a_wrong_token_is_4(home: Path, serve: Serve) -> None:
    app = bottle.Bottle()
    app.get("/renderapi/v1/tasks", callback=lambda: bottle.HTTPResponse("", 401))
    done = run_cli("tasks", home=home, environment=signed_in(serve(app)), expected_exit=4)
    assert "artist@example.com" in done.stderr


def test_an_unknown_task_is_5(home: Path, serve: Serve) -> None:
    body = '{"Error": "not_found", "ErrorMessage": "There is no task 9."}'
    app = bottle.Bottle()
    app.get("/renderapi/v1/tasks/9", callback=lambda: bottle.HTTPResponse(body, 404))
    done = run_cli("tasks", "9", home=home, environment=signed_in(serve(app)), expected_exit=5)
    assert "There is no task 9." in done.stderr


@pytest.mark.parametrize("mode", ["api", "node"])
def test_a_configuration_that_is_wrong_is_2_and_named(
    mode: str, home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "settings.json"
    for content, says in ((None, "no configuration file"), ('{"Port": "high"}', "Port takes")):
        if content is not None:
            file.write_text(content, encoding="utf-8")
        done = run_cli(mode, "--config", file, home=home, expected_exit=2)
        assert says in done.stderr
        assert str(file) in done.stderr
        assert "Traceback" not in done.stderr


def test_deleting_without_a_terminal_takes_yes(home: Path, serve: Serve) -> None:
    environment = signed_in(serve(scripted(detail())))
    done = run_cli("delete", "1", home=home, environment=environment, expected_exit=2)
    assert "a.blend" in done.stderr
    assert "--yes" in done.stderr


def test_signing_in_without_a_terminal_takes_everything(home: Path) -> None:
    done = run_cli("login", "--server", "http://127.0.0.1:1", home=home, expected_exit=2)
    assert "--token-file" in done.stderr


def test_a_name_from_elsewhere_cannot_write_to_the_terminal(home: Path, serve: Serve) -> None:
    evil = detail()
    evil.render.file_name = "\x1b]0;owned\x07\x1b[2Jscene [red]x[/red].blend"
    environment = signed_in(serve(scripted(evil)))
    shown = run_cli("tasks", "1", home=home, environment=environment).stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "scene [red]x[/red].blend" in shown


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_reader_that_goes_away_is_no_error_worth_a_word(size: int) -> None:
    script = (
        "import sys, os\n"
        "from renderonline.commands import edge, output\n"
        "def command():\n"
        "    sys.stdin.read()\n"
        f"    output.result('x' * {size})\n"
        "    return 0\n"
        "sys.exit(edge.at_edge(command, as_json=False, verbose=False))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},  # it hides the fault
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin and child.stdout and child.stderr
    child.stdout.close()
    child.stdin.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(DEADLINE_S) == 141


def test_ctrl_c_while_waiting_says_that_the_farm_goes_on(
    home: Path, project: Path, serve: Serve
) -> None:
    app = scripted(*[detail()] * 1000)
    added = '{"IsAdded": true, "ErrorMessage": "Task successfully enqueued.", "TaskId": 1}'
    app.get("/renderapi/v1/engines", callback=lambda: ENGINES)
    app.post("/renderapi/v1/enqueue", callback=lambda: added)
    child = subprocess.Popen(
        command("submit", project, "--frames", "1", "--wait", "--json"),
        env=private_environment(home, signed_in(serve(app))),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr and child.stdout
    while "queued" not in (line := child.stderr.readline()):
        assert line, "it ended before it waited"
    child.send_signal(getattr(signal, "CTRL_C_EVENT", signal.SIGINT))
    stdout, stderr = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 130
    assert "goes on rendering without you: task 1" in stderr
    assert "Traceback" not in stderr
    assert json.loads(stdout)["Error"] == "interrupted"


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (client.Refused, Exit.FAILED),
        (client.ClientError, Exit.FAILED),
        (client.Unusable, Exit.USAGE),
        (client.Unreachable, Exit.UNREACHABLE),
        (client.NotAllowed, Exit.NOT_ALLOWED),
        (client.NotFound, Exit.NOT_FOUND),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    kind: type[client.ClientError], exit_code: Exit
) -> None:
    failure = explain(kind("The project is too large.", "Make it smaller.", "too_large"))
    assert failure == Failure(
        exit_code, "too_large", "The project is too large.", "Make it smaller."
    )


def test_a_mistake_of_ours_is_a_sentence_and_verbose_shows_where() -> None:
    script = (
        "import sys\n"
        "from renderonline.commands import edge\n"
        "sys.exit(edge.at_edge(lambda: [][1], as_json=False, verbose={}))"
    )
    for verbose in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", script.format(verbose)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert "IndexError" in done.stderr
        assert "--verbose" in done.stderr
        assert ("Traceback" in done.stderr) is verbose
