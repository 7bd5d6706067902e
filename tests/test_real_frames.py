"""The whole way, for real: a scene goes in, frames come out, on each renderer and each database."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.farm import Farm
from support.pictures import pictures
from support.processes import DEADLINE_S
from support.scenes import blender
from support.waiting import wait_until

RENDERERS = {
    "blender": {"EngineId": "blender", "ExecutablePath": blender(), "Adapter": "blender"},
    "bpy": {"EngineId": "Blender", "ExecutablePath": sys.executable, "Adapter": "bpy"},
}


@pytest.mark.parametrize("renderer", RENDERERS)
def test_scene_becomes_frames(
    renderer: str,
    start_farm: Callable[..., Farm],
    connection_string: str,
    cube: Path,
    tmp_path: Path,
) -> None:
    farm = start_farm(connection_string=connection_string, engines=[RENDERERS[renderer]])
    values = {"start_frame": "3", "end_frame": "5", "output_format": ".png"}
    task_id = farm.enqueue(cube, values)
    detail = farm.wait_for_state(task_id, "succeeded")
    assert (detail["Task"]["FramesDone"], detail["Task"]["FramesTotal"]) == (3, 3)
    frames = pictures(farm.download(task_id, tmp_path / "results.zip"))
    assert list(frames) == [f"output/frame_000{number}.png" for number in (3, 4, 5)]
    assert len(set(frames.values())) == 3, "an animation's frames differ"


def test_checksums_are_there_before_a_download_asks(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path
) -> None:
    """The frames of a node that writes them where they stay, and nobody sends."""
    farm = start_farm()
    task_id = farm.enqueue(cube, {"start_frame": "1", "end_frame": "3", "output_format": ".png"})
    farm.wait_for_state(task_id, "succeeded")
    books = farm.api_config.parent / "data" / "checksums"

    def known() -> dict[str, int]:
        lines = [line for file in books.iterdir() for line in file.read_text().splitlines()]
        rows = [json.loads(line) for line in lines if line]
        return {Path(row[0]).name: row[4] for row in rows if len(row) == 5}

    names = {f"frame_000{frame}.png" for frame in (1, 2, 3)}
    wait_until(lambda: known().keys() >= names, "the checksums", DEADLINE_S)
    with zipfile.ZipFile(farm.download(task_id, tmp_path / "results.zip")) as packed:
        crcs = {Path(info.filename).name: info.CRC for info in packed.infolist()}
    assert {name: known()[name] for name in names} == {name: crcs[name] for name in names}


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_frames_below_zero_and_with_a_step(
    renderer: str,
    warm: bool,
    start_farm: Callable[..., Farm],
    connection_string: str,
    cube: Path,
    tmp_path: Path,
) -> None:
    """From the submission to the ZIP, the frames' own files, and the pictures of a page."""
    engine = {**RENDERERS[renderer], "Warm": warm}
    farm = start_farm(connection_string=connection_string, engines=[engine])
    task_id = farm.enqueue(cube, {"output_format": "PNG"}, Frames="-4-8x2,12")
    detail = farm.wait_for_state(task_id, "succeeded")
    assert detail["Task"]["Frames"] == "-4-8x2,12"
    assert (detail["Task"]["FramesDone"], detail["Task"]["FramesTotal"]) == (8, 8)
    assert len(detail["Chunks"]) <= 6, "not one for each frame"
    names = {n: f"frame_{'-' * (n < 0)}{abs(n):04}.png" for n in (*range(-4, 9, 2), 12)}
    frames = pictures(farm.download(task_id, tmp_path / "results.zip"))
    assert set(frames) == {f"output/{name}" for name in names.values()}
    told = farm.get(f"tasks/{task_id}/frames")["Frames"]
    assert {frame["Frame"]: frame["Files"] for frame in told} == {n: [names[n]] for n in names}
    files = farm.get(f"tasks/{task_id}/files?frames=-5--1,4")["Files"]
    assert [file["Path"] for file in files] == [names[n] for n in (-2, -4, 4)]
    for route, status in {
        "-2/thumbnail": 200,
        f"-2/file/{names[-2]}": 200,
        f"2/file/{names[-2]}": 404,
    }.items():
        assert farm.request("GET", f"tasks/{task_id}/frames/{route}").status_code == status
    again = farm.request("POST", f"tasks/{task_id}/requeue", json={"Frames": "-4,-2,8"})
    assert again.status_code == 200, again.text
    assert farm.wait_for_state(task_id, "succeeded")["Task"]["FramesDone"] == 8
