"""/hpc over real HTTP: what a node says to starts, stops and questions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests
from support.waiting import wait_until

import renderonline
from renderonline import security, wire
from renderonline.config import EngineSetting, NodeSettings
from renderonline.lifecycle import SystemClock
from renderonline.node.api_client import Api
from renderonline.node.app import NodeApp, build
from renderonline.node.attempt_log import pasteable
from renderonline.node.orders import ReportTo
from renderonline.node.parcels import Parcels
from renderonline.node.reporter import NoReporter
from renderonline.node.results import FolderResults

from .conftest import PYTHON
from .fake_api import ListeningApi
from .hand_clock import HandClock
from .remote import Json, Remote, ours, patient
from .renderers import DEAF, FRAMES, PATIENT, TREE, family, is_alive, write_script


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A node that the tests of refusals share: none of them may leave anything behind."""
    folder = tmp_path_factory.mktemp("node")
    node = build(NodeSettings(port=0, engines=(PYTHON,), data_path=folder), SystemClock())
    node.start()
    yield Remote(node.url)
    node.close()


def test_a_node_whose_disk_is_full_of_results_takes_no_more(
    start_node: Callable[..., NodeApp], tmp_path: Path, project: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], check=True)
    try:
        filler, frame = disk / "filler", disk / "frame"
        frame.write_bytes(bytes(5_000_000))
        nobody = ReportTo(Api("http://127.0.0.1:1"), 1, "key")
        waiting = Parcels(disk / "node" / "returns")
        waiting.add(nobody, "frame.png", frame, None)
        waiting.close()
        remote = Remote(start_node(data_path=disk / "node").url)
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - 1_500_000))
        script = write_script(project, "")
        told = remote.refused("start", ours(project, script))
        assert "nearly full" in told and "4.8 MiB of results wait" in told
        assert remote.status()["Task"] is None
        filler.unlink()
        remote.start(**ours(project, script))
        assert remote.ended()["ExitCode"] == 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_who_introduces_himself_is_answered(remote: Remote) -> None:
    for url in ("https://127.0.0.1:1", "", "no address", "http://[", "ü"):
        for fingerprint in ("0" * 64, "", "ü"):
            headers = {"X-Api-Url": url.encode(), "X-Api-Fingerprint": fingerprint.encode()}
            answer = requests.get(f"{remote.url}/hpc/status", headers=headers, timeout=120)
            assert answer.status_code == 200, answer.text


def test_status_before_the_first_start(remote: Remote) -> None:
    status = remote.status()
    boot, vitals = status.pop("Boot"), status.pop("Vitals")
    assert status == {
        "EngineIds": ["python"], "Task": None, "Protocol": wire.PROTOCOL,
        "Version": renderonline.__version__, "Slots": 1, "Tasks": [], "Tags": [],
        "Engines": [{"EngineId": "python", "Adapter": "generic", "Version": None}],
        "Platform": sys.platform, "Cores": psutil.cpu_count(),
        "MemoryBytes": psutil.virtual_memory().total,
    }  # fmt: skip
    assert boot
    assert vitals["Load"] >= 0
    assert 0 < vitals["MemoryFreeBytes"] < status["MemoryBytes"]
    assert vitals["DiskFreeBytes"] > 0


# ------------------------------------------------------------------ starts by the original's api


def test_an_original_start(remote: Remote, project: Path) -> None:
    script = write_script(
        project, "import os, sys; open('seen', 'w').write(repr((os.getcwd(), os.environ['PWD'], sys.argv)))"
    )  # fmt: skip
    answer = remote.start(EngineId="PYTHON", TaskId="7", Arguments=f'Python "{script}" a  "b c" ""')
    assert answer["Message"] == "Rendering using engine with identifier: PYTHON"
    task = remote.ended()
    assert (task["TaskId"], task["IsSuccess"], task["ExitCode"]) == (7, True, 0)
    assert task["AttemptId"] is None
    expected = (str(project), str(project), [script, "a", "b c", ""])
    assert (project / "seen").read_text() == repr(expected)


