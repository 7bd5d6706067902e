"""The real Blender and the real bpy, made to fail: whose fault it was, and of what the machine failed."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from renderonline.engines.base import Notice
from renderonline.wire import Cause, Reason

from .conftest import Renderer, Run

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")


def script(folder: Path, *lines: str) -> list[str]:
    """The options that run these lines before the render; `scene` is the scene."""
    file = folder / "before.py"
    file.write_text("\n".join(["import bpy", "scene = bpy.context.scene", *lines]) + "\n")
    return ["-P", str(file)]


@posix
@pytest.mark.parametrize(
    ("sent", "reason", "says"),
    [
        (signal.SIGKILL, Reason.OUT_OF_MEMORY, "ran out of memory"),
        (signal.SIGSEGV, Reason.CRASH, "Blender crashed (SIGSEGV)"),
        (signal.SIGILL, Reason.CRASH, "processor is too old"),
        (signal.SIGTERM, None, "from outside (SIGTERM)"),
    ],
)
def test_a_signal_that_nobody_of_us_sent(
    renderer: Renderer,
    run: Run,
    blend: Callable[[str], Path],
    sent: signal.Signals,
    reason: Reason | None,
    says: str,
) -> None:
    argv = ["-b", str(blend("slow")), "-f", "1"]
    attempt = run(renderer, argv, kill_at="Fra:1", kill_with=sent)
    assert attempt.verdict.cause is Cause.MACHINE, attempt.output
    assert attempt.verdict.reason is reason
    assert says in (attempt.verdict.message or "")


@posix
def test_a_missing_library_does_not_hide_what_killed_it(
    renderer: Renderer, run: Run, special: Path
) -> None:
    argv = ["-b", str(special / "linked.blend"), "-f", "1"]
    attempt = run(renderer, argv, kill_at="Unable to open", kill_with=signal.SIGKILL)
    assert any("library.blend is missing" in notice.text for notice in attempt.of(Notice))
    assert attempt.verdict.cause is Cause.MACHINE
    assert attempt.verdict.reason is Reason.OUT_OF_MEMORY


@posix
def test_memory_that_the_system_does_not_give(
    renderer: Renderer, run: Run, special: Path, tmp_path: Path
) -> None:
    """Blender goes on with a null pointer then, and crashes."""
    wrapper = tmp_path / "limited"
    real = shlex.quote(renderer.executable)
    wrapper.write_text(f'#!/bin/sh\nulimit -v 2000000\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    heavier = script(
        tmp_path,
        "modifier = scene.objects['Cube'].modifiers.new('more', 'SUBSURF')",
        "modifier.subdivision_type, modifier.render_levels = 'SIMPLE', 11",
    )
    argv = ["-b", str(special / "step.blend"), "-t", "1", *heavier, "-f", "1"]
    attempt = run(Renderer(renderer.adapter, str(wrapper)), argv)
    assert attempt.verdict.cause is Cause.MACHINE, attempt.output
    assert attempt.verdict.reason is Reason.OUT_OF_MEMORY, attempt.verdict.message


@pytest.mark.skipif(sys.platform != "linux", reason="EGL is what Linux draws with")
def test_a_machine_that_cannot_draw(
    renderer: Renderer, run: Run, blend: Callable[[str], Path]
) -> None:
    env = {"__EGL_VENDOR_LIBRARY_FILENAMES": os.devnull, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    attempt = run(renderer, ["-b", str(blend("workbench")), "-f", "1"], env=env)
    assert attempt.verdict.cause is Cause.MACHINE, attempt.output
    assert attempt.verdict.reason is Reason.GPU, attempt.verdict.message
    assert "without a screen" in (attempt.verdict.message or "")


@posix
def test_a_renderer_without_one_of_its_libraries(real_blender: Renderer, run: Run) -> None:
    """What ld.so says, of a real program whose library is not found."""
    from_ld_so = Renderer(real_blender.adapter, "/bin/sh")
    line = "blender: error while loading shared libraries: libXi.so.6: cannot open shared object"
    attempt = run(from_ld_so, ["-c", f"echo '{line} file' >&2; exit 127"], complete=False)
    assert attempt.verdict.cause is Cause.MACHINE
    assert "libXi.so.6 is missing" in (attempt.verdict.message or "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.blend", b""),
        ("head.blend", b"BLENDER-v304"),
        ("gzip.blend", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x73\xf2"),
        ("zstd.blend", b"\x28\xb5\x2f\xfd\x24\x10"),
        ("picture.blend", b"\x89PNG\r\n\x1a\n" + b"\0" * 100),
    ],
)
def test_files_that_are_no_scenes(
    renderer: Renderer, run: Run, tmp_path: Path, name: str, content: bytes
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    attempt = run(renderer, ["-b", str(file), "-f", "1"])
    assert attempt.verdict.cause is Cause.SCENE, attempt.output
    assert "not a .blend file" in (attempt.verdict.message or "")


def test_a_render_region_without_pixels(
    renderer: Renderer, run: Run, special: Path, tmp_path: Path
) -> None:
    nothing = script(tmp_path, "scene.render.use_border = True", "scene.render.border_max_x = 0.0")
    attempt = run(renderer, ["-b", str(special / "step.blend"), *nothing, "-f", "1"])
    assert attempt.verdict.cause is Cause.SCENE, attempt.output
    assert "render region" in (attempt.verdict.message or "")


def test_a_scene_that_must_not_overwrite(
    renderer: Renderer, run: Run, special: Path, tmp_path: Path, output_dir: Path
) -> None:
    """Tried again, it skips what is there: that counts if it is whole, and is told if it is not."""
    keep = script(tmp_path, "scene.render.use_overwrite = False")
    argv = ["-b", str(special / "step.blend"), *keep, "-s", "1", "-e", "2", "-a"]
    assert run(renderer, argv).verdict.is_success
    again = run(renderer, argv)
    assert again.verdict.is_success, again.output
    assert again.frames_done == {1, 2}

    (output_dir / "frame_0002.png").write_bytes(b"")  # as a placeholder, or a save that was killed
    broken = run(renderer, argv)
    assert broken.frames_done == {1}
    assert broken.verdict.cause is Cause.SCENE, broken.output
    assert "frame_0002.png is empty. Switch Overwrite on" in (broken.verdict.message or "")


def test_a_driver_that_does_not_work_is_noticed(
    real_blender: Renderer, run: Run, special: Path, tmp_path: Path
) -> None:
    """Not with bpy: 4.5 evaluates it on a thread that waits for Python, and so for ever."""
    driven = script(
        tmp_path,
        "curve = scene.objects['Cube'].driver_add('location', 0)",
        "curve.driver.expression = 'boom + 1'",
    )
    attempt = run(real_blender, ["-b", str(special / "step.blend"), *driven, "-f", "1"])
    assert attempt.verdict.is_success, attempt.output
    assert any("driver boom + 1" in notice.text for notice in attempt.of(Notice))
