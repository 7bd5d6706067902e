"""One submission with several outputs, over HTTP: what is taken, shown, fetched and deleted."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from .house import House, running_house

Json = dict[str, Any]

BOTH = [
    {"Name": "exr", "Arguments": [{"ArgTypeId": "Output_Format", "Value": "OPEN_EXR"}]},
    {"Name": "proxy", "Arguments": [{"ArgTypeId": "output_format", "Value": "JPEG"}], "Frames": "1-10x5"},
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_went_wrong(house: House) -> Iterator[None]:
    yield
    house.assert_quiet()


def submitted(house: House, **fields: Any) -> requests.Response:
    """A Blender project without machines to render it, with the frames 1 to 10."""
    request = {"name": "scene.blend", "arguments": {}, "Frames": "1-10", "Variants": BOTH}
    return house.enqueue(**{**request, **fields})


def task(house: House, **fields: Any) -> int:
    answer = submitted(house, **fields)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["TaskId"])


def variants(house: House, task_id: int) -> dict[str, Json]:
    """By name, as the task's detail has them."""
    return {told["Name"]: told for told in house.get(f"tasks/{task_id}")["Variants"]}


def put(house: House, task_id: int, name: str) -> None:
    """A result, as a renderer leaves it."""
    file = house.task_dir(task_id) / "output" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"a frame")


def post(house: House, route: str, task_id: int) -> requests.Response:
    return house.request("POST", route, json={"TaskId": task_id})


def downloaded(house: House, task_id: int) -> list[str]:
    answer = post(house, "download", task_id)
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        return packed.namelist()


# --------------------------------------------------------------------------- what becomes of it


def test_each_variant_is_a_task_with_a_folder_of_its_own_below_one_project(house: House) -> None:
    task_id = task(house, Priority=70, EngineVersion="4.5", Notes="x")
    found = variants(house, task_id)
    assert list(found) == ["exr", "proxy"]
    assert [found[name]["Frames"] for name in found] == ["1-10", "1,6"]
    for name, extension in (("exr", "OPEN_EXR"), ("proxy", "JPEG")):
        child = house.get(f"tasks/{found[name]['TaskId']}")
        argv = child["Render"]["Arguments"]
        target = house.task_dir(task_id) / "output" / name / "frame_####"
        assert f"-o {target.as_posix()}" in argv.replace("\\", "/")
        assert f"-F {extension} " in argv
        told = child["Task"]
        assert (told["ParentId"], told["Variant"], told["Priority"]) == (task_id, name, 70)
        assert house.task_dir(told["TaskId"]) == house.task_dir(task_id)
    whole = house.get(f"tasks/{task_id}")
    assert (whole["Task"]["FramesTotal"], whole["Task"]["Frames"]) == (12, None)
    assert (whole["Task"]["State"], whole["Task"]["Variant"]) == ("queued", None)
    assert [text for text in whole["Warnings"] if "no machine yet" in text] == [
        "The farm has no machine yet. An admin adds one: renderonline admin machine add."
    ]


def test_lists_show_the_submission_once(house: House) -> None:
    before = house.rows("SELECT COUNT(*) FROM tasks WHERE parent_id IS NULL")[0][0]
    task_id = task(house)
    single = house.task(name="scene.blend", arguments={}, Frames="1")
    ids = [told["Task"]["TaskId"] for told in house.get("info")["Tasks"]]
    assert ids[:2] == [single, task_id]
    page = house.get("tasks?limit=2")
    assert [told["Task"]["TaskId"] for told in page["Tasks"]] == [single, task_id]
    assert page["Tasks"][1]["Task"]["FramesTotal"] == 12
    everything = [told["Task"]["TaskId"] for told in house.get("tasks?limit=200")["Tasks"]]
    assert len(everything) == before + 2


def test_the_queue_limit_counts_the_submission_once(house: House) -> None:
    queued = "SELECT COUNT(*) FROM queue JOIN tasks USING (task_id) WHERE parent_id IS NULL"
    ((waiting,),) = house.rows(queued)
    house.rows("UPDATE subscriptions SET queue_limit = ?", waiting + 2)
    try:
        task(house)
        task(house)
        refused = submitted(house)
        assert (refused.status_code, "Your queue is full" in refused.text) == (403, True)
    finally:
        house.rows("UPDATE subscriptions SET queue_limit = 255")


def test_a_variant_may_have_an_engine_of_its_own(house: House) -> None:
    house.rows(
        "INSERT INTO engines (name, extension, download_path, render_argument, adapter) VALUES"
        " ('viewer', '.BLEND', '', 'viewer $RENDERONLINE:@uploaded_file $RENDERONLINE:@output_dir', 'generic')"
    )
    ((engine_id,),) = house.rows("SELECT engine_id FROM engines WHERE name = 'viewer'")
    looks = [{"Name": "look", "EngineId": engine_id}, {"Name": "final", "Frames": "1-3"}]
    found = variants(house, task(house, Frames=None, Variants=looks))
    assert found["look"]["EngineId"] == engine_id
    assert (found["look"]["FramesTotal"], found["final"]["FramesTotal"]) == (None, 3)
    argv = house.get(f"tasks/{found['look']['TaskId']}")["Render"]["Arguments"]
    assert argv.startswith("viewer ")


