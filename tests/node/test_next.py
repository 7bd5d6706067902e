"""A chunk that is handed over ahead of time, and what the api hears of each."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path

import psutil
import pytest
from support.processes import DEADLINE_S
from support.waiting import wait_until

from renderonline import wire
from renderonline.node import worker
from renderonline.node.account import Account
from renderonline.node.api_client import Api
from renderonline.node.app import NodeApp
from renderonline.node.orders import ReportTo
from renderonline.node.reporter import NoReporter

from .fake_api import ListeningApi
from .remote import Json, Remote, ours, patient
from .renderers import DEAF, write_script


def held(remote: Remote) -> dict[int, str]:
    """What the status says of each attempt."""
    states = {}
    for task in remote.status()["Tasks"]:
        state = "running" if task["IsRunning"] else "waiting" if task["IsWaiting"] else "over"
        states[task["AttemptId"]] = state
    return states


def gated(project: Path, attempt_id: int, **more: object) -> tuple[Json, Path]:
    """A start whose render goes on until a file of its own is made."""
    folder = project / f"chunk {attempt_id}"
    return patient(folder, attempt_id, TaskDir=str(project), **more)


def test_the_next_chunk_begins_when_the_running_one_is_over(
    remote: Remote, project: Path, api: ListeningApi
) -> None:
    first, first_end = gated(project, 1, ApiUrl=api.url, ReportKey="k-1")
    second, second_end = gated(project, 2, ApiUrl=api.url, ReportKey="k-2", After=1)
    remote.start(**first)
    assert "when attempt 1 is over" in remote.start(**second)["Message"]
    assert held(remote) == {1: "running", 2: "waiting"}
    assert remote.task()["AttemptId"] == 1
    first_end.touch()
    wait_until(lambda: held(remote).get(2) == "running", "the second has begun")
    wait_until(lambda: api.end_of(1), "the end of the first is told")
    assert [event.type for event in api.of(2)] in ([], ["started"])
    second_end.touch()
    wait_until(lambda: api.end_of(2), "the end of the second is told")
    wait_until(lambda: held(remote) == {}, "nothing is left to tell")
    assert remote.task()["AttemptId"] == 2


def test_no_desk_is_left_behind(remote: Remote, project: Path) -> None:
    """Those that write at the same one hand it on; the last takes it away, begun or not."""
    output = project / "output"
    for number in (1, 3):
        first, first_end = gated(project, number, OutputDir=str(output))
        second, second_end = gated(project, number + 1, After=number, OutputDir=str(output))
        for start in (first, second):
            start["Argv"].append(str(output))  # whoever names it gets a desk in its place
        remote.start(**first)
        assert len(list(output.glob(".rendering-*"))) == 1
        second["TaskDir"] = str(project / "short-lived")
        (project / "short-lived").mkdir(exist_ok=True)
        remote.start(**second)
        if number == 3:
            (project / "short-lived").rmdir()
        first_end.touch()
        second_end.touch()
        wait_until(lambda: not remote.task()["IsRunning"] and not held(remote), "all is over")
        assert remote.task()["AttemptId"] == (2 if number == 1 else 3)
        wait_until(lambda: not list(output.glob(".rendering-*")), "the desk is gone")


def test_it_begins_before_the_end_of_the_other_is_told(
    remote: Remote, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The renderer never waits for the network."""
    running: queue.Queue[int | None] = queue.Queue()
    monkeypatch.setattr(
        NoReporter, "ended", lambda _self, _task: running.put(remote.task()["AttemptId"])
    )
    first, first_end = gated(project, 1)
    second, second_end = gated(project, 2, After=1)
    remote.start(**first)
    remote.start(**second)
    first_end.touch()
    assert running.get(timeout=120) == 2
    second_end.touch()
    remote.ended()


def test_a_chunk_that_came_with_an_answer(remote: Remote, project: Path, api: ListeningApi) -> None:
    first, first_end = gated(project, 1, ApiUrl=api.url, ReportKey="k-1")
    second, second_end = gated(project, 2, ApiUrl=api.url, ReportKey="k-2")
    api.next.append(wire.convert(second, wire.HpcStart))
    remote.start(**first)
    wait_until(lambda: held(remote) == {1: "running", 2: "waiting"}, "it came with `started`")
    first_end.touch()
    second_end.touch()
    wait_until(lambda: api.end_of(2), "the end of the second is told")