def test_an_original_start_that_fails(remote: Remote, project: Path) -> None:
    script = write_script(project, "import sys; sys.exit('the scene has no camera')")
    remote.start(engineid="python", taskid=7, arguments=f'"{script}"')
    task = remote.ended()
    assert (task["IsSuccess"], task["IsRunning"], task["ExitCode"]) == (False, False, 1)
    assert task["Message"]


def test_the_engines_name_in_front_is_dropped(
    start_node: Callable[..., NodeApp], project: Path
) -> None:
    engine = EngineSetting("Raytracer", sys.executable, "generic")
    remote = Remote(start_node(engines=(engine,)).url)
    script = write_script(project, "pass")
    remote.start(EngineId="raytracer", TaskId=7, Arguments=f'raytracer "{script}"')
    assert remote.ended()["IsSuccess"]


def test_without_a_project_the_data_folder_is_the_working_folder(
    remote: Remote, tmp_path: Path
) -> None:
    code = "import os; open(os.path.join(os.getcwd(), 'here'), 'w')"
    remote.start(EngineId="python", TaskId=7, Arguments=f'-c "{code}"')
    assert remote.ended()["IsSuccess"]
    assert (tmp_path / "node" / "here").is_file()


# ------------------------------------------------------------------ starts by ours


def test_a_start_of_ours(remote: Remote, project: Path, api: ListeningApi) -> None:
    script = write_script(project, FRAMES)
    output = project / "output"
    remote.start(
        **ours(project, script, str(output), "4", "0", ApiUrl=api.url, ReportKey="k-3"),
        Owes={"Files": 4},
    )
    task = remote.ended()
    assert (task["TaskId"], task["AttemptId"], task["IsSuccess"]) == (7, 3, True)
    assert len(list(output.iterdir())) == 4
    wait_until(lambda: "ended" in api.types, "the end is reported")
    assert api.types[0] == "started"
    assert api.events[-1].is_success
    assert api.events[-1].exit_code == 0
    assert api.keys == {"k-3"}
    assert api.paths == {"renderapi/v1/node/attempts/3/events"}


def test_progress_is_seen_while_it_renders(remote: Remote, project: Path) -> None:
    end = project / "end"
    script = write_script(project, f"print('Progress: 25%', flush=True)\n{PATIENT}")
    remote.start(**ours(project, script, str(project / "begun"), str(end)))
    wait_until(lambda: remote.task()["Progress"] == 0.25, "the progress is seen")
    assert remote.task()["IsRunning"]
    end.touch()
    remote.ended()


def test_exit_code_0_without_the_files_is_no_success(remote: Remote, project: Path) -> None:
    output = project / "output"
    output.mkdir()
    (output / "from_before.txt").write_text("an earlier attempt's")
    remote.start(**ours(project, write_script(project, "print('nothing to do')")))
    task = remote.ended()
    assert (task["IsSuccess"], task["ExitCode"]) == (False, 0)
    assert task["Cause"]
    assert task["Message"]


def test_a_link_in_the_output_folders_place_is_no_success(remote: Remote, project: Path) -> None:
    (project / "private").mkdir()
    (project / "private" / "keys").write_text("secret")
    code = "import os; os.rmdir('output'); os.symlink('private', 'output')"
    start = ours(project, write_script(project, code))
    remote.start(**start)
    task = remote.ended()
    assert (task["IsSuccess"], task["ExitCode"], task["Cause"]) == (False, 0, "scene")
    assert "replaced its output folder" in task["Message"]
    assert "is a link" in remote.refused("start", {**start, "AttemptId": 4})


def test_the_log_begins_with_the_command(remote: Remote, project: Path, tmp_path: Path) -> None:
    script = write_script(project, "print('hello')")
    remote.start(**ours(project, script, "a b"))
    remote.ended()
    (log,) = (tmp_path / "node" / "logs").iterdir()
    lines = log.read_text().splitlines()
    assert lines[0] == pasteable([sys.executable, script, "a b"], project)
    assert lines[1] == "hello"
    assert lines[-1].startswith("[exit code 0; failed: ")


