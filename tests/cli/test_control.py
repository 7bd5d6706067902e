"""Control of tasks from the command line: what its words mean, and a real farm that does it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.farm import Farm, running_farm
from support.processes import run_cli, run_json
from support.waiting import wait_until

from renderonline import cli, wire
from renderonline.api.services import columns
from renderonline.client import Client, NotAllowed, NotFound, Refused
from renderonline.commands import machines, table, task_options, tasks, waiting
from renderonline.commands.edge import UsageError

SLOW = """
import pathlib, sys, time
output, first, last = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for frame in range(first, last + 1):
    while (pathlib.Path(__file__).parent / "hold").exists():
        time.sleep(0.02)
    (output / f"frame_{frame:04}.txt").write_text(f"frame {frame}")
"""
"""A project of the engine `sketch` that waits while there is a file `hold` beside it."""

FAILS = SLOW.replace(
    "output,",
    "if not (pathlib.Path(__file__).parent / 'mended').exists():\n"
    "    (pathlib.Path(__file__).parent / 'broken').touch()\n"
    "    sys.exit('no licence')\noutput,",
    1,
)
"""One that fails until there is a file `mended` beside it."""

HOLDS = SLOW.replace(
    "output,", "(pathlib.Path(__file__).parent / 'hold').touch(exist_ok=True)\noutput,", 1
)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A farm with one node that renders with `sketch`, which runs Python projects."""
    engines = [{"EngineId": "sketch", "ExecutablePath": sys.executable, "Adapter": "generic"}]
    with running_farm(tmp_path_factory.mktemp("farm"), engines=engines) as running:
        template = (
            "sketch $RENDERONLINE:@uploaded_file $RENDERONLINE:@output_dir "
            "$RENDERONLINE:start_frame $RENDERONLINE:end_frame"
        )
        words = ["--name", "sketch", "--extension", ".py", "--render-argument", template]
        running.admin("engine", "add", *words)
        yield running


@pytest.fixture
def environment(farm: Farm) -> dict[str, str]:
    return {
        "RENDERONLINE_SERVER": farm.api.url,
        "RENDERONLINE_EMAIL": farm.user.email,
        "RENDERONLINE_TOKEN": farm.user.token,
    }


