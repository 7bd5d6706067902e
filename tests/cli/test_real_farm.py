"""The command line against a real farm: a real api, a real node, real renderers."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import processes
from support.farm import Farm, running_farm
from support.processes import run_cli, run_json
from support.scenes import blender
from support.waiting import wait_until

from renderonline.client import Client

SKETCH = """
import pathlib, sys
output, first, last = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for frame in range(first, last + 1):
    (output / f"frame_{frame:04}.txt").write_text(f"frame {frame}")
"""
"""A project of the engine `sketch`: a script that writes a file for each frame."""

HANGS = "import time\nwhile True: time.sleep(1)\n"
FAILS = "raise SystemExit('there is nothing to draw')\n"


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A farm that renders with Blender, and with `sketch`, which runs Python projects."""
    engines = [
        {"EngineId": "sketch", "ExecutablePath": sys.executable, "Adapter": "generic"},
        {"EngineId": "blender", "ExecutablePath": blender()},
    ]
    with running_farm(tmp_path_factory.mktemp("farm"), engines=engines) as running:
        template = (
            "sketch $RENDERONLINE:@uploaded_file $RENDERONLINE:@output_dir "
            "$RENDERONLINE:start_frame $RENDERONLINE:end_frame"
        )
        words = ["--name", "sketch", "--extension", ".py", "--render-argument", template]
        running.admin("engine", "add", *words)
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(tmp_path / "Löwe im Wald.py", SKETCH)


def write(file: Path, content: str) -> Path:
    file.write_text(content, encoding="utf-8")
    return file


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


def test_a_blend_file_becomes_pictures_in_a_folder(cube: Path, farm: Farm, tmp_path: Path) -> None:
    """As the contract has it: address and e-mail by option, the token in the environment."""
    done = run_cli(
        *("submit", cube, "--server", farm.api.url, "--email", farm.user.email),
        *("--frames", "1-3", "--wait", "--download", tmp_path / "frames", "--json"),
        home=tmp_path / "home",
        environment={"RENDERONLINE_TOKEN": farm.user.token},
    )
    told = json.loads(done.stdout)
    assert told["State"] == "succeeded"
    files = sorted(map(Path, told["Files"]))
    assert files == sorted((tmp_path / "frames").iterdir())
    pictures = {Image.open(file).convert("RGB").tobytes() for file in files}
    assert (len(files), len(pictures)) == (3, 3)
    assert "3/3 frames" in done.stderr
    assert farm.user.token not in done.stdout + done.stderr


def test_results_are_fetched_again_whole_and_as_an_archive(
    ask: Callable[..., Any], project: Path, tmp_path: Path
) -> None:
    task_id = str(ask("submit", project, "--frames", "4-5", "--wait")["TaskId"])
    results = ask("download", task_id, tmp_path / "results")["Files"]
    assert [Path(file).name for file in results] == ["frame_0004.txt", "frame_0005.txt"]
    assert (tmp_path / "results" / "frame_0005.txt").read_text() == "frame 5"
    whole = ask("download", task_id, tmp_path / "whole", "--whole")["Files"]
    names = {Path(file).relative_to(tmp_path / "whole").as_posix() for file in whole}
    assert names == {project.name, "output/frame_0004.txt", "output/frame_0005.txt"}
    (archive,) = ask("download", task_id, tmp_path / "task.zip")["Files"]
    assert names == set(zipfile.ZipFile(archive).namelist())


def test_frames_below_zero_and_every_fourth(
    cube: Path, ask: Callable[..., Any], tmp_path: Path
) -> None:
    told = ask("submit", cube, "--frames=-4-8x4,12", "--sync", tmp_path / "sync", "--wait")
    assert told["State"] == "succeeded"
    names = [f"frame_{n}.png" for n in ("-0004", "0000", "0004", "0008", "0012")]
    assert sorted(file.name for file in (tmp_path / "sync").glob("*.png")) == names
    task_id = str(told["TaskId"])
    few = ask("download", task_id, tmp_path / "few", "--frames=-5--1,4")["Files"]
    assert {Path(file).name for file in few} == {names[0], names[2]}
    (archive,) = ask("download", task_id, tmp_path / "few.zip", "--zip", "--frames=-4")["Files"]
    assert zipfile.ZipFile(archive).namelist() == [names[0]]


