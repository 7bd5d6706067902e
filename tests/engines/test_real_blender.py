"""Real renders by the real Blender and the real bpy: what they do, and how it is judged."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from renderonline.engines.base import CommandError, FrameSaved, Notice, Progress
from renderonline.wire import Cause, Owes

from .conftest import DEADLINE_S, Renderer, Run


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


def names(files: list[Path]) -> list[str]:
    return [file.name for file in files]


# --------------------------------------------------------------------------- what succeeds


def test_the_readmes_template_renders_into_the_results(
    renderer: Renderer, run: Run, cube: Path, output_dir: Path
) -> None:
    attempt = run(renderer, ["blender", "-b", str(cube), "-s", "2", "-e", "4", "-a"])
    assert attempt.verdict.is_success, attempt.verdict.message
    assert names(attempt.files) == ["frame_0002.png", "frame_0003.png", "frame_0004.png"]
    assert attempt.frames_done == {2, 3, 4}
    assert [event.frame for event in attempt.of(FrameSaved)] == [2, 3, 4]
    assert len({pixels(output_dir / file) for file in attempt.files}) == 3


def test_progress_rises_to_one(renderer: Renderer, run: Run, cube: Path) -> None:
    attempt = run(renderer, ["-b", str(cube), "-s", "1", "-e", "2", "-a"])
    fractions = [event.fraction for event in attempt.of(Progress)]
    assert fractions == sorted(fractions)
    assert 0.5 in fractions
    assert fractions[-1] == 1.0


def test_a_list_of_frames(renderer: Renderer, run: Run, cube: Path) -> None:
    attempt = run(renderer, ["-b", str(cube), "-f", "1,3..4"])
    assert attempt.verdict.is_success, attempt.verdict.message
    assert attempt.frames_done == {1, 3, 4}


def test_a_frame_relative_to_the_end(renderer: Renderer, run: Run, cube: Path) -> None:
    attempt = run(renderer, ["-b", str(cube), "-f", "-1"])
    assert attempt.verdict.is_success, attempt.verdict.message
    assert names(attempt.files) == ["frame_0010.png"]


def test_settings_after_the_action_take_effect(renderer: Renderer, run: Run, cube: Path) -> None:
    attempt = run(renderer, ["-b", "-F", ".jpg", str(cube), "-a", "-s", "1", "-e", "1"])
    assert attempt.verdict.is_success, attempt.verdict.message
    assert names(attempt.files) == ["frame_0001.jpg"]


def test_a_digit_in_the_extension_is_no_frame(renderer: Renderer, run: Run, cube: Path) -> None:
    attempt = run(renderer, ["-b", str(cube), "-F", "jp2", "-s", "1", "-e", "2", "-a"])
    assert attempt.verdict.is_success, attempt.verdict.message
    assert names(attempt.files) == ["frame_0001.jp2", "frame_0002.jp2"]
    assert [event.frame for event in attempt.of(FrameSaved)] == [1, 2]


def test_a_given_range_is_whole_whatever_step_the_scene_has(
    renderer: Renderer, run: Run, special: Path
) -> None:
    scene = str(special / "step.blend")
    given = run(renderer, ["-b", scene, "-s", "1", "-e", "3", "-a"])
    assert given.verdict.is_success, given.verdict.message
    assert given.frames_done == {1, 2, 3}


def test_the_scenes_own_range_and_step(renderer: Renderer, run: Run, special: Path) -> None:
    attempt = run(renderer, ["-b", str(special / "step.blend"), "-a"])
    assert attempt.verdict.is_success, attempt.verdict.message
    assert attempt.frames_done == {1, 3}


@pytest.mark.parametrize(
    ("line", "step", "expected"),
    [
        ("-s -3 -e -1 -a", None, [-3, -2, -1]),
        ("-s -5 -e 4 -a", 3, [-5, -2, 1, 4]),
        ("-s 1 -e 10 -a", 4, [1, 5, 9]),
        ("-f 1..10", 4, [1, 5, 9]),
    ],
)
def test_frames_below_zero_and_every_nth(
    renderer: Renderer, run: Run, cube: Path, line: str, step: int | None, expected: list[int]
) -> None:
    attempt = run(renderer, ["-b", str(cube), *line.split()], step=step)
    assert attempt.verdict.is_success, attempt.verdict.message
    assert sorted(attempt.frames_done) == expected
    assert [event.frame for event in attempt.of(FrameSaved)] == expected
    written = {f"frame_{'-' * (frame < 0)}{abs(frame):04}.png" for frame in expected}
    assert set(names(attempt.files)) == written


def test_another_scene_of_the_project(renderer: Renderer, run: Run, special: Path) -> None:
    argv = ["-b", str(special / "scenes.blend"), "-s", "2", "-S", "Second shot", "-a"]
    attempt = run(renderer, argv)
    assert attempt.verdict.is_success, attempt.verdict.message
    assert names(attempt.files) == ["frame_0002.png"]


@pytest.mark.parametrize("wanted", ["mp4", ".mkv"])
def test_a_movie_is_one_file_of_the_kind_asked_for(
    renderer: Renderer, run: Run, cube: Path, wanted: str
) -> None:
    attempt = run(renderer, ["-b", str(cube), "-F", wanted, "-s", "1", "-e", "3", "-a"])
    assert attempt.verdict.is_success, attempt.verdict.message
    assert names(attempt.files) == [f"movie_0001-0003.{wanted.removeprefix('.')}"]
    assert attempt.frames_done == {1, 2, 3}


def test_a_movie_of_every_other_frame(renderer: Renderer, run: Run, cube: Path) -> None:
    attempt = run(renderer, ["-b", str(cube), "-F", "mp4", "-s", "1", "-e", "7", "-a"], step=2)
    assert attempt.verdict.is_success, attempt.verdict.message
    assert attempt.frames_done == {1, 3, 5, 7}


def test_a_movie_of_frames_below_zero_is_for_blender_itself(
    real_blender: Renderer, real_bpy: Renderer, run: Run, cube: Path
) -> None:
    argv = ["-b", str(cube), "-F", "mp4", "-s", "-3", "-e", "1", "-a"]
    attempt = run(real_blender, argv)
    assert attempt.verdict.is_success, attempt.verdict.message
    assert attempt.frames_done == {-3, -2, -1, 0, 1}
    with pytest.raises(CommandError, match="frames below 0"):
        real_bpy.adapter.complete(argv, "/out")
    line = ["-b", str(cube), "-F", "FFMPEG", *["-s", "0", "-s", "-3", "-e", "1", "-a"]]
    by_hand = run(real_bpy, line, complete=False)
    assert by_hand.exit_code == 1
    assert "bpy cannot put frame -3 into a movie" in by_hand.output


def test_a_movie_by_the_scene_is_noticed(
    real_blender: Renderer, run: Run, blend: Callable[[str], Path]
) -> None:
    argv = ["-b", str(blend("movie")), "-s", "1", "-e", "3", "-a"]
    assert not real_blender.adapter.owes(argv, None).movie
    attempt = run(real_blender, argv)
    assert attempt.verdict.is_success, attempt.verdict.message
    assert names(attempt.files) == ["frame_0001-0003.avi"]
    assert attempt.frames_done == {1, 2, 3}


def test_workbench_tells_no_frames_but_saves_them(
    renderer: Renderer, run: Run, blend: Callable[[str], Path]
) -> None:
    attempt = run(renderer, ["-b", str(blend("workbench")), "-s", "1", "-e", "2", "-a"])
    assert attempt.verdict.is_success, attempt.verdict.message
    assert attempt.frames_done == {1, 2}


def test_a_script_before_the_render(
    renderer: Renderer, run: Run, cube: Path, tmp_path: Path
) -> None:
    script = tmp_path / "bigger.py"
    script.write_text("import bpy\nbpy.context.scene.render.resolution_x = 20\n")
    attempt = run(renderer, ["-b", str(cube), "-P", str(script), "-f", "1"])
    assert attempt.verdict.is_success, attempt.verdict.message
    with Image.open(tmp_path / "out put #1" / attempt.files[0]) as image:
        assert image.width == 20


def test_scripts_in_the_project_stay_off_unless_asked_for(
    renderer: Renderer, run: Run, special: Path, tmp_path: Path
) -> None:
    """The user whose Blender it is lets them run; what the farm renders is not that user's."""
    scene = tmp_path / "autorun.blend"
    scene.write_bytes((special / "autorun.blend").read_bytes())
    env = {"BLENDER_USER_CONFIG": str(special / "config")}
    assert run(renderer, ["-b", str(scene), "-f", "1"], env=env).verdict.is_success
    assert not (tmp_path / "ran").exists()
    assert run(renderer, ["-b", "-y", str(scene), "-f", "1"], env=env).verdict.is_success
    assert (tmp_path / "ran").exists()


