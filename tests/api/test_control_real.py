"""Pausing real Blender: the frame at hand is finished, nothing is rendered twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from support.farm import Farm
from support.waiting import wait_until

MANY = 2000
"""More frames than any machine renders while a test looks elsewhere."""


def test_a_pause_keeps_every_frame_that_was_begun_and_repeats_none(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path
) -> None:
    farm = start_farm()
    arguments = {"start_frame": "1", "end_frame": str(MANY)}
    task_id = farm.enqueue(cube, arguments, ChunkFrames=MANY)

    def task() -> Any:
        return farm.task(task_id)["Task"]

    def do(method: str, route: str, **body: Any) -> None:
        answer = farm.request(method, f"tasks/{task_id}{route}", json=body)
        assert answer.status_code == 200, answer.text

    wait_until(lambda: task()["FramesDone"] >= 2, "some frames are there")
    do("POST", "/pause")
    wait_until(
        lambda: farm.task(task_id)["Chunks"][0]["State"] == "interrupted", "the machine has stopped"
    )
    done = task()["FramesDone"]
    assert (task()["State"], 2 <= done < MANY) == ("paused", True)
    assert pictures(farm, task_id, tmp_path) == done, "none was cut off, none is only half there"
    do("PATCH", "", Frames=f"1-{done + 2}")
    do("POST", "/resume")
    farm.wait_for_state(task_id, "succeeded")
    assert pictures(farm, task_id, tmp_path) == done + 2
    frames = farm.get(f"tasks/{task_id}/frames?from={done}&limit=3")["Frames"]
    assert [frame["State"] for frame in frames] == ["done"] * 3
    again = [chunk["Frames"] for chunk in farm.task(task_id)["Chunks"][1:]]
    assert not any(text.startswith("1-") or text == "1" for text in again)


def pictures(farm: Farm, task_id: int, folder: Path) -> int:
    """How many are in the results."""
    with ZipFile(farm.download(task_id, folder / "results.zip")) as archive:
        return sum(name.endswith(".png") for name in archive.namelist())