def test_a_chunk_that_came_with_the_answer_to_the_end(
    remote: Remote, project: Path, api: ListeningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request per chunk is enough to keep a machine at work."""
    monkeypatch.setattr("renderonline.node.outbox.HOLD_S", 600.0)
    last = 6
    for attempt_id in range(2, last + 1):
        start, end = gated(project, attempt_id, ApiUrl=api.url, ReportKey="k")
        end.touch()
        api.next.append(wire.convert(start, wire.HpcStart))
    start, end = gated(project, 1, ApiUrl=api.url, ReportKey="k")
    end.touch()
    remote.start(**start)
    for attempt_id in range(1, last + 1):
        wait_until(lambda number=attempt_id: api.end_of(number), "its end is told")
        assert [event.type for event in api.of(attempt_id)] == ["started", "ended"]
    assert len(api.reports) == last


def test_two_that_came_with_one_answer(remote: Remote, project: Path, api: ListeningApi) -> None:
    """The second waits for the first, which nothing is told of before its end."""
    starts, ends = zip(
        *(gated(project, number, ApiUrl=api.url, ReportKey="k") for number in (1, 2, 3)),
        strict=True,
    )
    remote.start(**starts[0])
    wait_until(lambda: api.of(1), "its start is told")
    api.next.append(wire.convert(starts[1], wire.HpcStart))
    api.then.append(wire.convert({**starts[2], "After": 2}, wire.HpcStart))
    ends[0].touch()
    wait_until(lambda: held(remote) == {2: "running", 3: "waiting"}, "both came with one answer")
    for end in ends[1:]:
        end.touch()
    wait_until(lambda: api.end_of(3), "the end of the last is told")


def test_only_one_is_kept_ahead(remote: Remote, project: Path) -> None:
    first, first_end = gated(project, 1)
    second, second_end = gated(project, 2, After=1)
    third, _ = gated(project, 3, After=1)
    remote.start(**first)
    remote.start(**second)
    remote.start(**second)  # its answer was lost
    assert "Attempt 2 waits already" in remote.refused("start", third)
    assert held(remote) == {1: "running", 2: "waiting"}
    first_end.touch()
    second_end.touch()
    wait_until(lambda: remote.task()["AttemptId"] == 2, "the second has begun")
    remote.ended()
    assert len(list(project.glob("*/begun-*"))) == 2


def test_one_that_waits_for_nothing_begins_at_once(remote: Remote, project: Path) -> None:
    start, end = gated(project, 2, After=1)
    remote.start(**start)
    assert remote.task()["IsRunning"]
    assert not remote.task()["IsWaiting"]
    other, _ = gated(project, 3, After=1)
    assert "already in progress" in remote.refused("start", other)
    end.touch()
    remote.ended()


def test_the_original_keeps_nothing_ahead(remote: Remote, project: Path) -> None:
    first, first_end = gated(project, 1)
    remote.start(**first)
    original = {"EngineId": "python", "TaskId": 8, "Arguments": "-V", "After": 1}
    assert "already in progress" in remote.refused("start", original)
    first_end.touch()
    remote.ended()


@pytest.mark.parametrize("with_attempt", [True, False])
def test_a_stop_drops_what_waits(
    remote: Remote, project: Path, api: ListeningApi, with_attempt: bool
) -> None:
    first, first_end = gated(project, 1)
    second, _ = gated(project, 2, After=1, TaskId=8, ApiUrl=api.url, ReportKey="k-2")
    remote.start(**first)
    remote.start(**second)
    stop = {"TaskId": 8, **({"AttemptId": 2} if with_attempt else {})}
    answer = remote.post("stop", stop)
    assert (answer.status_code, answer.json()["IsSuccess"]) == (200, True)
    assert remote.task()["IsRunning"]
    first_end.touch()
    remote.ended()
    assert remote.task()["AttemptId"] == 1
    wait_until(lambda: held(remote) == {}, "nothing is left to tell")
    assert api.of(2) == []
    assert not list(project.glob("*/begun-2"))


def test_a_stop_of_the_running_one_lets_the_next_begin(remote: Remote, project: Path) -> None:
    first, _ = gated(project, 1)
    second, second_end = gated(project, 2, After=1)
    remote.start(**first)
    remote.start(**second)
    assert remote.post("stop", {"TaskId": 7, "AttemptId": 1}).status_code == 200
    assert (remote.task()["AttemptId"], remote.task()["IsRunning"]) == (2, True)
    assert "is attempt 2, not attempt 1" in remote.refused("stop", {"TaskId": 7, "AttemptId": 1})
    second_end.touch()
    remote.ended()


def test_one_that_cannot_begin_is_given_back(
    remote: Remote, project: Path, api: ListeningApi
) -> None:
    first, first_end = gated(project, 1, ApiUrl=api.url, ReportKey="k-1")
    second, _ = gated(project, 2, After=1, ApiUrl=api.url, ReportKey="k-2")
    second["OutputDir"] = str(project / "link")
    remote.start(**first)
    remote.start(**second)
    (project / "link").symlink_to(project)
    first_end.touch()
    end = wait_until(lambda: api.end_of(2), "the refusal is told")
    assert (end.is_success, end.cause) == (False, wire.Cause.INTERRUPTED)
    assert "is a link" in (end.message or "")
    assert [event.type for event in api.of(2)] == ["ended"]
    wait_until(lambda: api.end_of(1), "the first's end is told, too")
    wait_until(lambda: held(remote) == {}, "nothing is left to tell")
    start, end_file = gated(project, 3)
    end_file.touch()
    remote.start(**start)  # the node is free
    remote.ended()


@pytest.mark.parametrize("changes", [{"EngineId": "maya"}, {"Argv": []}])
def test_a_chunk_in_an_answer_that_cannot_be_is_given_back(
    remote: Remote, project: Path, api: ListeningApi, changes: Json
) -> None:
    first, first_end = gated(project, 1, ApiUrl=api.url, ReportKey="k-1")
    second, _ = gated(project, 2, ApiUrl=api.url, ReportKey="k-2")
    api.next.append(wire.convert({**second, **changes}, wire.HpcStart))
    remote.start(**first)
    end = wait_until(lambda: api.end_of(2), "the refusal is told")
    assert (end.is_success, end.cause) == (False, wire.Cause.INTERRUPTED)
    assert end.message
    assert remote.task()["IsRunning"]
    first_end.touch()
    remote.ended()


def test_a_node_that_ends_gives_back_what_waits(
    node: NodeApp, remote: Remote, project: Path, api: ListeningApi
) -> None:
    first, _ = gated(project, 1, ApiUrl=api.url, ReportKey="k-1")
    second, _ = gated(project, 2, After=1, ApiUrl=api.url, ReportKey="k-2")
    remote.start(**first)
    remote.start(**second)
    node.close()
    for attempt_id in (1, 2):
        end = api.end_of(attempt_id)
        assert end is not None
        assert (end.cause, end.message) == (wire.Cause.INTERRUPTED, "The node was stopped.")
    assert not list(project.glob("*/begun-2"))


@pytest.mark.parametrize("by", ["itself", "the node"])
def test_a_node_that_ends_tells_of_what_has_just_ended(
    node: NodeApp,
    remote: Remote,
    project: Path,
    api: ListeningApi,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    """Its end is written down first, which takes a slow disk a while."""
    tell_end, is_ending = Account.tell_end, threading.Event()

    def slowly(account: Account, has_next: bool = False) -> None:
        is_ending.set()
        time.sleep(0.3)
        tell_end(account, has_next)

    monkeypatch.setattr(Account, "tell_end", slowly)
    start, end = gated(project, 1, ApiUrl=api.url, ReportKey="k")
    remote.start(**start)
    if by == "itself":
        end.touch()
        assert is_ending.wait(DEADLINE_S)
    node.close()
    told = api.end_of(1)
    assert told is not None
    assert (told.message == "The node was stopped.") is (by == "the node")


def test_an_end_is_told_although_others_have_begun(
    remote: Remote, project: Path, api: ListeningApi
) -> None:
    """The api is away while three chunks end."""
    api.status = 500
    for attempt_id in (1, 2, 3):
        start, end = gated(project, attempt_id, ApiUrl=api.url, ReportKey="k")
        remote.start(**start)
        end.touch()
        remote.ended()
    assert held(remote) == {1: "over", 2: "over", 3: "over"}
    last, last_end = gated(project, 4, ApiUrl=api.url, ReportKey="k")
    remote.start(**last)
    assert held(remote) == {1: "over", 2: "over", 3: "over", 4: "running"}
    api.status = 200
    for attempt_id in (1, 2, 3):
        end_of = wait_until(lambda number=attempt_id: api.end_of(number), "its end is told")
        assert end_of.exit_code == 0
    last_end.touch()
    wait_until(lambda: held(remote) == {}, "nothing is left to tell")


def test_of_many_untold_ends_the_oldest_are_given_up(
    remote: Remote, project: Path, api: ListeningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("renderonline.node.books.MAX_UNTOLD", 2)
    api.status = 500
    for attempt_id in (1, 2, 3, 4, 5):
        start, end = gated(project, attempt_id, ApiUrl=api.url, ReportKey="k")
        end.touch()
        remote.start(**start)
        remote.ended()
    assert sorted(held(remote)) == [3, 4, 5]


def test_one_whose_results_wait_is_never_given_up(
    node: NodeApp, project: Path, api: ListeningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its api may be full, or away, for days; what was rendered meanwhile is all there is of it."""
    remote = Remote(node.url)
    monkeypatch.setattr("renderonline.node.books.MAX_UNTOLD", 2)
    api.status, nobody = 500, Api("http://127.0.0.1:1")
    first, first_end = gated(project, 1, ApiUrl=nobody.url, ReportKey="k")
    remote.start(**first)
    (frame := project / "frame.png").write_bytes(b"a frame")
    returns = node.machine._workplace.returns
    returns.put(ReportTo(nobody, 1, "k"), frame, Path("frame.png"), None)
    first_end.touch()
    remote.ended()
    for attempt_id in (2, 3, 4, 5):
        start, end = gated(project, attempt_id, ApiUrl=api.url, ReportKey="k")
        end.touch()
        remote.start(**start)
        remote.ended()
    assert sorted(held(remote)) == [1, 3, 4, 5]
    assert returns.apis() == {nobody}


def test_no_thread_left_for_the_next(
    remote: Remote, project: Path, api: ListeningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first's end is told all the same, and the second is given back."""
    first, first_end = gated(project, 1, ApiUrl=api.url, ReportKey="k-1")
    second, _ = gated(project, 2, After=1, ApiUrl=api.url, ReportKey="k-2")
    remote.start(**first)
    remote.start(**second)

    def begin(*_: object) -> worker.Attempt:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(worker, "begin", begin)
    first_end.touch()
    wait_until(lambda: api.end_of(1) and api.end_of(2), "both ends are told")


def test_many_chunks_one_behind_the_other(remote: Remote, project: Path) -> None:
    """Starts, ends and questions from all sides at once: each chunk is rendered once."""
    last = 30
    script = write_script(project, "import sys; open(sys.argv[1], 'a').write('x')")
    stop = threading.Event()
    questions = threading.Thread(target=lambda: [remote.status() for _ in iter(stop.is_set, True)])
    questions.start()
    for attempt_id in range(1, last + 1):
        file = str(project / f"{attempt_id}.txt")
        start = ours(project, script, file, attempt_id=attempt_id, After=attempt_id - 1)
        wait_until(
            lambda start=start: remote.post("start", start).status_code == 200,
            "there is room for it",
            every_s=0.005,
        )
    wait_until(lambda: remote.task()["AttemptId"] == last, "the last has begun")
    remote.ended()
    stop.set()
    questions.join()
    assert [(project / f"{n}.txt").read_text() for n in range(1, last + 1)] == ["x"] * last


def test_a_stop_after_the_next_has_begun_does_not_reach_it(
    remote: Remote, project: Path, api: ListeningApi
) -> None:
    """The api gives the first away when it is over already."""
    first, first_end = gated(project, 1, ApiUrl=api.url, ReportKey="k-1")
    second, second_end = gated(project, 2, After=1)
    remote.start(**first)
    remote.start(**second)
    wait_until(lambda: api.of(1), "the start is told")
    api.accepted = False
    first_end.touch()
    wait_until(lambda: api.end_of(1), "the end is told")
    wait_until(lambda: held(remote) == {2: "running"}, "the first is settled")
    second_end.touch()
    assert remote.ended()["AttemptId"] == 2
    assert remote.task()["Cause"] != "interrupted"


def test_a_deaf_render_is_killed_and_the_next_begins(remote: Remote, project: Path) -> None:
    script = write_script(project, DEAF)
    remote.start(**ours(project, script, str(project / "deaf"), attempt_id=1))
    wait_until((project / "deaf").is_file, "it does not listen any more")
    second, second_end = gated(project, 2, After=1)
    remote.start(**second)
    remote.post("stop", {"TaskId": 7, "AttemptId": 1})
    wait_until(lambda: remote.task()["AttemptId"] == 2, "the second has begun")
    assert not [c for c in psutil.Process().children() if script in c.cmdline()]
    second_end.touch()
    remote.ended()