# --------------------------------------------------------------------------- what fails, and why


@pytest.mark.parametrize(
    ("scene", "options", "cause", "says"),
    [
        ("cut.blend", ["-f", "1"], Cause.SCENE, "cut off"),
        ("junk.blend", ["-f", "1"], Cause.SCENE, "not a .blend file"),
        ("absent.blend", ["-f", "1"], Cause.MACHINE, "cannot read the project"),
        ("step.blend", ["-E", "NOPE", "-f", "1"], Cause.SCENE, "engine NOPE is unknown"),
        ("step.blend", ["-S", "Nope", "-f", "1"], Cause.SCENE, "no scene named Nope"),
        ("step.blend", ["-P", "{}/raises.py", "-f", "1"], Cause.SCENE, "RuntimeError: boo"),
        ("step.blend", ["-P", "{}/absent.py", "-f", "1"], Cause.SCENE, "absent.py"),
        ("step.blend", ["-o", "{}/junk.blend/x_", "-f", "1"], Cause.MACHINE, "could not write"),
        ("linked_no_camera.blend", ["-f", "1"], Cause.ASSET_MISSING, "library.blend is missing"),
    ],
)
def test_failures_name_whose_fault_it_is(
    renderer: Renderer,
    run: Run,
    special: Path,
    scene: str,
    options: list[str],
    cause: Cause,
    says: str,
) -> None:
    filled = [word.replace("{}", str(special)) for word in options]
    attempt = run(renderer, ["-b", str(special / scene), *filled])
    assert not attempt.verdict.is_success
    assert attempt.verdict.cause is cause, attempt.output
    assert says in (attempt.verdict.message or "")
    assert "Traceback (most" not in (attempt.verdict.message or "").split("Its last lines")[0]


