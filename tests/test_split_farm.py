"""Split tasks on a real Blender: two machines, kept open or started anew, and scenes that are wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from support.farm import Farm
from support.scenes import blender

from renderonline.frames import FrameSet

pytestmark = pytest.mark.slow

FRAMES = 40


def enqueue(farm: Farm, scene: Path, frames: str, **fields: Any) -> int:
    return farm.enqueue(scene, {"output_format": "PNG"}, Frames=frames, **fields)


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_forty_frames_on_two_nodes(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path, warm: bool
) -> None:
    """Every frame is there, in exactly one chunk unless one machine has helped the other in the end,
    and both took part."""
    engine = {"EngineId": "blender", "ExecutablePath": blender(), "Warm": warm}
    farm = start_farm(nodes=2, engines=[engine])
    task_id = enqueue(farm, cube, f"1-{FRAMES}")
    detail = farm.wait_for_state(task_id)
    task, chunks = detail["Task"], detail["Chunks"]
    assert task["State"] == "succeeded", detail
    assert (task["FramesDone"], task["FramesFailed"]) == (FRAMES, 0)
    whole = [chunk for chunk in chunks if chunk["State"] == "succeeded"]
    parts = Counter(frame for chunk in whole for frame in FrameSet.parse(chunk["Frames"]))
    # On a machine that is busy with other things, one may have helped the other in the end; where
    # both save the last frames at once, both have succeeded.
    assert set(parts.values()) <= {1, 2}
    assert list(parts.values()).count(2) <= FRAMES // 10
    assert len(parts) == FRAMES or any(chunk["State"] == "interrupted" for chunk in chunks)
    assert len({chunk["MachineId"] for chunk in chunks}) == 2
    archive = farm.download(task_id, tmp_path / "results.zip")
    assert names_in(archive) == {f"frame_{frame:04}.png" for frame in range(1, FRAMES + 1)}


def test_every_other_of_eighty_frames_starts_no_blender_for_each(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path
) -> None:
    """Each chunk starts one anew, and renders its frames with -j."""
    engine = {"EngineId": "blender", "ExecutablePath": blender(), "Warm": False}
    farm = start_farm(engines=[engine])
    task_id = enqueue(farm, cube, "1-79x2")
    detail = farm.wait_for_state(task_id, "succeeded")
    frames = FrameSet.parse("1-79x2")
    rendered = [frame for c in detail["Chunks"] for frame in FrameSet.parse(c["Frames"])]
    assert sorted(rendered) == list(frames)
    assert len(detail["Chunks"]) <= 5, "as many as a whole range of 40 frames takes"
    archive = farm.download(task_id, tmp_path / "results.zip")
    assert names_in(archive) == {f"frame_{frame:04}.png" for frame in frames}


def names_in(archive: Path) -> set[str]:
    with ZipFile(archive) as opened:
        return {Path(name).name for name in opened.namelist() if name.endswith(".png")}


# --------------------------------------------------------------------------- wrong scenes


@pytest.fixture
def raising_script(tmp_path: Path) -> Path:
    script = tmp_path / "raises.py"
    script.write_text("raise RuntimeError('the rig is broken')")
    return script


@pytest.fixture
def corrupt(cube: Path, tmp_path: Path) -> Path:
    """A .blend that was cut off while it was copied."""
    file = tmp_path / "corrupt.blend"
    file.write_bytes(cube.read_bytes()[:400])
    return file


@pytest.mark.parametrize("nodes", [1, 2])
def test_scenes_that_cannot_be_rendered(
    start_farm: Callable[..., Farm],
    blend: Callable[[str], Path],
    corrupt: Path,
    cube: Path,
    raising_script: Path,
    nodes: int,
) -> None:
    """They fail as soon as two machines agree, or the only one says so; the sentence says of what."""
    farm = start_farm(nodes=nodes)
    fails(farm, blend("no_camera"), nodes, "The scene has no camera.")
    fails(farm, corrupt, nodes, "The project is not a .blend file that this Blender can read")
    farm.admin(
        *("engine", "set", "blender", "--render-argument"),
        f"blender -b $RENDERONLINE:@uploaded_file -P {raising_script} "
        "-s $RENDERONLINE:start_frame -e $RENDERONLINE:end_frame -a",
    )
    fails(farm, cube, nodes, "the rig is broken", arguments={})


def fails(
    farm: Farm,
    scene: Path,
    nodes: int,
    sentence: str,
    arguments: dict[str, str] | None = None,
) -> None:
    given = {"output_format": "PNG"} if arguments is None else arguments
    task_id = farm.enqueue(scene, given, Frames="1-250")
    detail = farm.wait_for_state(task_id)
    assert detail["Task"]["State"] == "failed"
    assert sentence in detail["Task"]["Cause"]
    assert detail["Task"]["FramesFailed"] == 250
    ends = [chunk for chunk in detail["Chunks"] if chunk["State"] == "failed"]
    assert {chunk["Cause"] for chunk in ends} == {"scene"}
    assert len({chunk["MachineId"] for chunk in ends}) == nodes
    assert len(detail["Chunks"]) <= 2 * nodes, "no machine is kept busy with what cannot be"