START_END = {"start_frame": "1", "end_frame": "10"}


@pytest.mark.parametrize(
    ("submission", "variant", "frames"),
    [
        ({"Frames": "1-10"}, {}, "1-10"),
        ({"Frames": "1-10"}, {"Frames": "3-4"}, "3-4"),
        ({"Frames": "1-10", "arguments": START_END}, {"Frames": "3-4,9"}, "3-4,9"),
        ({"Frames": None, "arguments": START_END}, {}, "1-10"),
        ({"Frames": None, "arguments": START_END}, {"Frames": "50"}, "50"),
        ({"Frames": None, "arguments": START_END}, {"end_frame": "4"}, "1-4"),
        ({"Frames": "1-10", "arguments": START_END}, {"end_frame": "4"}, "1-4"),
        ({"Frames": None}, {"start_frame": "2", "end_frame": "4"}, "2-4"),
        ({"Frames": None}, {"Frames": "7"}, "7"),
    ],
)
def test_what_a_variant_does_not_say_is_the_submissions(
    house: House, submission: Json, variant: Json, frames: str
) -> None:
    own = [{"ArgTypeId": k, "Value": v} for k, v in variant.items() if k != "Frames"]
    only = {"Name": "only", "Arguments": own, "Frames": variant.get("Frames")}
    assert variants(house, task(house, Variants=[only], **submission))["only"]["Frames"] == frames


# --------------------------------------------------------------------------- refused


def value(name: str, text: str) -> list[Json]:
    return [{"ArgTypeId": name, "Value": text}]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ([{"Name": ""}], "A variant has no name"),
        ([{}], "A variant has no name"),
        ([{"Name": "a"}, {"Name": "A"}], "Two variants are named A"),
        ([{"Name": "stra\u00dfe"}, {"Name": "STRASSE"}], "Two variants are named STRASSE"),
        ([{"Name": "\u00e9"}, {"Name": "e\u0301"}], "Two variants are named"),
        ([{"Name": "../x"}], "cannot be named '../x'"),
        ([{"Name": "a\\b"}], "cannot be named"),
        ([{"Name": "#"}], "cannot be named"),
        ([{"Name": "x" * 51}], "up to 50 characters"),
        ([{"Name": ".."}], "The variant has no usable name"),
        ([{"Name": "con"}], '"con" is reserved on Windows. Rename the variant'),
        ([{"Name": "a."}], "The variant's name ends in a dot"),
        ([{"Name": "a:b"}], "which Windows refuses"),
        ([{"Name": "a\nb"}], "control characters"),
        ([{"Name": f"v{n}"} for n in range(21)], "These are 21 variants; a submission takes 20"),
        ([{"Name": "a"}, {"Name": "b", "EngineId": "99"}], "Variant b: There is no engine '99'"),
        ([{"Name": "a", "EngineId": "2"}], "Variant a: any takes .any files; scene.blend is not"),
        ([{"Name": "a", "Frames": "9-"}], "Variant a: "),
        ([{"Name": "a", "EngineVersion": "new"}], "Variant a: EngineVersion is 'new'"),
        ([{"Name": "a", "Arguments": value("nothing", "1")}], "Variant a: There is no argument"),
        ([{"Name": "a", "Arguments": value("end_frame", "x")}], "Variant a: "),
        ([{"Name": "a", "Arguments": value("end_frame", "1") * 2}], "is given twice"),
        ([{"Name": "a", "Arguments": value("output_format", "XYZ")}], "Variant a: 'XYZ' is not"),
        (
            [{"Name": "a"}, {"Name": "b", "Arguments": value("output_format", "mp4"), "Frames": "1,9-10"}],
            "Variant b: Frames 1,9-10 has gaps",
        ),
    ],
)  # fmt: skip
def test_a_bad_variant_refuses_the_whole_submission(
    house: House, fields: list[Json], says: str
) -> None:
    before = house.snapshot()
    answer = submitted(house, Variants=fields)
    assert (answer.status_code, answer.json()["IsAdded"]) == (400, False)
    assert says in answer.json()["ErrorMessage"]
    assert house.snapshot() == before


@pytest.mark.parametrize("shape", ['{"Name": "a"}', '["a"]', '[[]]', '[{"Name": ["a"]}]', "5"])  # fmt: skip
def test_variants_of_another_shape_are_refused(house: House, shape: str) -> None:
    before = house.snapshot()
    assert submitted(house, Variants=json.loads(shape)).status_code == 400
    assert house.snapshot() == before


def test_the_submissions_own_values_are_checked_though_each_variant_has_another(
    house: House,
) -> None:
    answer = submitted(house, arguments={"output_format": "bad value"})
    assert (answer.status_code, "output_format" in answer.text) == (400, True)


# --------------------------------------------------------------------------- fetched, deleted


