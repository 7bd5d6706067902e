"""Shared storage: paths on the wire, as each machine knows them, and nothing is transferred."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.original_node import OriginalNode, original_node
from support.waiting import wait_until

from renderonline.engines.commandline import split

from .control import Control
from .house import House, running_house
from .our_node import our_node
from .workshop import (
    add_machine,
    add_sketch,
    sketch_node,
    sketch_task,
    wait_for_attempts,
    wait_for_render,
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An api whose machines are this test's alone."""
    with running_house(tmp_path / "house", Storage="shared") as running:
        add_sketch(running)
        yield running
        running.assert_quiet()


def mapped(house: House, *mappings: str) -> None:
    """Say where machine 1 has the api's folders."""
    answer = house.request(
        "PATCH", "machines/1", house.people["admin"], json={"PathMap": list(mappings)}
    )
    assert (answer.status_code, answer.json()["PathMap"]) == (200, list(mappings))


def test_an_originals_machine_gets_its_own_paths(house: House) -> None:
    with original_node(["any"]) as node:
        add_machine(house, node.port)
        mapped(house, f"{house.data}=Z:\\farm", "/other=Y:\\")
        task_id = house.task(name="my scene.any")
        start = wait_until(lambda: node.starts, "the start")[0]
        inside = house.task_dir(task_id).relative_to(house.data).as_posix().replace("/", "\\")
        words = split(start["arguments"])
        assert words[1:5] == [
            "-i",
            f"Z:\\farm\\{inside}\\my scene.any",
            "-o",
            f"Z:\\farm\\{inside}\\output",
        ]
        assert str(house.data) not in str(start)
        assert start["argv"] == words
        assert start["taskdir"] == f"Z:\\farm\\{inside}"
        assert start["outputdir"] == f"Z:\\farm\\{inside}\\output"
        assert start.get("manifest") is start.get("beacon") is None
        shown = house.get(f"tasks/{task_id}")["Render"]["Arguments"]
        assert "Z:" not in shown, "what the api keeps are its own paths"
        node.finish()
        wait_for_attempts(house, task_id, "succeeded")


def test_a_machine_without_a_map_gets_the_apis_paths(house: House) -> None:
    with our_node("any") as node:
        add_machine(house, node.port)
        task_id = house.task()
        start = wait_until(lambda: node.starts, "the start")[0]
        assert start["taskdir"] == str(house.task_dir(task_id))
        assert start.get("manifest") is start.get("beacon") is None


def test_a_node_that_has_the_folder_elsewhere_renders_there(house: House, tmp_path: Path) -> None:
    mount = tmp_path / "Mount Point"
    mount.symlink_to(house.data, target_is_directory=True)
    with sketch_node(tmp_path / "node") as node:
        add_machine(house, node.port)
        mapped(house, f"{house.data}={mount}")
        task_id = sketch_task(house)
        wait_for_render(house, task_id).let_go()
        wait_for_attempts(house, task_id, "succeeded")
        files = house.get(f"tasks/{task_id}/files")["Files"]
        assert [file["Path"] for file in files] == ["frame_0001.txt"]
        (log,) = (tmp_path / "node" / "data" / "logs").iterdir()
        command = log.read_text(encoding="utf-8").splitlines()[0]
        assert str(mount) in command
        assert str(house.data) not in command
        detail = house.request("GET", f"tasks/{task_id}").text
        assert str(mount) not in detail, "nothing comes back as a path"


def test_a_map_is_taken_away_again(house: House) -> None:
    add_machine(house, 1)
    mapped(house, f"{house.data}=/mnt/farm")
    mapped(house)
    assert house.rows("SELECT path_map FROM machines") == [(None,)]


@pytest.mark.parametrize("mapping", ["farm=/mnt", "/a", "/=/b", 7, "/a=/b\x00"])
def test_what_is_no_mapping_changes_nothing(house: House, mapping: object) -> None:
    add_machine(house, 1)
    mapped(house, "/a=/b")
    answer = house.request(
        "PATCH", "machines/1", house.people["admin"], json={"PathMap": ["/c=/d", mapping]}
    )
    assert answer.status_code == 400
    assert house.get("machines", house.people["admin"])["Machines"][0]["PathMap"] == ["/a=/b"]


def test_only_admins_see_where_a_machine_has_its_folders(house: House) -> None:
    add_machine(house, 1)
    mapped(house, "/a=/b")
    assert house.get("machines")["Machines"][0]["PathMap"] == []


@pytest.mark.parametrize(
    ("by_hand", "expected"), [("no JSON", 1), ('{"a": 1}', 1), ('["/a"]', 0), ('["/a=/b"]', 1)]
)
def test_what_was_put_into_the_database_by_hand(
    by_hand: str, expected: int, control: Control, machine: OriginalNode
) -> None:
    """A map that cannot be used starts nothing with wrong paths, and the reason is told."""
    machine_id = control.add_machine(machine)
    control.database.peewee.execute_sql(
        f"UPDATE machines SET path_map = {control.database.peewee.param} WHERE machine_id = {control.database.peewee.param}",
        (by_hand, machine_id),
    )
    control.add_task(control.add_engine("any"))
    control.turn()
    assert len(machine.starts) == expected