def test_the_environment_is_clean(
    start_node: Callable[..., NodeApp], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RENDERONLINE_TOKEN", "secret")
    monkeypatch.setenv("STUDIO_PASSWORD", "secret")
    monkeypatch.setenv("STUDIO_SHOW", "show 1")
    engine = EngineSetting("python", sys.executable, "generic", (("OCIO", "config.ocio"),))
    remote = Remote(start_node(engines=(engine,)).url)
    code = "import json, os; json.dump(dict(os.environ), open('output/env.json', 'w'))"
    remote.start(**ours(project, write_script(project, code)))
    assert remote.ended()["IsSuccess"]
    environment = json.loads((project / "output" / "env.json").read_text())
    assert environment.pop("RENDERONLINE_ATTEMPT")  # not a secret: how the tree is found
    assert not [name for name in environment if "PASSWORD" in name or "RENDERONLINE" in name]
    assert (environment["STUDIO_SHOW"], environment["OCIO"]) == ("show 1", "config.ocio")
    assert environment["PWD"] == str(project)


def test_a_repeated_start_does_not_start_again(remote: Remote, project: Path) -> None:
    code = "open('output/count', 'a').write('x')"
    start = ours(project, write_script(project, code))
    threads = [threading.Thread(target=lambda: remote.start(**start)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert remote.ended()["IsSuccess"]
    remote.start(**start)  # also when it is over: its answer was lost
    remote.ended()
    assert (project / "output" / "count").read_text() == "x"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"ReportKey": "old"}, {"ReportKey": "new"}),
        ({"ReportKey": "old"}, {}),
        ({}, {"ReportKey": "new"}),
        ({"ReportKey": "k"}, {"ReportKey": "k", "TaskId": 8}),
        ({}, {"TaskDir": "other"}),
        ({}, {"Argv": "other"}),
    ],
)
def test_another_databases_attempt_of_the_same_number_is_rendered(
    remote: Remote, project: Path, first: Json, second: Json
) -> None:
    """An api that begins anew, or a second one, counts its attempts from 1 again."""
    script = write_script(project, "open('output/count', 'a').write('x')")
    if "TaskDir" in second:
        second = {"TaskDir": str(project / "other")}
        (project / "other").symlink_to(project, target_is_directory=True)
    if "Argv" in second:
        second = {"Argv": ["python", script, "other"]}
    for changes in (first, second):
        remote.start(**{**ours(project, script), **changes})
        assert remote.ended()["IsSuccess"]
    assert (project / "output" / "count").read_text() == "xx"


def test_another_databases_attempt_is_not_taken_for_the_running_one(
    remote: Remote, project: Path
) -> None:
    start, end = patient(project, ReportKey="old")
    remote.start(**start)
    assert "already in progress" in remote.refused("start", {**start, "ReportKey": "new"})
    remote.start(**start)
    end.touch()
    remote.ended()


@pytest.mark.parametrize(("key", "digest"), [("k-3", security.digest("k-3")), (None, None)])
def test_the_status_tells_whose_attempt_it_is(
    remote: Remote, project: Path, key: str | None, digest: str | None
) -> None:
    start, end = patient(project, ReportKey=key)
    remote.start(**start)
    assert remote.task()["KeyDigest"] == digest
    end.touch()
    assert remote.ended()["KeyDigest"] == digest
    assert "k-3" not in json.dumps(remote.status())


def test_only_one_render_at_a_time(remote: Remote, project: Path) -> None:
    first, end = patient(project)
    second, _end = patient(project, attempt_id=4)
    remote.start(**first)
    assert "already in progress: task 7" in remote.refused("start", second)
    assert "already in progress" in remote.refused(
        "start", {"EngineId": "python", "TaskId": 8, "Arguments": "-V"}
    )
    assert remote.task()["AttemptId"] == 3
    end.touch()
    remote.ended()
    remote.start(**second)
    assert remote.task()["AttemptId"] == 4
    remote.ended()