def test_all_results_come_together_and_those_of_one_alone(house: House) -> None:
    task_id = task(house)
    found = variants(house, task_id)
    put(house, task_id, "exr/frame_0001.exr")
    put(house, task_id, "proxy/frame_0001.jpg")
    project, exr, proxy = (
        "scene.blend", "output/exr/frame_0001.exr", "output/proxy/frame_0001.jpg",
    )  # fmt: skip
    assert downloaded(house, task_id) == [exr, proxy, project]
    assert downloaded(house, found["exr"]["TaskId"]) == [exr, project]
    assert downloaded(house, found["proxy"]["TaskId"]) == [proxy, project]


def test_the_length_is_promised_once_no_variant_can_change_the_folder(house: House) -> None:
    task_id = task(house)
    found = variants(house, task_id)
    over = found["exr"]["TaskId"]
    assert house.request("POST", f"tasks/{over}/cancel").status_code == 200
    assert "Content-Length" not in post(house, "download", over).headers
    assert house.request("POST", f"tasks/{task_id}/cancel").status_code == 200
    assert "Content-Length" in post(house, "download", over).headers


def test_deleting_the_task_leaves_nothing(house: House) -> None:
    counts = "SELECT (SELECT COUNT(*) FROM tasks), (SELECT COUNT(*) FROM renders), (SELECT COUNT(*) FROM queue)"
    before = house.rows(counts)
    task_id = task(house)
    folder = house.task_dir(task_id)
    put(house, task_id, "exr/frame_0001.exr")
    assert post(house, "delete", task_id).status_code == 200
    assert house.rows(counts) == before
    assert not folder.exists()
    assert list((house.data / "pending").iterdir()) == []


def test_deleting_a_variant_leaves_the_others_and_the_last_takes_all_with_it(house: House) -> None:
    task_id = task(house)
    found = variants(house, task_id)
    folder = house.task_dir(task_id)
    put(house, task_id, "exr/frame_0001.exr")
    put(house, task_id, "proxy/frame_0001.jpg")
    assert post(house, "delete", found["exr"]["TaskId"]).status_code == 200
    assert list(variants(house, task_id)) == ["proxy"]
    assert downloaded(house, task_id) == ["output/proxy/frame_0001.jpg", "scene.blend"]
    assert house.get(f"tasks/{task_id}")["Task"]["State"] == "queued"
    assert post(house, "delete", found["proxy"]["TaskId"]).status_code == 200
    assert house.request("GET", f"tasks/{task_id}").status_code == 404
    assert not folder.exists()
    assert house.rows("SELECT * FROM queue WHERE task_id = ?", task_id) == []
    assert list((house.data / "pending").iterdir()) == []


def test_somebody_elses_variant_is_not_there(house: House) -> None:
    number = variants(house, task(house))["exr"]["TaskId"]
    other = house.people["other"]
    assert house.request("GET", f"tasks/{number}", other).status_code == 404
    answer = house.request("POST", "delete", other, json={"TaskId": number})
    assert answer.status_code == 400


def test_the_originals_dequeue_takes_all_of_it_out_of_the_queue(house: House) -> None:
    task_id = task(house)
    assert post(house, "dequeue", task_id).status_code == 200
    assert {told["State"] for told in variants(house, task_id).values()} == {"cancelled"}
    whole = house.get(f"tasks/{task_id}")["Task"]
    assert (whole["State"], whole["IsRunning"], whole["EndTime"] is None) == (
        "cancelled",
        False,
        False,
    )
    assert (
        house.rows("SELECT * FROM queue JOIN tasks USING (task_id) WHERE parent_id = ?", task_id)
        == []
    )
    assert post(house, "dequeue", task_id).status_code == 400


def test_a_variant_cancelled_alone_leaves_the_others_in_the_queue(house: House) -> None:
    task_id = task(house)
    found = variants(house, task_id)
    assert house.request("POST", f"tasks/{found['exr']['TaskId']}/cancel").status_code == 200
    assert house.get(f"tasks/{task_id}")["Task"]["State"] == "queued"
    assert house.request("POST", f"tasks/{found['proxy']['TaskId']}/cancel").status_code == 200
    assert house.get(f"tasks/{task_id}")["Task"]["State"] == "cancelled"


def test_a_task_cannot_wait_for_its_own_variants_nor_they_for_it(house: House) -> None:
    task_id = task(house)
    number = variants(house, task_id)["exr"]["TaskId"]
    for one, other in ((task_id, number), (number, task_id), (task_id, task_id)):
        answer = house.request("PATCH", f"tasks/{one}", json={"After": [other]})
        assert (answer.status_code, "would wait for itself" in answer.text) == (400, True)


def test_a_condemned_variants_folder_goes_at_the_next_start_and_the_project_stays(
    tmp_path: Path,
) -> None:
    with running_house(tmp_path / "house") as own:
        task_id = task(own)
        put(own, task_id, "exr/frame_0001.exr")
        folder = own.task_dir(task_id)
        note = own.data / "pending" / "condemned"
        note.write_text(str(folder / "output" / "exr"), encoding="utf-8")
        own.service.kill()
        own.service.restart()
        assert (folder / "scene.blend").is_file()
        assert not (folder / "output" / "exr").exists()