def test_no_camera(renderer: Renderer, run: Run, blend: Callable[[str], Path]) -> None:
    attempt = run(renderer, ["-b", str(blend("no_camera")), "-f", "1"])
    assert attempt.verdict.cause is Cause.SCENE
    assert "no camera" in (attempt.verdict.message or "")
    assert attempt.exit_code == 1


def test_a_missing_library_is_noticed_though_frames_come_out(
    renderer: Renderer, run: Run, special: Path
) -> None:
    attempt = run(renderer, ["-b", str(special / "linked.blend"), "-f", "1"])
    assert attempt.verdict.is_success
    assert any("library.blend is missing" in notice.text for notice in attempt.of(Notice))


def test_a_format_that_this_blender_lacks(real_bpy: Renderer, run: Run, cube: Path) -> None:
    attempt = run(real_bpy, ["-b", str(cube), "-F", "AVIJPEG", "-f", "1"])  # gone since 4.4
    assert attempt.verdict.cause is Cause.MACHINE
    assert "cannot write the output format" in (attempt.verdict.message or "")


# ---------------------------------------------------------- Blender's exit code 0 is no success


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-s", "5", "-e", "1", "-a"], "did not save frames 1-2"),
        (["-f", "abc"], "takes a number"),
        (["-S", "Nope", "-s", "1", "-e", "2", "-a"], "no scene named Nope"),
        (["-F", "NOPE", "-s", "1", "-e", "2", "-a"], "cannot write the output format"),
        (["-P", "{}/raises.py", "-s", "1", "-e", "2", "-a"], "script of the command line failed"),
        (["-s", "1", "-e", "1", "-a"], "did not save frames 2"),
    ],
)
def test_blender_exits_with_0_all_the_same(
    real_blender: Renderer, run: Run, special: Path, output_dir: Path, options: list[str], says: str
) -> None:
    """Command lines that `complete` refuses or mends, as an original RenderAPI would send them."""
    filled = [word.replace("{}", str(special)) for word in options]
    line = ["-b", str(special / "step.blend"), "-j", "1", "-o", f"{output_dir}/f_", *filled]
    attempt = run(real_blender, line, owes=Owes(frames="1-2"), complete=False)
    assert attempt.exit_code == 0
    assert not attempt.verdict.is_success
    assert says in (attempt.verdict.message or "")


@pytest.mark.parametrize(
    ("options", "exit_code"),
    [
        (["--frobnicate", "-f", "1"], 2),
        (["-f"], 2),
        ([], 2),
        (["-x", "maybe", "-f", "1"], 2),
        (["-f", "abc"], 1),
        (["-s", "5", "-e", "1", "-a"], 1),
        (["-s", "300", "-a"], 1),
        (["-F", "NOPE", "-f", "1"], 1),
        (["--python-exit-code", "9", "--python-expr", "1/0", "-f", "1"], 9),
        (["--python-expr", "import sys; sys.exit(5)", "-f", "1"], 5),
        (["--python-expr", "1/0", "-o", "{}/f_", "-f", "1"], 0),
        (["-o", "{}/f_", "-f", "1", "--", "--frobnicate"], 0),
    ],
)
def test_the_runners_exit_codes(
    real_bpy: Renderer, special: Path, tmp_path: Path, options: list[str], exit_code: int
) -> None:
    filled = [word.replace("{}", str(tmp_path)) for word in options]
    argv = ["blender", "-b", str(special / "step.blend"), *filled]
    command = real_bpy.adapter.command(real_bpy.executable, argv)
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert (exit_code == 0) == bool(list(tmp_path.glob("f_*")))


def test_the_runner_is_also_a_module(special: Path, tmp_path: Path, real_bpy: Renderer) -> None:
    done = subprocess.run(
        [
            *(real_bpy.executable, "-m", "renderonline.engines.bpy_runner", "-b"),
            *(str(special / "step.blend"), "-o", f"{tmp_path}/m_", "-t", "1", "-f", "2"),
        ],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "m_0002.png").exists()


def test_versions(renderer: Renderer) -> None:
    version = renderer.adapter.version(renderer.executable)
    assert version is not None
    assert version.count(".") == 2


def test_both_are_found_on_this_machine(renderer: Renderer) -> None:
    found = renderer.adapter.find()
    assert found
    assert renderer.adapter.version(str(found[0])) is not None