def test_of_many_starts_at_once_one_wins(remote: Remote, project: Path) -> None:
    starts = [patient(project, attempt_id=number)[0] for number in range(1, 9)]
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda s=s: codes.append(remote.post("start", s).status_code))
        for s in starts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [400] * 7
    (project / "end").touch()
    remote.ended()
    assert len(list(project.glob("begun-*"))) == 1


def test_whoever_sees_the_end_may_start_at_once(remote: Remote, project: Path) -> None:
    script = write_script(project, FRAMES)
    for attempt_id in range(1, 16):
        remote.start(
            **ours(project, script, str(project / "output"), "1", "0", attempt_id=attempt_id)
        )
        assert remote.ended()["IsSuccess"]


def test_a_node_that_says_it_is_free_is_free(
    remote: Remote, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the outcome in the slot and the end of the attempt's thread."""
    gate = threading.Event()
    monkeypatch.setattr(NoReporter, "ended", lambda *_: gate.wait(120))
    script = write_script(project, FRAMES)
    remote.start(**ours(project, script, str(project / "output"), "1", "0", attempt_id=1))
    remote.ended()
    threading.Timer(0.5, gate.set).start()
    remote.start(**ours(project, script, str(project / "output"), "1", "0", attempt_id=2))
    remote.ended()


def test_the_time_stands_still_while_it_is_judged(
    start_node: Callable[..., NodeApp], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judging, gate = threading.Event(), threading.Event()

    def changed(_results: FolderResults) -> list[Path]:
        judging.set()
        gate.wait(120)
        return [Path("frame")]

    monkeypatch.setattr(FolderResults, "changed", changed)
    clock = HandClock()
    remote = Remote(start_node(clock=clock).url)
    remote.start(**ours(project, write_script(project, "pass")))
    assert judging.wait(120)
    clock.seconds += 1000
    assert (remote.task()["TotalSeconds"], remote.task()["IsRunning"]) == (0, True)
    gate.set()
    assert remote.ended()["TotalSeconds"] == 0


def test_a_failed_start_leaves_the_last_task_reported(remote: Remote, project: Path) -> None:
    remote.start(**ours(project, write_script(project, "pass")))
    before = remote.ended()
    remote.refused("start", ours(project / "none", "x", attempt_id=4))
    assert remote.task() == before


@pytest.mark.parametrize("thread_name", ["renderer-output", "reporter", "attempt"])
def test_a_start_that_fails_half_way_leaves_no_process(
    remote: Remote,
    project: Path,
    api: ListeningApi,
    monkeypatch: pytest.MonkeyPatch,
    thread_name: str,
) -> None:
    """The process runs already when the system has no thread left."""
    start_thread = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == thread_name:
            raise RuntimeError("can't start new thread")
        start_thread(thread)

    order, end = patient(project, ApiUrl=api.url, ReportKey="k")
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", start)
        response = remote.post("start", order)
    assert response.status_code == 500
    assert "Traceback" not in response.text
    assert remote.status()["Task"] is None
    assert not [
        child for child in psutil.Process().children() if order["Argv"][1] in child.cmdline()
    ]
    assert not api.types
    remote.start(**order)
    end.touch()
    remote.ended()


def test_a_renderer_that_owes_nonsense_is_not_started(
    start_node: Callable[..., NodeApp], project: Path
) -> None:
    remote = Remote(start_node(engines=(EngineSetting("blender", None, "blender"),)).url)
    begun = project / "begun"
    argv = ["-b", "--python-expr", f"open({str(begun)!r}, 'w'); import time; time.sleep(600)"]
    start = {**ours(project, ""), "EngineId": "blender", "Argv": argv, "Owes": {"Frames": "abc"}}
    assert "Owes.Frames" in remote.refused("start", start)
    assert remote.status()["Task"] is None
    assert not [child for child in psutil.Process().children() if argv[-1] in child.cmdline()]
    assert not begun.exists()


# ------------------------------------------------------------------ refusals

BAD_BODIES = [b"", b"  ", b"{", b"nonsense", b"[]", b"null", b'"x"', b"\xff\xfe", b"1e999",
              b'{"TaskId": {}}', b'{"TaskId": "x"}', b'{"TaskId": -1, "EngineId": "python", "Arguments": "a"}',
              b'{"TaskId": 99999999999999999999}', b'{"TaskId": 1.5}', b'{"TaskId": true}',
              b'{"EngineId": []}', b'{"Argv": "x"}', b'{"Argv": [[]]}', b'{"Owes": 3}',
              b"[" * 100 + b"]" * 100, b"[" * 100_000, b'{"a":' * 100 + b"1" + b"}" * 100]  # fmt: skip


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_bad_body_is_a_400_with_a_sentence(idle: Remote, body: bytes) -> None:
    assert idle.refused("start", body).endswith(".")
    assert idle.task() is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"TaskId": []}', b'{"AttemptId": "x"}', b"[" * 100_000]
)
def test_a_bad_stop_is_a_400_with_a_sentence(idle: Remote, body: bytes) -> None:
    assert idle.refused("stop", body).endswith(".")