def test_several_files_get_a_folder_each(
    ask: Callable[..., Any], tmp_path: Path, farm: Farm
) -> None:
    files = [write(tmp_path / f"shot{n}.py", SKETCH) for n in (1, 2)]
    told = ask("submit", *files, "--frames", "1-2", "--download", tmp_path / "results")
    assert [item["State"] for item in told] == ["succeeded", "succeeded"]
    for item, file in zip(told, files, strict=True):
        assert item["File"] == str(file)
        folder = tmp_path / "results" / f"{file.stem}-{item['TaskId']}"
        assert sorted(map(Path, item["Files"])) == sorted(folder.iterdir())
        assert len(item["Files"]) == 2


def test_several_files_are_mirrored_into_a_folder_each(
    ask: Callable[..., Any], tmp_path: Path
) -> None:
    files = [write(tmp_path / f"shot{n}.py", SKETCH) for n in (1, 2)]
    told = ask("submit", *files, "--frames", "1-2", "--sync", tmp_path / "results")
    for item, file in zip(told, files, strict=True):
        folder = tmp_path / "results" / f"{file.stem}-{item['TaskId']}"
        assert sorted(map(Path, item["Files"])) == sorted(folder.iterdir())
        assert len(item["Files"]) == 2


def test_a_task_that_fails_is_1_with_its_cause(environment: dict[str, str], tmp_path: Path) -> None:
    done = run_cli(
        *("submit", write(tmp_path / "bad.py", FAILS), "--frames", "1", "--wait", "--json"),
        home=tmp_path / "home",
        environment=environment,
        expected_exit=1,
    )
    told = json.loads(done.stdout)
    assert told["State"] == "failed"
    assert told["Cause"]
    assert told["Cause"] in done.stderr