@pytest.fixture
def ask(environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """Runs a command with `--json` as the farm's user and gives its value."""
    return lambda *words: run_json(*words, home=tmp_path / "home", environment=environment)


def project(folder: Path, code: str = SLOW) -> Path:
    file = folder / "shot.py"
    file.write_text(code, encoding="utf-8")
    return file


def drawn(files: list[str]) -> list[str]:
    return sorted(Path(file).name for file in files)


# --------------------------------------------------------------------------- a real farm


def test_frames_with_gaps_are_rendered_and_no_others(
    ask: Callable[..., Any], tmp_path: Path
) -> None:
    told = ask(
        *("submit", project(tmp_path), "--frames", "1-5x2,9", "--chunk-frames", "2"),
        *("--priority", "70", "--notes", "for Monday", "--preview-first", "--machines", "1"),
        *("--download", tmp_path / "results"),
    )
    assert told["State"] == "succeeded"
    assert drawn(told["Files"]) == [f"frame_{n:04}.txt" for n in (1, 3, 5, 9)]
    task = ask("tasks", told["TaskId"])["Task"]
    assert (task["Frames"], task["Priority"], task["Notes"]) == ("1-5x2,9", 70, "for Monday")


def test_a_task_is_paused_changed_resumed_cancelled_and_requeued(
    farm: Farm, ask: Callable[..., Any], environment: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    task_id = ask("submit", project(tmp_path, HOLDS), "--frames", "1-4")["TaskId"]
    farm.wait_for_state(task_id, "running")
    assert ask("pause", task_id, "--now") == {"TaskId": task_id, "State": "paused"}
    assert ask("set", task_id, "--frames", "1-2,8", "--priority", "3", "--tags", "gpu") == {
        "TaskId": task_id,
        "State": "paused",
    }
    said = run_cli("tasks", str(task_id), home=home, environment=environment).stdout
    for word in ("paused", "1-2,8", "gpu", "0/3 frames", "shot.py"):
        assert word in said
    ask("set", task_id, "--tags", "", "--start-at", "2090-01-01T00:00")
    assert ask("resume", task_id)["State"] == "queued"
    assert ask("cancel", task_id)["State"] == ask("cancel", task_id)["State"] == "cancelled"
    done = run_cli("resume", str(task_id), home=home, environment=environment, expected_exit=1)
    assert f"Task {task_id} was cancelled" in done.stderr
    assert "Requeue" in done.stderr
    ask("set", task_id, "--start-at", "none")
    assert ask("requeue", task_id)["State"] in ("queued", "running")
    (hold,) = wait_until(lambda: list(farm.folder.rglob("hold")), "it is held up again")
    assert ask("requeue", task_id, "--frames", "all")["State"] in ("queued", "running")
    ask("cancel", task_id)
    assert hold.exists()


def test_limits_are_given_with_the_submission_changed_and_taken_away(
    ask: Callable[..., Any], environment: dict[str, str], tmp_path: Path
) -> None:
    late = ("--start-at", "2090-01-01T00:00", "--start-limit", "none", "--memory-limit", "2g")
    task_id = ask(
        *("submit", project(tmp_path), "--frames", "1-4", *late, "--silence-limit", "30m")
    )["TaskId"]

    def known() -> dict[str, Any]:
        limits = ask("tasks", task_id)["Task"]["Limits"] or {}
        return {name: value for name, value in limits.items() if value is not None}

    assert known() == {"SilenceSeconds": 1800, "MemoryBytes": 2 << 30}
    ask("set", task_id, "--silence-limit", "none", "--progress-limit", "90")
    assert known() == {"ProgressSeconds": 90, "MemoryBytes": 2 << 30}
    said = run_cli("tasks", str(task_id), home=tmp_path / "home", environment=environment).stdout
    assert "progress 0:01:30, memory 2.0 GiB" in said
    ask("set", task_id, "--progress-limit", "none", "--memory-limit", "none")
    assert known() == {}
    ask("cancel", task_id)


@pytest.mark.parametrize(
    "words", [["--frame-limit", "5d"], ["--frame-limit", "0"], ["--memory-limit", "much"]]
)
def test_a_limit_that_is_none_is_a_sentence(words: list[str]) -> None:
    for command in (["submit", "a.blend"], ["set", "7"]):
        with pytest.raises(UsageError, match="or none"):
            cli.parser().parse_args([*command, *words])


def test_a_task_can_be_given_every_limit_that_an_engine_can() -> None:
    assert {name: of[0] for name, of in task_options.LIMITS.items()} == {
        name: field for name, (field, _) in columns.LIMITS.items()
    }


def test_somebody_elses_task_is_5_and_a_frame_that_it_has_not_1(
    farm: Farm, environment: dict[str, str], ask: Callable[..., Any], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    late = ("--start-at", "2090-01-01T00:00")
    task_id = str(ask("submit", project(tmp_path), "--frames", "1-4", *late)["TaskId"])
    done = run_cli(
        *("requeue", task_id, "--frames", "3-9"),
        home=home,
        environment=environment,
        expected_exit=1,
    )
    assert "no frame 5" in done.stderr
    other = farm.add_user("other@example.com")
    theirs = environment | {"RENDERONLINE_EMAIL": other.email, "RENDERONLINE_TOKEN": other.token}
    changes = (
        ["pause"],
        ["resume"],
        ["cancel"],
        ["requeue"],
        ["forgive"],
        ["set", "--priority", "1"],
    )
    for words in changes:
        run_cli(words[0], task_id, *words[1:], home=home, environment=theirs, expected_exit=5)
    ask("cancel", task_id)


def test_a_machine_that_failed_a_task_is_shown_and_forgiven(
    farm: Farm, ask: Callable[..., Any], environment: dict[str, str], tmp_path: Path
) -> None:
    def say(*words: str, exit_code: int = 0) -> str:
        home = tmp_path / "home"
        done = run_cli(*words, home=home, environment=environment, expected_exit=exit_code)
        return done.stdout + done.stderr

    task_id = str(ask("submit", project(tmp_path, FAILS), "--frames", "1-4")["TaskId"])
    wait_until(lambda: ask("tasks", task_id)["Machines"], "it has failed")
    ask("pause", task_id, "--now")  # so that nobody tries again meanwhile
    (failed,) = ask("tasks", task_id)["Machines"]
    assert (failed["MachineId"], failed["Failures"] >= 1, failed["Cause"]) == (1, True, "machine")
    shown = say("tasks", task_id)
    assert "kept from it" in shown
    assert failed["Message"][:20] in shown
    assert "No machine 'Render 77' has failed task" in say(
        "forgive", task_id, "Render 77", exit_code=2
    )
    (broken,) = farm.folder.rglob("broken")
    (broken.parent / "mended").touch()
    assert ask("forgive", task_id, failed["Name"].upper())["State"] == "paused"
    assert ask("tasks", task_id)["Machines"] == []
    ask("resume", task_id)
    farm.wait_for_state(int(task_id), "succeeded")
    assert "cannot be tried again" in say("forgive", task_id, exit_code=1)


def test_machines_are_listed(
    farm: Farm, ask: Callable[..., Any], environment: dict[str, str], tmp_path: Path
) -> None:
    farm.admin("machine", "set", "1", "--name", "Render 1", "--tags", "gpu")
    (machine,) = wait_until(
        lambda: [m for m in ask("machines")["Machines"] if "gpu" in m["Tags"]], "the tag is there"
    )
    assert (machine["Name"], machine["State"], machine["Address"]) == ("Render 1", "enabled", None)
    said = run_cli("machines", home=tmp_path / "home", environment=environment).stdout
    for word in ("Render 1", "enabled", "sketch", "gpu", "GiB"):
        assert word in said


def test_the_client_has_every_route(farm: Farm, tmp_path: Path) -> None:
    boss = farm.add_user("boss@example.com", "--role", "admin")
    with (
        Client(farm.api.url, farm.user.email, farm.user.token) as client,
        Client(farm.api.url, boss.email, boss.token) as admin,
    ):
        arguments = {"start_frame": "1", "end_frame": "3"}
        task_id = client.enqueue(project(tmp_path), arguments=arguments)
        farm.wait_for_state(task_id, "succeeded")
        frames = client.frames(task_id, first=2, limit=1)
        assert [(f.frame, f.state, f.attempts) for f in frames.frames] == [(2, "done", 1)]
        assert frames.next == 3
        grown = client.change(task_id, wire.TaskChange(frames="1-5", notes="more"))
        assert (grown.task.frames_total, grown.task.notes) == (5, "more")
        farm.wait_for_state(task_id, "succeeded")
        with pytest.raises(Refused, match="Nothing of task"):
            client.requeue(task_id)
        with pytest.raises(NotAllowed, match="Only an admin"):
            client.act_on_machine(1, "drain")
        with pytest.raises(NotFound):
            admin.act_on_machine(99, "drain")
        assert admin.act_on_machine(1, "drain").state == "draining"
        assert admin.act_on_machine(1, "forgive").state == "enabled"
        changed = admin.change_machine(1, wire.MachineChange(only_engines=["sketch"]))
        assert changed.only_engines == ["sketch"]
        assert admin.change_machine(1, wire.MachineChange(only_engines=[])).only_engines == []


# --------------------------------------------------------------------------- what words mean


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--priority", "0"], {"priority": 0}),
        (["--chunk-frames", "ALL"], {"chunk_frames": 0}),
        (["--chunk-frames", "auto"], {"chunk_frames": None}),
        (["--chunk-frames", "8"], {"chunk_frames": 8}),
        (["--machines", "none"], {"machine_limit": None}),
        (["--tags", "a, b,,"], {"tags": ["a", "b"]}),
        (["--tags", ""], {"tags": []}),
        (["--pool", "film"], {"tags": ["film"]}),
        (["--after", "3,4"], {"after": [3, 4]}),
        (["--after", "none"], {"after": []}),
        (["--start-at", "2026-01-31T20:00+01:00"], {"start_at": "2026-01-31T19:00:00Z"}),
        (["--start-at", "none"], {"start_at": None}),
        (["--notes", "a b"], {"notes": "a b"}),
        (["--frames", "1-9x2"], {"frames": "1-9x2"}),
        (["--silence-limit", "15m"], {"limits": wire.LimitsChange(silence_seconds=900)}),
        (
            ["--frame-limit", "none", "--memory-limit", "8G"],
            {"limits": wire.LimitsChange(frame_seconds=None, memory_bytes=8 << 30)},
        ),
        ([], {}),
    ],
)
def test_only_what_is_given_is_changed(words: list[str], expected: dict[str, Any]) -> None:
    args = cli.parser().parse_args(["set", "7", *words])
    assert (args.task, task_options.given(args)) == (7, expected)


def test_a_moment_without_an_offset_is_this_machines() -> None:
    local = datetime(2026, 1, 31, 20).astimezone(UTC)
    assert task_options.moment("2026-01-31T20:00") == f"{local:%Y-%m-%dT%H:%M:%SZ}"
    for text in ("20:00", "0001-01-01T00:00+23:00", "x"):
        with pytest.raises(argparse.ArgumentTypeError, match="not a moment"):
            task_options.moment(text)


def test_a_machine_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    work = [
        wire.MachineWork(task_id=n, attempt_id=n, state=wire.ChunkState.RUNNING) for n in (9, 8)
    ]
    one = wire.Machine(
        machine_id=3, name="Render 1", address=None, state="benched", reason="It failed 5 attempts.",
        is_busy=True, work=work, tags=["gpu"], only_engines=[],
        engines=[wire.MachineEngine(engine_id="blender", version="4.5.1")],
        cores=8, memory_bytes=16 << 30, memory_free_bytes=4 << 30, load=0.5,
    )  # fmt: skip
    assert machines._row(one) == (
        *("3", "Render 1", "benched", "tasks 8, 9", "blender 4.5.1", "gpu", "8"),
        *("4.0 of 16.0 GiB", "50%"),
    )
    kept = wire.KeptFrom(
        task_id=9, failures=2, is_avoided=True, not_before="2026-01-31T20:00:00.5Z",
        cause=wire.Cause.MACHINE, message="No GPU.",
    )  # fmt: skip
    until = tasks.local_text(kept.not_before)
    assert machines._kept_text(kept) == (
        f"kept from task 9 until {until}, and while another can do it; it failed it 2 times (machine): "
        "No GPU."
    )
    assert machines.rules(one) == []
    one.hours, one.only_users, one.reserve = "sat-sun", ["a@b.c"], "film"
    assert machines.rules(one) == [
        *("takes work sat-sun", "is kept for a@b.c", "is reserved for film")
    ]
    one.work, one.load, one.cores = [], None, None
    assert machines._row(one)[3] == "busy"


def test_how_long_it_still_takes_is_shown_where_it_is_known() -> None:
    shown = wire.Task(
        task_id=1, user_id=1, queue_time=None, start_time=None, end_time=None, is_running=True,
        is_success=False, render_id=1, machine_id=1,
    )  # fmt: skip
    assert waiting.left_text(shown) == ""
    shown.eta_unknown = "Not known yet."
    assert (waiting.left_text(shown), tasks.end_text(shown)) == ("not known yet", "Not known yet.")
    shown.state = wire.TaskState.PAUSED
    assert waiting.left_text(shown) == ""
    shown.eta_seconds = 3723
    assert waiting.left_text(shown) == "1:02:03 left"
    assert tasks.end_text(shown).startswith("about 20")
    assert table.bar(0.426) == "43%", "no terminal, no bar"
