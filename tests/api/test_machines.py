"""The machines over HTTP: what everybody sees of them, and what an admin does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.waiting import wait_until

from .house import House
from .our_node import Json, OurNode, our_node
from .workshop import add_machine, wait_for_attempts

VERBS = ("drain", "enable", "disable", "forgive")


@pytest.fixture(scope="module")
def only_machine(house: House) -> Iterator[OurNode]:
    with our_node("Blender", "any") as node:
        add_machine(house, node.port)
        wait_until(lambda: seen(house)["Engines"], "the machine has answered")
        yield node


@pytest.fixture
def machine(house: House, only_machine: OurNode) -> Iterator[OurNode]:
    """The house's only machine, enabled and idle; what is left of the test's tasks is cancelled."""
    yield only_machine
    for (task_id,) in house.rows("SELECT task_id FROM queue"):
        house.request("POST", f"tasks/{task_id}/cancel")
    only_machine.finish() if only_machine.task else None
    change(house, Name="", Tags=[], OnlyEngines=[], Hours="", OnlyUsers=[], Reserve=None)
    do(house, "enable")


@pytest.fixture(autouse=True)
def nothing_went_wrong(house: House) -> Iterator[None]:
    yield
    house.assert_quiet()


def seen(house: House, person: str = "admin") -> Json:
    """The machine, as this person sees it."""
    (one,) = house.get("machines", house.people[person])["Machines"]
    return dict(one)


def do(house: House, verb: str) -> Json:
    """POST machines/1/<verb>, which must succeed; the machine."""
    answer = house.request("POST", f"machines/1/{verb}", house.people["admin"])
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def patched(house: House, person: str = "admin", **body: Any) -> requests.Response:
    return house.request("PATCH", "machines/1", house.people[person], json=body)


def change(house: House, **body: Any) -> Json:
    answer = patched(house, **body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def running(house: House, machine: OurNode, **fields: Any) -> int:
    """A task that is rendered on the machine."""
    task_id = house.task(**fields)
    machine.wait_for_start(task_id)
    wait_for_attempts(house, task_id, "running")
    return task_id


def test_an_admin_sees_all_of_a_machine(house: House, machine: OurNode) -> None:
    task_id = running(house, machine, ChunkFrames=2)
    shown = seen(house)
    (work,) = shown.pop("Work")
    assert (work["TaskId"], work["State"], work["Frames"]) == (task_id, "running", "1-2")
    address = f"127.0.0.1:{machine.port}"
    assert shown == {
        "MachineId": 1,
        "Name": f"machine 1 ({address})",
        "Address": address,
        "State": "enabled",
        "Reason": None,
        "IsBusy": True,
        "Engines": [{"EngineId": n, "Version": "4.5.1"} for n in ("Blender", "any")],
        "Tags": ["gpu"],
        "OnlyEngines": [],
        "Platform": "linux",
        "Cores": 8,
        "MemoryBytes": 16 << 30,
        "MemoryFreeBytes": 12 << 30,
        "Load": 0.25,
        "PathMap": [],
        "KeptFrom": [],
        "Hours": "",
        "OnlyUsers": [],
        "Reserve": None,
    }


def test_others_see_neither_where_it_is_nor_whose_work_it_does(
    house: House, machine: OurNode
) -> None:
    task_id = running(house, machine)
    own, other = seen(house, "artist"), seen(house, "other")
    assert [work["TaskId"] for work in own["Work"]] == [task_id]
    assert (other["Work"], other["IsBusy"]) == ([], True)
    for shown in (own, other):
        assert (shown["Name"], shown["Address"]) == ("machine 1", None)
    assert "127.0.0.1" not in house.request("GET", "machines").text
    assert house.request("GET", "machines", headers={"token": "wrong"}).status_code == 401


def test_a_machine_gets_a_name_tags_and_engines_that_it_is_for(
    house: House, machine: OurNode
) -> None:
    shown = change(house, Name="Render 1", Tags=["fast", "fast", "big"], OnlyEngines=["ANY"])
    assert (shown["Name"], shown["Tags"], shown["OnlyEngines"]) == (
        "Render 1",
        ["big", "fast", "gpu"],
        ["any"],
    )
    assert [engine["EngineId"] for engine in shown["Engines"]] == ["any"]
    assert seen(house, "other")["Name"] == "Render 1"
    waiting = house.task(name="a.blend", arguments={}, Frames="1")
    task_id = running(house, machine)
    assert change(house, Name="Render 2")["OnlyEngines"] == ["any"], "what is not given stays"
    assert waiting not in [start["taskid"] for start in machine.starts]
    house.request("POST", f"tasks/{task_id}/cancel")
    change(house, OnlyEngines=[])
    machine.wait_for_start(waiting)


def test_draining_lets_the_render_end_and_gives_no_more(house: House, machine: OurNode) -> None:
    task_id = running(house, machine)
    waiting = house.task()
    for _ in range(2):
        shown = do(house, "drain")
        assert (shown["State"], bool(shown["Reason"])) == ("draining", True)
    start = machine.starts[-1]
    machine.finish()
    machine.report(house, start, 1, Type="ended", IsSuccess=True, Frames=start["frames"])
    wait_until(lambda: not seen(house)["Work"], "the machine has ended what it had")
    assert machine.starts[-1] is start
    assert task_id not in [stop["taskid"] for stop in machine.stops]
    assert do(house, "enable")["Reason"] is None
    wait_until(lambda: machine.starts[-1] is not start, "it gets work again")
    assert {task_id, waiting} >= {machine.starts[-1]["taskid"]}


def test_disabling_takes_everything_away_at_once(house: House, machine: OurNode) -> None:
    task_id = running(house, machine)
    shown = do(house, "disable")
    assert (shown["State"], shown["Work"]) == ("disabled", [])
    assert machine.wait_for_stop(task_id)["attemptid"] == machine.starts[-1]["attemptid"]
    wait_for_attempts(house, task_id, "interrupted")
    told = house.get(f"tasks/{task_id}")
    assert told["Task"]["State"] == "queued"
    assert "disabled" in told["Chunks"][0]["Message"]


def test_a_benched_machine_is_forgiven(house: House, machine: OurNode) -> None:
    house.rows("UPDATE machines SET state = 'benched', reason = 'It failed 5 attempts.'")
    assert (seen(house)["State"], seen(house)["Reason"]) == ("benched", "It failed 5 attempts.")
    task_id = house.task()
    ((last,),) = house.rows("SELECT COALESCE(MAX(attempt_id), 0) FROM chunks")
    shown = do(house, "forgive")
    assert (shown["State"], shown["Reason"]) == ("enabled", None)
    ((forgiven,),) = house.rows("SELECT forgiven FROM machines")
    assert forgiven == last
    machine.wait_for_start(task_id)


def test_a_machine_that_is_away_is_unreachable(house: House, machine: OurNode) -> None:
    machine.down()
    try:
        shown = wait_until(
            lambda: (s := seen(house))["State"] == "unreachable" and s, "it is missed"
        )
        assert shown["Reason"]
    finally:
        machine.up()
    wait_until(lambda: seen(house)["State"] == "enabled", "it is back")


@pytest.mark.parametrize("person", ["artist", "other"])
@pytest.mark.parametrize("verb", VERBS)
def test_only_an_admin_may(house: House, machine: OurNode, person: str, verb: str) -> None:
    before = house.rows("SELECT * FROM machines")
    answer = house.request("POST", f"machines/1/{verb}", house.people[person])
    assert (answer.status_code, answer.json()["Error"]) == (403, "forbidden")
    assert patched(house, person, Name="mine").status_code == 403
    nobody = house.request("POST", f"machines/99/{verb}", house.people[person])
    assert nobody.text == answer.text, "which machines there are is not told that way"
    assert house.rows("SELECT * FROM machines") == before


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"Name": "x" * 101}, "longer than 100"),
        ({"Name": "a\nb"}, "control"),
        ({"Name": "17"}, "id"),
        ({"Name": 5.5}, "does not fit"),
        ({"Tags": ["a b"]}, "is not a tag"),
        ({"Tags": [""] * 3 + ["x"] * 41, "Name": "\0"}, "control"),
        ({"Tags": [f"t{n}" for n in range(30)]}, "20 tags"),
        ({"OnlyEngines": ["maya"]}, "no engine maya"),
        ({"OnlyEngines": "any"}, "does not fit"),
        ({"Hours": "9-17", "Name": "x"}, "are no hours"),
        ({"Hours": ["9:00-17:00"]}, "does not fit"),
        ({"OnlyUsers": ["nobody@example.com"]}, "no user nobody@example.com"),
        ({"OnlyUsers": "artist@example.com"}, "does not fit"),
        ({"OnlyUsers": [f"{n}" for n in range(9)]}, "There is no user"),
        ({"Reserve": "a b"}, "is not a tag"),
    ],
)
def test_what_a_machine_cannot_be_is_a_sentence(
    house: House, machine: OurNode, body: Json, says: str
) -> None:
    before = house.rows("SELECT * FROM machines")
    answer = patched(house, **body)
    assert (answer.status_code, says in answer.json()["ErrorMessage"]) == (400, True), answer.text
    assert house.rows("SELECT * FROM machines") == before


def test_what_an_admin_says_of_its_work_is_set_shown_and_taken_away(
    house: House, machine: OurNode
) -> None:
    rules = {"Hours": "sat 10:00-2:00", "OnlyUsers": ["artist@example.com"], "Reserve": "film"}
    told = change(house, **rules)
    assert {name: told[name] for name in rules} == rules
    assert told["Tags"] == ["film", "gpu"], "it has the tag that it is reserved for"
    own = seen(house, "artist")
    assert (own["Hours"], own["OnlyUsers"], own["Reserve"]) == ("sat 10:00-2:00", [], "film")
    told = change(house, Hours="none", OnlyUsers=[], Reserve=None)
    assert [told[name] for name in (*rules, "State")] == ["", [], None, "enabled"]


def test_two_machines_have_two_names(house: House, machine: OurNode) -> None:
    house.rows("INSERT INTO machines (ip_address, port, name) VALUES ('127.0.0.1', 1, 'Render 9')")
    try:
        answer = patched(house, Name="Render 9")
        assert (answer.status_code, "already" in answer.text) == (400, True)
    finally:
        house.rows("DELETE FROM machines WHERE name = 'Render 9'")


@pytest.mark.parametrize("machine_id", ["99", "0"])
def test_a_machine_that_is_not_there(house: House, machine_id: str) -> None:
    for method, route in [("PATCH", ""), *(("POST", f"/{verb}") for verb in VERBS)]:
        answer = house.request(
            method, f"machines/{machine_id}{route}", house.people["admin"], json={"Name": "x"}
        )
        assert (answer.status_code, answer.json()["Error"]) == (404, "no_such_machine"), route


@pytest.mark.parametrize("machine_id", ["x", "-1", "9" * 25])
def test_what_is_no_number_is_no_machine(house: House, machine_id: str) -> None:
    answer = house.request("POST", f"machines/{machine_id}/drain", house.people["admin"])
    assert answer.status_code == 400
    assert house.request("GET", "machines/1/drain", house.people["admin"]).status_code == 405
