"""Variants, and scenes that make movies, on a farm of real processes with the real Blender."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from support.farm import Farm

from renderonline.engines.images import fault

TEMPLATE = (
    "blender -b $RENDERONLINE:@uploaded_file -o $RENDERONLINE:@output_dir/frame_#### "
    "-x 1 -s $RENDERONLINE:start_frame -e $RENDERONLINE:end_frame -a"
)
"""Ours without a format: the scene's is used."""


def without_format(farm: Farm) -> None:
    farm.admin("engine", "set", "1", "--render-argument", TEMPLATE)


def unpacked(farm: Farm, task_id: int, folder: Path) -> list[str]:
    """The results' names; the files are in `folder`."""
    folder.mkdir()
    with zipfile.ZipFile(farm.download(task_id, folder / "all.zip")) as packed:
        packed.extractall(folder)
        return sorted(name for name in packed.namelist() if name.startswith("output/"))


def test_one_submission_is_rendered_in_three_formats(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path
) -> None:
    farm = start_farm(nodes=2)
    variants = [
        {"Name": "final", "Arguments": [{"ArgTypeId": "output_format", "Value": "OPEN_EXR"}]},
        {"Name": "proxy", "Frames": "1-7x3"},
        {"Name": "clip", "Arguments": [{"ArgTypeId": "output_format", "Value": "avi"}]},
    ]
    task_id = farm.enqueue(
        cube, {"output_format": "JPEG"}, Frames="1-4", ChunkFrames=2, Variants=variants
    )
    detail = farm.wait_for_state(task_id, "succeeded")
    assert (detail["Task"]["FramesDone"], detail["Task"]["FramesTotal"]) == (11, 11)
    assert {told["Name"]: told["State"] for told in detail["Variants"]} == {
        "final": "succeeded",
        "proxy": "succeeded",
        "clip": "succeeded",
    }
    assert [c["Frames"] for c in detail["Chunks"] if c["Variant"] == "clip"] == ["1-4"]
    names = unpacked(farm, task_id, tmp_path / "results")
    images = [f"output/final/frame_000{n}.exr" for n in range(1, 5)]
    images += [f"output/proxy/frame_000{n}.jpg" for n in (1, 4, 7)]
    (movie,) = set(names) - set(images)
    assert movie.startswith("output/clip/")
    assert [fault(tmp_path / "results" / name) for name in images] == [None] * 7
    assert farm.get("info")["Tasks"][0]["Task"]["IsSuccess"] is True
    assert len(farm.get("info")["Tasks"]) == 1


def test_a_scene_that_makes_a_movie_is_one_chunk_though_nothing_says_so(
    start_farm: Callable[..., Farm], blend: Callable[[str], Path], tmp_path: Path
) -> None:
    farm = start_farm(nodes=2)
    without_format(farm)
    task_id = farm.enqueue(blend("movie"), {}, Frames="1-6", ChunkFrames=2)
    detail = farm.wait_for_state(task_id, "succeeded")
    assert [chunk["Frames"] for chunk in detail["Chunks"]] == ["1-6"]
    assert unpacked(farm, task_id, tmp_path / "results") == ["output/frame_0001-0006.avi"]
    gaps = farm.request("GET", f"tasks/{task_id}").json()["Task"]
    assert gaps["FramesLeft"] is None


def test_a_scene_that_makes_images_is_split_with_the_same_engine(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path
) -> None:
    farm = start_farm()
    without_format(farm)
    task_id = farm.enqueue(cube, {}, Frames="1-6", ChunkFrames=2)
    detail = farm.wait_for_state(task_id, "succeeded")
    assert [chunk["Frames"] for chunk in detail["Chunks"]] == ["1-2", "3-4", "5-6"]
    names = unpacked(farm, task_id, tmp_path / "results")
    assert names == [f"output/frame_000{n}.png" for n in range(1, 7)]
