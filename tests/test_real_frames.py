"""The whole way, for real: a scene goes in, frames come out, on each renderer and each database."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.farm import Farm
from support.pictures import pictures
from support.scenes import blender

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