def test_a_huge_body_is_refused(idle: Remote) -> None:
    response = idle.post("start", b'{"Arguments": "' + b"x" * (1 << 20) + b'"}')
    assert response.status_code == 413
    assert response.json()["IsSuccess"] is False


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"EngineId": "maya"}, "'maya'; it has: python"),
        ({"EngineId": ""}, "no engine"),
        ({"TaskDir": "/no/such/folder"}, "not visible from this machine"),
        ({"TaskDir": "relative"}, "not visible from this machine"),
        ({"OutputDir": "relative"}, "absolute"),
        ({"OutputDir": "/dev/null/output"}, "cannot be used"),
        ({"OutputDir": "/x\0y"}, "NUL"),
        ({"Argv": ["a\0b"]}, "NUL"),
        ({"Argv": []}, "nothing to render"),
        ({"Argv": None, "Arguments": " "}, "nothing to render"),
        ({"Owes": {"Frames": "abc"}}, "Owes.Frames: "),
        ({"Owes": {"Frames": "9-1"}}, "Owes.Frames: "),
        ({"AttemptId": -1}, "AttemptId is -1"),
        ({"AttemptId": 2**63}, "AttemptId is 9223372036854775808"),
        ({"ApiUrl": "file:///etc/passwd"}, "ApiUrl"),
        ({"ApiUrl": "http://"}, "ApiUrl"),
        ({"ApiUrl": "http://[x"}, "ApiUrl"),
        ({"ApiUrl": "http://x:y"}, "ApiUrl"),
        ({"ApiUrl": "http://x", "ReportKey": "a\r\nb: c"}, "ReportKey"),
        ({"ApiUrl": "http://x", "ReportKey": "ключ"}, "ReportKey"),
        ({"TaskDir": "/" + "x" * 5000}, "not visible from this machine"),
        ({"OutputDir": "/" + "x" * 5000}, "cannot be used"),
        ({"TaskDir": None, "Argv": ["/" + "x" * 200_000]}, "cannot be started"),
    ],
)
def test_a_start_that_cannot_be_done(
    idle: Remote, project: Path, changes: Json, sentence: str
) -> None:
    assert sentence in idle.refused("start", {**ours(project, "x.py"), **changes})
    assert idle.task() is None


def test_a_renderer_that_has_vanished(start_node: Callable[..., NodeApp], project: Path) -> None:
    link = project / "renderer"
    link.symlink_to(sys.executable)
    remote = Remote(start_node(engines=(EngineSetting("python", str(link), "generic"),)).url)
    link.unlink()
    assert f"no renderer {link}" in remote.refused("start", ours(project, "x.py"))
    assert remote.task() is None


@pytest.mark.parametrize(
    "header", [{"Origin": "http://127.0.0.1:5000"}, {"Origin": "null"}, {"Host": "evil.example"}]
)
def test_web_pages_may_not(idle: Remote, project: Path, header: dict[str, str]) -> None:
    body = json.dumps(ours(project, write_script(project, "open('ran', 'w')")))
    answers = [idle.post(verb, body, **header) for verb in ("start", "stop")]
    for answer in answers:
        assert answer.status_code == 403
        assert answer.json()["IsSuccess"] is False
        assert "Access-Control-Allow-Origin" not in answer.headers
    status = requests.get(f"{idle.url}/hpc/status", headers=header, timeout=120)
    assert (status.status_code, status.json()["Error"]) == (403, "forbidden")
    assert idle.task() is None
    preflight = requests.options(f"{idle.url}/hpc/start", headers=header, timeout=120)
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.lower().startswith("access-control")]


