"""Results that a scene writes into its project instead of its output folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from renderonline.node.beside import Beside
from renderonline.node.results import DeskResults

Put = list[tuple[str, int | None]]


def desk(tmp_path: Path, below: str = "output") -> tuple[Path, DeskResults, Put]:
    """A copied project with its desk, and what is handed over of it."""
    root = tmp_path / "tree"
    handed: Put = []

    def put(file: Path, name: Path, frame: int | None) -> None:
        handed.append((name.as_posix(), frame))
        file.unlink()

    own = root / "plates" / "plate_0001.png"
    beside = Beside(root, root / below, {own}.__contains__)
    return root, DeskResults(root / below, put, beside), handed


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def test_passes_come_back_under_their_own_path_and_before_their_frame(tmp_path: Path) -> None:
    root, results, handed = desk(tmp_path)
    write(root, "passes/depth_0001.png", "output/z_0001.png", "output/frame_0001.png")
    assert results.deliver(root / "passes/depth_0001.png", None) is None
    assert results.deliver(root / "output/frame_0001.png", 1) is None
    assert handed == [("passes/depth_0001.png", None), ("z_0001.png", None), ("frame_0001.png", 1)]
    assert Path("passes/depth_0001.png") in results.changed()


def test_a_variants_scene_knows_only_of_output(tmp_path: Path) -> None:
    root, results, handed = desk(tmp_path, "output/exr")
    write(root, "output/z/z_0001.png")
    results.deliver(root / "output/z/z_0001.png", None)
    assert handed == [("z/z_0001.png", None)]


def test_a_pass_does_not_take_the_place_of_a_frame(tmp_path: Path) -> None:
    root, results, handed = desk(tmp_path)
    write(root, "frame_0001.png", "output/frame_0001.png")
    results.deliver(root / "frame_0001.png", None)
    results.deliver(root / "output/frame_0001.png", 1)
    assert handed == [("_project/frame_0001.png", None), ("frame_0001.png", 1)]


def test_the_projects_own_files_stay(tmp_path: Path) -> None:
    root, results, handed = desk(tmp_path)
    write(root, "plates/plate_0001.png")
    assert results.deliver(root / "plates/plate_0001.png", 1) is None
    assert handed == []
    assert (root / "plates/plate_0001.png").exists()


def test_what_lies_elsewhere_stays_and_is_known(tmp_path: Path) -> None:
    root, results, handed = desk(tmp_path)
    write(tmp_path, "elsewhere/n_0001.png")
    for file in (tmp_path / "elsewhere/n_0001.png", root / "../elsewhere/n_0001.png"):
        assert results.deliver(file, 1) is None
        assert results.is_elsewhere(file)
    assert not results.is_elsewhere(root / "passes/../passes/depth_0001.png")
    assert handed == []


def test_a_folder_of_passes_that_is_a_link_out_of_the_project_is_not_followed(
    tmp_path: Path,
) -> None:
    root, results, handed = desk(tmp_path)
    write(tmp_path, "elsewhere/secret_0001.png")
    try:
        (root / "passes").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.fail("these tests need the right to make links")
    results.deliver(root / "passes/secret_0001.png", 1)
    assert handed == []
