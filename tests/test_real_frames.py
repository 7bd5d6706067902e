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