def test_other_routes_and_methods(idle: Remote) -> None:
    assert requests.get(f"{idle.url}/hpc/start", timeout=120).status_code == 405
    assert requests.get(f"{idle.url}/", timeout=120).json()["Error"] == "not_found"


# ------------------------------------------------------------------ stop


def test_stop_with_nothing_running(remote: Remote, project: Path) -> None:
    for _ in range(2):
        response = remote.post("stop", {"TaskId": 7})
        assert response.status_code == 200
        assert response.json()["IsSuccess"] is True
        assert "no active render" in response.json()["Message"]
        remote.start(**ours(project, write_script(project, "pass")))
        remote.ended()


@pytest.mark.parametrize("verb_body", [{"TaskId": 7}, {"taskid": "7", "attemptid": 3}])
def test_stop_ends_the_tree(remote: Remote, project: Path, verb_body: Json) -> None:
    remote.start(**ours(project, write_script(project, TREE), str(project / "pids")))
    pids = family(project / "pids")
    response = remote.post("stop", {**verb_body, "Reason": "its owner cancelled it"})
    assert response.status_code == 200
    assert response.json() == {"IsSuccess": True, "Message": "Active render terminated!"}
    assert not any(map(is_alive, pids))
    task = remote.task()
    assert (task["IsRunning"], task["IsSuccess"], task["Cause"]) == (False, False, "interrupted")
    assert task["Message"] == "Stopped: its owner cancelled it"


def test_stop_kills_what_does_not_listen(remote: Remote, project: Path) -> None:
    remote.start(**ours(project, write_script(project, DEAF), str(project / "deaf")))
    wait_until((project / "deaf").is_file, "it does not listen any more")
    assert remote.post("stop", {"TaskId": 7}).json()["Message"] == "Active render terminated!"
    assert remote.task()["ExitCode"] == -9


def test_stop_of_another_render(remote: Remote, project: Path) -> None:
    start, end = patient(project)
    remote.start(**start)
    assert "task 7, not task 8" in remote.refused("stop", {"TaskId": 8})
    assert "attempt 3, not attempt 4" in remote.refused("stop", {"TaskId": 7, "AttemptId": 4})
    assert "not task 0" in remote.refused("stop", {})
    assert remote.task()["IsRunning"]
    end.touch()
    remote.ended()


def test_an_attempt_that_is_given_away_is_stopped(
    remote: Remote, project: Path, api: ListeningApi
) -> None:
    api.accepted = False
    start, _end = patient(project, ApiUrl=api.url, ReportKey="k")
    remote.start(**start)
    task = remote.ended()
    assert task["Cause"] == "interrupted"
    assert "given this attempt away" in task["Message"]


def test_a_render_does_not_wait_for_its_api(remote: Remote, project: Path) -> None:
    """Nothing listens at the api's address."""
    closed = ListeningApi()
    closed.close()
    script = write_script(project, FRAMES)
    for attempt_id in (1, 2):
        remote.start(
            **ours(project, script, str(project / "output"), "3", "0", attempt_id=attempt_id,
                   ApiUrl=closed.url, ReportKey="k")
        )  # fmt: skip
        assert remote.ended()["IsSuccess"]


def test_the_node_ends_its_render_and_says_so(
    node: NodeApp, project: Path, api: ListeningApi
) -> None:
    remote = Remote(node.url)
    start = ours(project, write_script(project, TREE), str(project / "pids"), ApiUrl=api.url)
    remote.start(**start)
    pids = family(project / "pids")
    node.close()
    assert not any(map(is_alive, pids))
    assert api.types[-1] == "ended"
    assert api.events[-1].cause == wire.Cause.INTERRUPTED