def test_waiting_for_an_engine_that_no_machine_has_says_so(
    farm: Farm, ask: Callable[..., Any], environment: dict[str, str], tmp_path: Path
) -> None:
    template = "nowhere $RENDERONLINE:@uploaded_file"
    words = ["--name", "nowhere", "--extension", ".none", "--render-argument", template]
    farm.admin("engine", "add", *words)
    said = tmp_path / "said.txt"
    with (
        said.open("w") as stderr,
        subprocess.Popen(
            processes.command("submit", write(tmp_path / "a.none", "x"), "--wait", "--json"),
            env=processes.private_environment(tmp_path / "home", environment),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as waiting,
    ):
        try:
            wait_until(lambda: "has the engine nowhere" in said.read_text(), "the warning")
            (queued,) = ask("tasks", "--state", "queued")["Tasks"]
            ask("cancel", str(queued["Task"]["TaskId"]))
            stdout, _ = waiting.communicate(timeout=processes.DEADLINE_S)
        finally:
            waiting.kill()
    assert (waiting.returncode, json.loads(stdout)["State"]) == (1, "cancelled")
    assert said.read_text().count("has the engine nowhere") == 1


def test_a_task_is_listed_cancelled_and_deleted(
    ask: Callable[..., Any], environment: dict[str, str], tmp_path: Path, farm: Farm
) -> None:
    home = tmp_path / "home"
    told = ask("submit", write(tmp_path / "long.py", HANGS), "--frames", "1-9")
    task_id = told["TaskId"]
    assert told["State"] == "queued"
    farm.wait_for_state(task_id, "running")
    running = ask("tasks", "--state", "running")["Tasks"]
    assert [item["Task"]["TaskId"] for item in running] == [task_id]
    shown = run_cli("tasks", str(task_id), home=home, environment=environment).stdout
    assert "long.py" in shown
    assert ask("cancel", str(task_id)) == {"TaskId": task_id, "State": "cancelled"}
    assert ask("tasks", str(task_id))["Task"]["State"] == "cancelled"
    assert ask("delete", str(task_id), "--yes") == {"TaskId": task_id, "IsDeleted": True}
    for command in ("tasks", "cancel", "download"):
        target = [str(tmp_path / "x")] if command == "download" else []
        run_cli(
            *(command, str(task_id), *target),
            home=home,
            environment=environment,
            expected_exit=5,
        )
    assert list((tmp_path / "x").rglob("*") if (tmp_path / "x").exists() else []) == []


def test_a_wrong_token_is_4(farm: Farm, environment: dict[str, str], tmp_path: Path) -> None:
    wrong = environment | {"RENDERONLINE_TOKEN": "x" * 43}
    done = run_cli("tasks", home=tmp_path / "home", environment=wrong, expected_exit=4)
    assert farm.user.email in done.stderr


def test_a_full_queue_is_1_and_says_what_to_do(
    farm: Farm, environment: dict[str, str], project: Path, tmp_path: Path
) -> None:
    made = farm.admin("subscription", "add", "--name", "Nothing", "--queue-limit", "0")
    poor = farm.add_user("poor@example.com", "--subscription-id", str(made["SubscriptionId"]))
    done = run_cli(
        *("submit", project, "--frames", "1", "--json"),
        home=tmp_path / "home",
        environment=environment
        | {"RENDERONLINE_EMAIL": poor.email, "RENDERONLINE_TOKEN": poor.token},
        expected_exit=1,
    )
    told = json.loads(done.stdout)
    assert (told["TaskId"], told["Error"]) == (None, "queue_full")
    assert told["Hint"] in done.stderr


def test_a_file_that_is_refused_leaves_the_others_be(
    farm: Farm, environment: dict[str, str], tmp_path: Path
) -> None:
    made = farm.admin("subscription", "add", "--name", "One at a time", "--queue-limit", "1")
    user = farm.add_user("one@example.com", "--subscription-id", str(made["SubscriptionId"]))
    environment |= {"RENDERONLINE_EMAIL": user.email, "RENDERONLINE_TOKEN": user.token}
    files = [write(tmp_path / f"{name}.py", HANGS) for name in ("first", "second")]
    done = run_cli(
        *("submit", *files, "--frames", "1", "--json"),
        home=tmp_path / "home",
        environment=environment,
        expected_exit=1,
    )
    first, second = json.loads(done.stdout)
    assert (first["State"], second["State"]) == ("queued", None)
    assert "Error" not in first
    assert (second["TaskId"], second["Error"]) == (None, "queue_full")
    run_cli("cancel", str(first["TaskId"]), home=tmp_path / "home", environment=environment)


def test_a_saved_sign_in_serves_until_it_is_forgotten(farm: Farm, tmp_path: Path) -> None:
    home = tmp_path / "home"
    token = write(tmp_path / "token", farm.user.token + "\n")
    words = ["--server", farm.api.url, "--email", farm.user.email, "--token-file", str(token)]
    told = run_json("login", *words, home=home)
    assert told == {
        "Server": farm.api.url,
        "Email": farm.user.email,
        "UserId": farm.user.user_id,
    }
    token.unlink()
    assert "Tasks" in run_json("tasks", home=home)
    assert run_json("logout", home=home) == {"WasSignedIn": True}
    run_cli("tasks", home=home, expected_exit=2)


def test_a_sign_in_that_does_not_work_is_not_saved(farm: Farm, tmp_path: Path) -> None:
    home = tmp_path / "home"
    token = write(tmp_path / "token", "wrong")
    words = ["--server", farm.api.url, "--email", farm.user.email, "--token-file", str(token)]
    run_cli("login", *words, home=home, expected_exit=4)
    run_cli("tasks", home=home, expected_exit=2)


def test_the_client_pages_through_tasks_and_tells_health(farm: Farm, project: Path) -> None:
    with Client(farm.api.url, farm.user.email.upper(), farm.user.token) as client:
        assert client.health().name == "RenderOnline"
        assert client.info().user.user_id == farm.user.user_id
        made = [client.enqueue(project, arguments={"start_frame": "1", "end_frame": "1"})]
        made.append(
            client.enqueue(
                project, engine="SKETCH", arguments={"start_frame": "1", "end_frame": "1"}
            )
        )
        first = client.tasks(limit=1)
        assert [item.task.task_id for item in first.tasks] == made[-1:]
        assert first.next is not None
        second = client.tasks(after=first.next, limit=1)
        assert [item.task.task_id for item in second.tasks] == made[:1]
