"""What an artist does to a task while it waits, runs or is over, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.waiting import wait_until

from .house import House
from .our_node import Json, OurNode, our_node
from .workshop import add_machine, state, wait_for_attempts

VERBS = ("pause", "resume", "cancel", "requeue", "forgive")


@pytest.fixture(scope="module")
def only_machine(house: House) -> Iterator[OurNode]:
    with our_node("any", "blender") as node:
        add_machine(house, node.port)
        yield node


@pytest.fixture
def machine(house: House, only_machine: OurNode) -> Iterator[OurNode]:
    """The house's only machine, idle; what is left of the test's tasks is cancelled after it."""
    yield only_machine
    live = "SELECT task_id FROM tasks WHERE state IN ('queued', 'running', 'paused')"
    for (task_id,) in house.rows(live):
        do(house, task_id, "cancel")
    only_machine.finish()


@pytest.fixture(autouse=True)
def nothing_went_wrong(house: House) -> Iterator[None]:
    yield
    house.assert_quiet()


def do(house: House, task_id: int, verb: str, person: str = "artist", **body: Any) -> Json:
    """POST tasks/<id>/<verb>, which must succeed; the task."""
    answer = asked(house, task_id, verb, person, **body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["Task"])


def asked(
    house: House, task_id: object, verb: str, person: str = "artist", **body: Any
) -> requests.Response:
    return house.request("POST", f"tasks/{task_id}/{verb}", house.people[person], json=body or None)


def patched(
    house: House, task_id: object, person: str = "artist", **body: Any
) -> requests.Response:
    return house.request("PATCH", f"tasks/{task_id}", house.people[person], json=body)


def change(house: House, task_id: int, **body: Any) -> Json:
    answer = patched(house, task_id, **body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["Task"])


def task(house: House, frames: str = "1-10", **fields: Any) -> int:
    """A task of the engine blender, which tells its frames; cut into chunks of five."""
    return house.task(
        name="scene.blend", arguments={}, Frames=frames, **{"ChunkFrames": 5, **fields}
    )


def places(house: House, task_id: int) -> tuple[str, str, str]:
    """The frames that wait, are done, are given up."""
    return house.rows("SELECT todo, done, failed FROM tasks WHERE task_id = ?", task_id)[0]


def running(house: House, machine: OurNode, **fields: Any) -> tuple[int, Json]:
    """A task of ten frames whose first five are on the machine, and that start message."""
    task_id = task(house, **fields)
    start = machine.wait_for_start(task_id)
    wait_for_attempts(house, task_id, "running")
    assert start["frames"] == "1-5"
    return task_id, start


def end(house: House, machine: OurNode, start: Json, frames: str, **event: Any) -> None:
    """The machine reports that this attempt is over, with these frames saved.

    It has taken long, so that the next chunk is not handed over before this one ends.
    """
    machine.finish()
    told = {"IsSuccess": False, "Cause": "interrupted", "Message": "Stopped.", "Frames": frames}
    told |= {"StartupSeconds": 10, "RenderSeconds": 1000}
    assert machine.report(house, start, 9, Type="ended", **{**told, **event})


# --------------------------------------------------------------------------- pause, resume


def test_pausing_lets_the_machine_end_its_frame_and_keeps_what_is_saved(
    house: House, machine: OurNode
) -> None:
    task_id, start = running(house, machine)
    assert do(house, task_id, "pause")["State"] == "paused"
    stop = machine.wait_for_stop(task_id)
    assert (stop["attemptid"], stop["afterframe"]) == (start["attemptid"], True)
    wait_for_attempts(house, task_id, "running")
    end(house, machine, start, "1-2")
    assert places(house, task_id) == ("3-10", "1-2", "")
    assert state(house, task_id) == "paused"
    assert do(house, task_id, "pause")["State"] == "paused"
    assert do(house, task_id, "resume")["State"] in ("queued", "running")
    wait_for_attempts(house, task_id, "interrupted", "running")
    assert machine.starts[-1]["frames"] == "3-7"


def test_pausing_now_takes_the_frames_back_at_once(house: House, machine: OurNode) -> None:
    task_id, start = running(house, machine)
    assert machine.report(house, start, 1, Type="progress", Frames="1-2")
    assert do(house, task_id, "pause", Now=True)["FramesDone"] == 2
    assert places(house, task_id) == ("3-10", "1-2", "")
    wait_for_attempts(house, task_id, "interrupted")
    assert not machine.wait_for_stop(task_id).get("afterframe")
    assert not machine.report(house, start, 2, Type="ended", IsSuccess=True, Frames="1-5"), (
        "it is over"
    )
    assert state(house, task_id) == "paused"


def test_pausing_now_may_follow_a_pause_that_takes_too_long(house: House, machine: OurNode) -> None:
    task_id, _ = running(house, machine)
    do(house, task_id, "pause")
    machine.wait_for_stop(task_id)
    do(house, task_id, "pause", Now=True)
    machine.wait_for_stop(task_id, 2)
    assert places(house, task_id) == ("1-10", "", "")


def test_resuming_while_a_machine_ends_its_frame_keeps_that_chunk(
    house: House, machine: OurNode
) -> None:
    task_id, start = running(house, machine)
    do(house, task_id, "pause")
    machine.wait_for_stop(task_id)
    assert do(house, task_id, "resume")["State"] == "running"
    end(house, machine, start, "1")
    wait_for_attempts(house, task_id, "interrupted", "running")
    assert places(house, task_id) == ("7-10", "1", "")


@pytest.mark.parametrize("fields", [{"ChunkFrames": 0}, {"engine": "any"}])
def test_what_cannot_end_with_a_frame_goes_on_to_its_end_while_paused(
    house: House, machine: OurNode, fields: Json
) -> None:
    """A task in one piece; a chunk of an engine that does not tell its frames."""
    is_any = "engine" in fields
    task_id = house.task(ChunkFrames=3) if is_any else task(house, **fields)
    start = machine.wait_for_start(task_id)
    wait_for_attempts(house, task_id, "running")
    do(house, task_id, "pause")
    end(house, machine, start, "", IsSuccess=True, Cause=None)
    assert state(house, task_id) == "succeeded"
    assert [stop for stop in machine.stops if stop["taskid"] == task_id] == []


def test_a_paused_task_gets_no_machine(house: House, machine: OurNode) -> None:
    blocking, _ = running(house, machine)
    task_id = task(house)
    do(house, task_id, "pause")
    do(house, blocking, "cancel")
    other = house.task()
    machine.wait_for_start(other)
    assert state(house, task_id) == "paused"
    assert [s for s in machine.starts if s["taskid"] == task_id] == []


# --------------------------------------------------------------------------- cancel, requeue


def test_cancelling_answers_with_the_task_and_may_be_repeated(
    house: House, machine: OurNode
) -> None:
    task_id, _ = running(house, machine)
    for _ in range(2):
        assert do(house, task_id, "cancel")["State"] == "cancelled"
    machine.wait_for_stop(task_id)


def test_a_cancelled_task_that_is_requeued_renders_only_what_is_missing(
    house: House, machine: OurNode
) -> None:
    task_id, start = running(house, machine)
    assert machine.report(house, start, 1, Type="progress", Frames="1-3")
    do(house, task_id, "cancel")
    seen = do(house, task_id, "requeue")
    assert (seen["State"] in ("queued", "running"), seen["EndTime"], seen["Cause"]) == (
        True,
        None,
        None,
    )
    wait_for_attempts(house, task_id, "interrupted", "running")
    assert machine.starts[-1]["frames"] == "4-8"
    assert house.rows("SELECT COUNT(*) FROM queue WHERE task_id = ?", task_id) == [(1,)]


def finished(house: House, machine: OurNode) -> int:
    """A task whose ten frames are done."""
    task_id = task(house, ChunkFrames=10)
    start = machine.wait_for_start(task_id)
    end(house, machine, start, "1-10", IsSuccess=True, Cause=None)
    assert state(house, task_id) == "succeeded"
    return task_id


@pytest.mark.parametrize(
    ("frames", "started"), [("all", "1-10"), ("2-3", "2-3"), ("ALL", "1-10"), (" 4 ", "4")]
)
def test_a_finished_task_is_rendered_again(
    house: House, machine: OurNode, frames: str, started: str
) -> None:
    task_id = finished(house, machine)
    do(house, task_id, "requeue", Frames=frames)
    wait_for_attempts(house, task_id, "succeeded", "running")
    start = machine.starts[-1]
    assert start["frames"] == started
    end(house, machine, start, started, IsSuccess=True, Cause=None)
    seen = house.get(f"tasks/{task_id}")["Task"]
    assert (seen["State"], seen["FramesDone"], seen["IsSuccess"]) == ("succeeded", 10, True)


def test_a_frame_that_was_given_up_is_tried_again_and_all_is_forgiven(
    house: House, machine: OurNode
) -> None:
    task_id, start = running(house, machine)
    end(house, machine, start, "1-5", IsSuccess=True, Cause=None)
    wait_for_attempts(house, task_id, "succeeded", "running")
    end(house, machine, machine.starts[-1], "6", Cause="scene", Message="No camera.")
    assert places(house, task_id)[1:] == ("1-6", "7")
    do(house, task_id, "pause", Now=True)
    do(house, task_id, "requeue", Frames="failed")
    assert places(house, task_id) == ("7-10", "1-6", "")
    ((forgiven, failures),) = house.rows(
        "SELECT forgiven, failures FROM tasks JOIN records USING (task_id) WHERE task_id = ?",
        task_id,
    )
    ((last,),) = house.rows("SELECT MAX(attempt_id) FROM chunks")
    assert (forgiven, failures) == (last, 0)


def test_requeueing_what_is_done_is_told_and_the_queue_has_its_limit(
    house: House, machine: OurNode
) -> None:
    task_id = finished(house, machine)
    answer = asked(house, task_id, "requeue")
    assert (answer.status_code, answer.json()["Error"]) == (409, "nothing_missing")
    house.rows("UPDATE subscriptions SET queue_limit = 0")
    try:
        answer = asked(house, task_id, "requeue", Frames="all")
    finally:
        house.rows("UPDATE subscriptions SET queue_limit = 255")
    assert (answer.status_code, answer.json()["Error"]) == (409, "queue_full")
    assert state(house, task_id) == "succeeded"
    (house.task_dir(task_id) / "scene.blend").unlink()
    answer = asked(house, task_id, "requeue", Frames="all")
    assert (answer.status_code, answer.json()["Error"]) == (409, "no_files")


def test_a_task_in_one_piece_is_requeued_whole(house: House, machine: OurNode) -> None:
    task_id = task(house, ChunkFrames=0)
    start = machine.wait_for_start(task_id)
    end(house, machine, start, "", IsSuccess=True, Cause=None)
    assert asked(house, task_id, "requeue").status_code == 409
    do(house, task_id, "requeue", Frames="2")
    wait_for_attempts(house, task_id, "succeeded", "running")
    assert machine.starts[-1]["frames"] == "1-10"


# --------------------------------------------------------------------------- change


def test_what_was_asked_for_is_changed_and_taken_back(house: House, machine: OurNode) -> None:
    before, task_id = task(house), task(house)
    seen = change(
        house,
        task_id,
        Priority=90,
        Tags=["gpu", "fast"],
        Notes="for Monday",
        After=[before],
        StartAt="2030-01-31T20:00:00+01:00",
        ChunkFrames=7,
        MachineLimit=2,
        Limits={"SilenceSeconds": 60},
    )
    assert (seen["Priority"], seen["Tags"], seen["Notes"]) == (90, ["fast", "gpu"], "for Monday")
    assert (seen["After"], seen["StartAt"]) == ([before], "2030-01-31T19:00:00.000000Z")
    columns = "SELECT chunk_frames, machine_limit, limits FROM tasks WHERE task_id = ?"
    ((size, most, limits),) = house.rows(columns, task_id)
    assert (size, most, "60" in limits) == (7, 2, True)
    seen = change(
        house, task_id, Priority=None, Tags=[], Notes=None, After=[], StartAt=None,
        ChunkFrames=None, MachineLimit=None, Limits=None,
    )  # fmt: skip
    assert (seen["Priority"], seen["Tags"], seen["Notes"]) == (50, [], None)
    assert (seen["After"], seen["StartAt"]) == ([], None)
    assert house.rows(columns, task_id) == [(None, None, None)]
    assert change(house, task_id)["Priority"] == 50, "nothing is asked for, nothing changes"


def test_of_the_limits_only_those_that_are_named_change(house: House) -> None:
    late = "2090-01-01T00:00:00Z"
    task_id = task(house, StartAt=late, Limits={"SilenceSeconds": 60, "MemoryBytes": 1 << 30})

    def limits(**wanted: Any) -> dict[str, float]:
        shown = change(house, task_id, Limits=wanted or None)["Limits"] or {}
        return {name: value for name, value in shown.items() if value is not None}

    assert limits(FrameSeconds=7) == {
        "SilenceSeconds": 60,
        "MemoryBytes": 1 << 30,
        "FrameSeconds": 7,
    }
    assert limits(silenceseconds=None, FrameSeconds="8") == {
        "MemoryBytes": 1 << 30,
        "FrameSeconds": 8,
    }
    assert limits() == {}
    assert limits(StartSeconds=None) == {}
    assert house.rows("SELECT limits FROM tasks WHERE task_id = ?", task_id) == [(None,)]
    do(house, task_id, "cancel")


def test_limits_of_each_variant_are_its_own(house: House) -> None:
    """What one of them has besides stays when the whole gets another."""
    late = "2090-01-01T00:00:00Z"
    whole = task(house, StartAt=late, Variants=[{"Name": "a"}, {"Name": "b"}])
    one, other = (told["TaskId"] for told in house.get(f"tasks/{whole}")["Variants"])
    change(house, one, Limits={"StartSeconds": 5})
    assert change(house, whole, Limits={"FrameSeconds": 9})["Limits"]["FrameSeconds"] == 9
    known = [house.get(f"tasks/{number}")["Task"]["Limits"] for number in (one, other)]
    assert [(of["StartSeconds"], of["FrameSeconds"]) for of in known] == [(5, 9), (None, 9)]
    do(house, whole, "cancel")


def test_a_changed_priority_decides_who_is_next(house: House, machine: OurNode) -> None:
    _, start = running(house, machine, frames="1-5")
    first, second = task(house), task(house)
    change(house, second, Priority=60)
    end(house, machine, start, "1-5", IsSuccess=True, Cause=None)
    machine.wait_for_start(second)
    assert state(house, first) == "queued"


def test_frames_grow_and_shrink_while_a_machine_is_at_work(house: House, machine: OurNode) -> None:
    task_id, start = running(house, machine)
    assert change(house, task_id, Frames="1-20")["FramesTotal"] == 20
    assert places(house, task_id) == ("6-20", "", "")
    assert machine.report(house, start, 1, Type="progress", Frames="1-2")
    change(house, task_id, Frames="2-4,7-8")
    stop = machine.wait_for_stop(task_id)
    assert stop["afterframe"], "its frame is still wanted"
    end(house, machine, start, "1-3")
    wait_until(lambda: places(house, task_id) == ("7-8", "2-3", ""), "frame 4 is given out again")
    assert machine.starts[-1]["frames"] == "4"


def test_a_chunk_of_which_nothing_is_wanted_any_more_is_stopped(
    house: House, machine: OurNode
) -> None:
    task_id, start = running(house, machine)
    assert machine.report(house, start, 1, Type="progress", Frames="1-2")
    seen = change(house, task_id, Frames="1-2,6-7")
    assert (seen["FramesDone"], seen["FramesTotal"]) == (2, 4)
    assert not machine.wait_for_stop(task_id).get("afterframe")
    wait_for_attempts(house, task_id, "interrupted", "running")
    assert machine.starts[-1]["frames"] == "6-7"


def test_a_task_that_shrinks_to_what_is_done_has_succeeded(house: House, machine: OurNode) -> None:
    task_id, start = running(house, machine)
    assert machine.report(house, start, 1, Type="progress", Frames="1-3")
    seen = change(house, task_id, Frames="1-2")
    assert (seen["State"], seen["FramesTotal"], seen["FramesDone"]) == ("succeeded", 2, 2)
    assert seen["Cause"] is None
    assert house.rows("SELECT * FROM queue WHERE task_id = ?", task_id) == []


def test_a_finished_task_that_grows_renders_only_what_is_new(
    house: House, machine: OurNode
) -> None:
    task_id = finished(house, machine)
    assert change(house, task_id, Frames="1-5")["State"] == "succeeded"
    assert change(house, task_id, Frames="1-6,20")["State"] in ("queued", "running")
    wait_for_attempts(house, task_id, "succeeded", "running")
    assert machine.starts[-1]["frames"] == "6,20"


def test_a_cancelled_task_that_shrinks_to_what_is_done_has_succeeded(
    house: House, machine: OurNode
) -> None:
    task_id, start = running(house, machine)
    assert machine.report(house, start, 1, Type="progress", Frames="1-3")
    do(house, task_id, "cancel")
    assert change(house, task_id, Frames="1-4")["State"] == "cancelled"
    assert change(house, task_id, Frames="1-3")["State"] == "succeeded"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"Priority": 101}, 400, "0 to 100"),
        ({"Priority": "high"}, 400, "does not fit"),
        ({"Frames": "9-1"}, 400, "inverted"),
        ({"Frames": ""}, 400, "No frames"),
        ({"Frames": "1-1048575"}, 400, "1048574"),
        ({"Tags": ["a b"]}, 400, "is not a tag"),
        ({"Tags": "gpu"}, 400, "does not fit"),
        ({"Notes": "x" * 4001}, 400, "4000"),
        ({"Notes": "\x1b[2J"}, 400, "control"),
        ({"ChunkFrames": -1}, 400, "ChunkFrames"),
        ({"ChunkFrames": 0}, 409, "cannot be one piece"),
        ({"MachineLimit": 0}, 400, "MachineLimit"),
        ({"After": [999999]}, 400, "no task 999999"),
        ({"After": [-1]}, 400, "no task -1"),
        ({"StartAt": "tomorrow"}, 400, "StartAt"),
        ({"Limits": {"FrameSeconds": 0}}, 400, "Limits"),
        ({"Limits": {"MemoryBytes": "much"}}, 400, "does not fit"),
        ({"Limits": 60}, 400, "does not fit"),
        ([1], 400, "JSON object"),
    ],
)
def test_a_change_that_cannot_be_is_a_sentence_and_changes_nothing(
    house: House, body: object, status: int, says: str
) -> None:
    task_id = task(house, StartAt="2090-01-01T00:00:00Z")
    before = house.rows("SELECT * FROM tasks WHERE task_id = ?", task_id)
    answer = house.request("PATCH", f"tasks/{task_id}", json=body)
    assert (answer.status_code, says in answer.json()["ErrorMessage"]) == (status, True), (
        answer.text
    )
    assert house.rows("SELECT * FROM tasks WHERE task_id = ?", task_id) == before


def test_a_task_cannot_wait_for_itself_by_any_way_round(house: House) -> None:
    first = task(house, StartAt="2090-01-01T00:00:00Z")
    second = task(house, After=[first])
    third = task(house, After=[second])
    for after in (first, third):
        answer = patched(house, first, After=[after])
        assert (answer.status_code, "wait for itself" in answer.text) == (400, True)


def test_a_task_in_one_piece_keeps_its_frames(house: House) -> None:
    task_id = task(house, ChunkFrames=0, StartAt="2090-01-01T00:00:00Z")
    for body in ({"Frames": "1-5"}, {"ChunkFrames": 4}):
        answer = patched(house, task_id, **body)
        assert (answer.status_code, answer.json()["Error"]) == (409, "one_piece")
    assert change(house, task_id, Frames="1-10", ChunkFrames=0, Priority=3)["Priority"] == 3


# --------------------------------------------------------------------------- variants


def test_what_is_done_to_a_task_is_done_to_its_variants(house: House, machine: OurNode) -> None:
    task_id = task(house, Variants=[{"Name": "day"}, {"Name": "night", "Frames": "3-4"}])

    def variants(columns: str) -> list[tuple[Any, ...]]:
        return house.rows(
            f"SELECT {columns} FROM tasks WHERE parent_id = ? ORDER BY task_id", task_id
        )

    day, night = (number for (number,) in variants("task_id"))
    start = machine.wait_for_start(day)
    wait_for_attempts(house, day, "running")
    assert do(house, task_id, "pause", Now=True)["State"] == "paused"
    assert variants("state, todo") == [("paused", "1-10"), ("paused", "3-4")]
    assert machine.wait_for_stop(day)["attemptid"] == start["attemptid"]
    assert change(house, task_id, Priority=7)["Priority"] == 7
    assert variants("priority") == [(7,), (7,)]
    for refused in (
        patched(house, task_id, Frames="1-3"),
        asked(house, task_id, "requeue", Frames="3"),
    ):
        assert (refused.status_code, refused.json()["Error"]) == (409, "variants")
    assert do(house, task_id, "cancel")["State"] == "cancelled"
    assert variants("state") == [("cancelled",), ("cancelled",)]
    waiting = house.rows("SELECT COUNT(*) FROM queue JOIN tasks USING (task_id)")[0][0]
    house.rows("UPDATE subscriptions SET queue_limit = ?", waiting + 1)
    try:
        do(house, task_id, "requeue")
    finally:
        house.rows("UPDATE subscriptions SET queue_limit = 255")
    wait_for_attempts(house, day, "interrupted", "running")
    assert state(house, night) == "queued"
    do(house, night, "cancel")
    assert do(house, task_id, "pause")["State"] == "paused", "what has ended is left alone"
    assert variants("state") == [("paused",), ("cancelled",)]
    do(house, task_id, "resume")
    change(house, night, Frames="4")
    do(house, night, "requeue", Frames="4")
    assert variants("frames, todo")[1] == ("4", "4")


# --------------------------------------------------------------------------- frames


def test_frames_are_told_one_by_one_a_page_at_a_time(house: House, machine: OurNode) -> None:
    task_id, start = running(house, machine)
    assert machine.report(house, start, 1, Type="progress", Frames="1-2")
    page = house.get(f"tasks/{task_id}/frames?from=2&limit=5")
    assert [(f["Frame"], f["State"], f["Attempts"]) for f in page["Frames"]] == [
        (2, "done", 1),
        (3, "running", 1),
        (4, "running", 1),
        (5, "running", 1),
        (6, "queued", 0),
    ]
    assert page["Frames"][0]["MachineId"] == house.rows("SELECT machine_id FROM machines")[0][0]
    assert page["Next"] == 7
    assert [f["Frame"] for f in house.get(f"tasks/{task_id}/frames?from=9")["Frames"]] == [9, 10]
    end(house, machine, start, "1-5", IsSuccess=True, Cause=None)
    (first,) = house.get(f"tasks/{task_id}/frames?limit=1")["Frames"]
    assert first["Seconds"] >= 0
    for query in ("from=x", "from=--1", "limit=-1", "limit=²", "from=99999999999"):
        answer = house.request("GET", f"tasks/{task_id}/frames?{query}")
        assert answer.status_code == 400, query


def test_many_frames_are_not_told_at_once(house: House) -> None:
    task_id = task(house, frames="1-1000000", StartAt="2090-01-01T00:00:00Z")
    page = house.get(f"tasks/{task_id}/frames?limit=100000")
    assert (len(page["Frames"]), page["Next"]) == (500, 501)
    last = house.get(f"tasks/{task_id}/frames?from=1000000&limit=3")
    assert ([f["Frame"] for f in last["Frames"]], last["Next"]) == ([1000000], None)


# --------------------------------------------------------------------------- who may


@pytest.mark.parametrize("verb", VERBS)
def test_somebody_elses_task_is_not_there(house: House, verb: str) -> None:
    task_id = task(house, StartAt="2090-01-01T00:00:00Z")
    before = house.rows("SELECT * FROM tasks WHERE task_id = ?", task_id)
    theirs = asked(
        house, task_id, verb, "other", **({"Frames": "all"} if verb == "requeue" else {})
    )
    nobodys = asked(house, 10**15, verb, "other")
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert theirs.text.replace(str(task_id), "N") == nobodys.text.replace(str(10**15), "N")
    for method, route in (("PATCH", ""), ("GET", "/frames")):
        answer = house.request(
            method, f"tasks/{task_id}{route}", house.people["other"], json={"Priority": 1}
        )
        assert answer.status_code == 404
    assert house.rows("SELECT * FROM tasks WHERE task_id = ?", task_id) == before


def test_an_admin_may_do_it_to_everybodys(house: House) -> None:
    task_id = task(house, StartAt="2090-01-01T00:00:00Z")
    assert do(house, task_id, "pause", "admin")["State"] == "paused"
    assert do(house, task_id, "resume", "admin")["State"] == "queued"
    assert patched(house, task_id, "admin", Priority=1).status_code == 200
    assert do(house, task_id, "cancel", "admin")["State"] == "cancelled"


@pytest.mark.parametrize("verb", VERBS)
def test_bad_requests_are_sentences(house: House, verb: str) -> None:
    task_id = task(house, StartAt="2090-01-01T00:00:00Z")
    for number in ("x", "-1", "9" * 30, "1.5"):
        assert asked(house, number, verb).status_code == 400
    signed = {"email": "artist@example.com", "token": "wrong"}
    assert house.request("POST", f"tasks/{task_id}/{verb}", headers=signed).status_code == 401
    assert house.request("GET", f"tasks/{task_id}/{verb}").status_code == 405
    if verb in ("pause", "requeue", "forgive"):
        wrong = (
            b'{"Now": 5, "Frames": 5.5, "MachineId": "Render 3"}',
            b'{"Frames": "1-", "Now": "x", "MachineId": 1.5}',
        )
        for body in (b"{", b"[]", *wrong):
            answer = house.request("POST", f"tasks/{task_id}/{verb}", data=body)
            assert answer.status_code == 400, body
            assert answer.json()["ErrorMessage"]
    if verb == "requeue":
        assert "no frame 11" in asked(house, task_id, verb, Frames="5-12").text
    if verb == "forgive":
        for number in (999, 0, -1):
            answer = asked(house, task_id, verb, MachineId=number)
            assert (answer.status_code, answer.json()["Error"]) == (404, "no_such_machine")


@pytest.mark.parametrize("verb", ["pause", "resume", "forgive"])
def test_what_is_over_cannot_be_paused_resumed_or_forgiven(house: House, verb: str) -> None:
    task_id = task(house, StartAt="2090-01-01T00:00:00Z")
    do(house, task_id, "cancel")
    answer = asked(house, task_id, verb)
    assert (answer.status_code, answer.json()["Error"]) == (409, "over")
    assert f"Task {task_id} was cancelled" in answer.json()["ErrorMessage"]


def test_what_has_succeeded_cannot_be_cancelled(house: House, machine: OurNode) -> None:
    task_id = finished(house, machine)
    answer = asked(house, task_id, "cancel")
    assert (answer.status_code, "has succeeded" in answer.text) == (409, True)
