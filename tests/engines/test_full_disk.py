"""The real Blender and the real bpy on a disk that is full: most formats are saved empty, exit code 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from renderonline.wire import Cause, Reason

from .conftest import Renderer, Run, fill


@pytest.fixture
def output_dir(small_disk: Path) -> Path:
    """Where results go (`run` asks for this)."""
    folder = small_disk / "out put"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("wanted", ["png", "exr", "jpg", "tif"])
def test_no_room_at_all(
    renderer: Renderer, run: Run, special: Path, small_disk: Path, wanted: str
) -> None:
    fill(small_disk, spare_bytes=0)
    attempt = run(renderer, ["-b", str(special / "step.blend"), "-F", wanted, "-f", "1"])
    assert attempt.frames_done == set()
    assert attempt.verdict.cause is Cause.MACHINE, attempt.output
    assert attempt.verdict.reason is Reason.DISK_FULL, attempt.verdict.message
    assert "disk of the machine is full" in (attempt.verdict.message or "")


@pytest.mark.parametrize("wanted", ["png", "exr", "dpx"])
def test_an_image_that_is_cut_off_does_not_count(
    renderer: Renderer, run: Run, special: Path, small_disk: Path, tmp_path: Path, wanted: str
) -> None:
    larger = tmp_path / "larger.py"
    larger.write_text(
        "import bpy\nrender = bpy.context.scene.render\n"
        "render.resolution_x = render.resolution_y = 256\n"
        "render.image_settings.compression = 0\n"
    )
    fill(small_disk, spare_bytes=4096)
    options = ["-F", wanted, "-P", str(larger), "-f", "1"]
    attempt = run(renderer, ["-b", str(special / "step.blend"), *options])
    assert attempt.frames_done == set()
    assert attempt.verdict.cause is Cause.MACHINE, attempt.output
    assert attempt.verdict.reason is Reason.DISK_FULL, attempt.verdict.message


def test_a_movie_that_cannot_begin(
    renderer: Renderer, run: Run, special: Path, small_disk: Path
) -> None:
    """Blender says "probably unsupported codec combination" then."""
    fill(small_disk, spare_bytes=0)
    argv = ["-b", str(special / "step.blend"), "-F", "mp4", "-s", "1", "-e", "2", "-a"]
    attempt = run(renderer, argv)
    assert attempt.verdict.reason is Reason.DISK_FULL, attempt.verdict.message
