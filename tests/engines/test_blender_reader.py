"""Blender's output, line by line, as the versions print it, and the verdict at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from renderonline.engines.base import Ending, FrameSaved, Notice, Progress
from renderonline.engines.blender_lines import Appended, Saved, Skipped, Step, Written, plain, read
from renderonline.engines.blender_output import frame_images
from renderonline.engines.blender_reader import MAX_NOTICES, BlenderReader
from renderonline.frames import FrameSet, frame_of, heads_of
from renderonline.wire import Cause, Owes, Reason

V29 = "Fra:7 Mem:8.01M (Peak 8.03M) | Time:00:00.36 | Remaining:00:00.20 | Mem:0.9M, Peak:0.9M | Scene, View Layer | "
V34 = "Fra:7 Mem:9.90M (Peak 10.83M) | Time:00:00.00 | Mem:0.76M, Peak:0.76M | Scene, ViewLayer | "


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (V29 + "Rendered 12/40 Tiles", Step(7, 0.3)),
        (V29 + "Rendered 12/40 Tiles, Sample 3/16", Step(7, 3 / 16)),
        (V34 + "Sample 4/16", Step(7, 0.25)),
        (V34 + "Updating Meshes", Step(7, None)),
        ("Fra:7 Mem:10.74M (Peak 11.86M) | Time:00:00.96 | Rendering 1 / 4 samples", Step(7, 0.25)),
        ("Fra:-3 Mem:1M (Peak 1M) | Sample 0/0", Step(-3, None)),
        ("00:01.100  render           | Fra: 7 | Sample 2/4", Step(7, 0.5)),
        ("Saved: '/x/f 1.png'", Saved(Path("/x/f 1.png"))),
        ("Saved: '/x/it's.png'", Saved(Path("/x/it's.png"))),
        ("Saved: /x/f_0001.png Time: 00:00.10 (Saving: 00:00.02)", Saved(Path("/x/f_0001.png"))),
        ("00:01.353  render           | Saved: '/x/0003.png'", Saved(Path("/x/0003.png"))),
        ('skipping existing frame "/x/f 1.png"', Skipped(Path("/x/f 1.png"))),
        ("Append frame 12", Appended(12)),
        ("00:00.331  render           | Video append frame 1", Appended(1)),
        (" Time: 00:00.31 (Saving: 00:00.14)", Written()),
        ('Info: Saved "x.blend"', None),
        ("Blender quit", None),
        ("", None),
    ],
)
def test_reads(line: str, said: object) -> None:
    assert read(plain(line)) == said


@pytest.mark.parametrize(
    ("name", "owed", "current", "frame"),
    [
        ("frame_0012.png", "1-20", None, 12),
        ("shot-0012.png", "1-20", None, 12),
        ("shot_-0003.png", "-5--1", None, -3),
        ("frame_-0003.png", "-5-5", None, -3),
        ("-0003.png", "-5-5", None, -3),
        ("shot-0003.png", "-5-5", None, 3),
        ("shot--0003.png", "-5-5", None, -3),
        ("shot-0003.png", "-5-5", -3, -3),  # the name is `shot`, and Blender puts -0003 behind it
        ("shot_-0003.png", "-5-5", 3, 3),  # the name is `shot_-`
        ("shot-0003.png", "-5--1", None, -3),
        ("v002_0007_L.png", "7", None, 7),
        ("frame_0001.jp2", "1-2", 1, 1),
        ("frame.0001", "1-2", None, 1),
        ("beauty.png", "7", 7, 7),
        ("frame_0012.png", "", None, 12),
        ("frame_0012.png", "", 5, 5),
        ("beauty.png", "", None, None),
    ],
)
def test_which_frame_a_file_is(
    name: str, owed: str, current: int | None, frame: int | None
) -> None:
    assert frame_of(name, FrameSet.parse(owed) if owed else FrameSet(), current) == frame


@pytest.mark.parametrize(
    ("names", "frames"),
    [
        # Blender puts the number behind a name without a place for it
        (["shot-0003.png", "shot0003.png", "shot0000.png"], [-3, 3, 0]),
        (["shot-0003.png", "shot--0003.png", "shot-0000.png"], [3, -3, 0]),
        (["v2-3.png", "v2-0.png"], [3, 0]),
        (["-3.png", "3.png", "0.png"], [-3, 3, 0]),
    ],
)
def test_a_hyphen_is_what_the_other_files_show(names: list[str], frames: list[int]) -> None:
    owed, heads = FrameSet.parse("-5-5"), heads_of(names)
    assert [frame_of(name, owed, None, heads) for name in names] == frames


def saved(folder: Path, frame: int) -> str:
    """Write a real image, and the line that Blender prints then."""
    path = folder / f"frame_{frame:04}.png"
    Image.new("RGB", (8, 8), (frame, 0, 0)).save(path)
    return f"Saved: '{path}'"


def ended(folder: Path, exit_code: int = 0) -> Ending:
    return Ending(exit_code, [path.relative_to(folder) for path in folder.iterdir()], folder)


def test_progress_is_over_all_frames_and_never_goes_back(tmp_path: Path) -> None:
    reader = BlenderReader(Owes(frames="7-8"))
    lines = [V34 + "Sample 8/16", V34 + "Sample 4/16", saved(tmp_path, 7)]
    lines += [V34.replace(":7", ":8") + "Sample 8/16", saved(tmp_path, 8)]
    events = [event for line in lines for event in reader.feed(line)]
    assert [e.fraction for e in events if isinstance(e, Progress)] == [0.25, 0.5, 0.75, 1.0]
    assert [e.frame for e in events if isinstance(e, FrameSaved)] == [7, 8]
    assert reader.reading.frames_done == {7, 8}
    assert reader.reading.files_saved == 2
    assert reader.judge(ended(tmp_path)).is_success


def test_every_owed_frame_must_have_been_saved(tmp_path: Path) -> None:
    reader = BlenderReader(Owes(frames="1-5"))
    for frame in (1, 2, 4):
        reader.feed(saved(tmp_path, frame))
    verdict = reader.judge(ended(tmp_path))
    assert verdict.cause is Cause.MACHINE
    assert "3,5" in (verdict.message or "")


@pytest.mark.parametrize("damage", ["empty", "cut", "gone", "text"])
def test_a_frame_that_is_not_whole_does_not_count(tmp_path: Path, damage: str) -> None:
    line = saved(tmp_path, 1)
    path = tmp_path / "frame_0001.png"
    if damage == "gone":
        path.unlink()
    elif damage == "text":
        path.write_text("no image")
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else -30])
    reader = BlenderReader(Owes(frames="1"))
    (notice,) = reader.feed(line)
    assert isinstance(notice, Notice)
    assert reader.reading.frames_done == set()
    verdict = reader.judge(ended(tmp_path))
    assert verdict.cause is Cause.MACHINE
    assert "frame_0001.png" in (verdict.message or "")


def test_a_frame_written_again_whole_counts(tmp_path: Path) -> None:
    reader = BlenderReader(Owes(frames="1"))
    reader.feed(f"Saved: '{tmp_path / 'frame_0001.png'}'")
    reader.feed(saved(tmp_path, 1))
    assert reader.judge(ended(tmp_path)).is_success


def test_without_a_known_range_one_image_is_owed(tmp_path: Path) -> None:
    reader = BlenderReader(Owes())
    assert not reader.judge(ended(tmp_path)).is_success
    events = reader.feed(saved(tmp_path, 3))
    assert not [event for event in events if isinstance(event, Progress)]
    assert reader.judge(ended(tmp_path)).is_success


def test_a_movie_needs_its_file(tmp_path: Path) -> None:
    reader = BlenderReader(Owes(frames="1-2", movie=True))
    for frame in (1, 2):
        reader.feed(f"Append frame {frame}")
    (tmp_path / "movie_0001-0002.mp4").touch()
    assert not reader.judge(ended(tmp_path)).is_success
    (tmp_path / "movie_0001-0002.mp4").write_bytes(b"film")
    assert reader.judge(ended(tmp_path)).is_success


def test_the_engine_rows_pattern_counts_too(tmp_path: Path) -> None:
    reader = BlenderReader(Owes(frames="1", pattern="*.png *.exr"))
    reader.feed(saved(tmp_path, 1))
    verdict = reader.judge(ended(tmp_path))
    assert "*.exr" in (verdict.message or "")


NO_LIBRARY = "Warning: Unable to open '/l.blend': No"
NO_CAMERA = "Error: Cannot render, no camera"
NO_MEMORY = "Calloc returns null: len=1 in x, total 2"
NO_SPACE = "/o/f.bmp: No space left on device"
NOT_SAVED = "Error: Render error (Invalid argument) cannot save: '/o/f.bmp'"
NO_GPU = "Error: Failed to create CUDA context (Not permitted)"
SCRIPT = "Error: script failed, file: 'x.py', exiting."
TRACEBACK = "Traceback (most recent call last):"


@pytest.mark.parametrize(
    ("lines", "exit_code", "cause", "says"),
    [
        ([], 1, Cause.MACHINE, "exit code 1"),
        (["what it said"], 1, Cause.MACHINE, "what it said"),
        ([], -11, Cause.MACHINE, "SIGSEGV"),
        ([], 139, Cause.MACHINE, "SIGSEGV"),
        ([], 3221225477, Cause.MACHINE, "access violation"),
        ([], -9, Cause.MACHINE, "out of memory"),
        ([], 70, Cause.SCENE, "Python script"),
        (["System is out of GPU memory"], 1, Cause.MACHINE, "memory"),
        (["Calloc returns null: len=1 in x, total 2"], -6, Cause.MACHINE, "out of memory"),
        (["/o/f.bmp: No space left on device"], 1, Cause.MACHINE, "disk of the machine is full"),
        (["Error: Build without OpenImageDenoiser"], 1, Cause.MACHINE, "denoise"),
        (["Error: Cannot render, no camera"], -11, Cause.MACHINE, "SIGSEGV"),
        (
            ["Warning: Unable to open '/l.blend': No", "Error: Cannot render, no camera"],
            1,
            Cause.ASSET_MISSING,
            "/l.blend is missing",
        ),
        (["Info: LIB: Object: 'A{0}' missing from '/l'"], 1, Cause.ASSET_MISSING, "'A{0}' missing"),
        ([NO_LIBRARY], 1, Cause.ASSET_MISSING, "Blender ended with exit code 1"),
        ([NO_LIBRARY, SCRIPT], 70, Cause.ASSET_MISSING, "A Python script"),
        (["Error: script failed"], 70, Cause.SCENE, "Its last lines"),
        ([TRACEBACK, "KeyError: 'Sun'"], 1, Cause.SCENE, "KeyError: 'Sun'"),
        (["Error: No render output node in scene"], 1, Cause.SCENE, "compositor has no output"),
        (["Error: All render layers are disabled"], 1, Cause.SCENE, "switched off"),
        (["Error: Image too small"], 1, Cause.SCENE, "render region"),
        (
            ["Error: The file was saved by a newer version, open it with Blender 5.0 or later"],
            1,
            Cause.SCENE,
            "newer version of Blender than this machine has (5.0)",
        ),
        (
            ["Error: The option --frobnicate is not known here."],
            2,
            Cause.SCENE,
            "command line: The option --frobnicate is not known here.",
        ),
        (
            ["Error: this Python cannot import bpy: No module named 'bpy'"],
            1,
            Cause.MACHINE,
            "Install bpy there again",
        ),
        (["Error   : EXCEPTION_ACCESS_VIOLATION"], 11, Cause.MACHINE, "ACCESS_VIOLATION"),
        (["Blender quit"], 0, Cause.SCENE, "nothing to render"),
        ([], 0, Cause.MACHINE, "did not save frames 1"),
    ],
)
def test_blames(tmp_path: Path, lines: list[str], exit_code: int, cause: Cause, says: str) -> None:
    reader = BlenderReader(Owes(frames="1"))
    for line in lines:
        reader.feed(line)
    verdict = reader.judge(ended(tmp_path, exit_code))
    assert (verdict.is_success, verdict.cause) == (False, cause)
    assert says in (verdict.message or "")


@pytest.mark.parametrize(
    ("lines", "exit_code", "reason"),
    [
        ([], -9, Reason.OUT_OF_MEMORY),
        ([], -11, Reason.CRASH),
        ([], -15, None),
        ([], 1, None),
        ([NO_LIBRARY], -9, Reason.OUT_OF_MEMORY),
        ([NO_LIBRARY] * 2 + [NO_MEMORY], -11, Reason.OUT_OF_MEMORY),
        ([NO_CAMERA, NO_MEMORY], 1, Reason.OUT_OF_MEMORY),
        ([NO_SPACE], -9, Reason.OUT_OF_MEMORY),
        ([NO_SPACE], -11, Reason.DISK_FULL),
        ([NO_SPACE, NOT_SAVED], 1, Reason.DISK_FULL),
        ([NOT_SAVED], 1, None),
        ([NO_GPU, NO_MEMORY], 1, Reason.OUT_OF_MEMORY),
        ([NO_MEMORY, NO_GPU], 1, Reason.GPU),
        ([NO_GPU, NO_MEMORY, NO_GPU], 1, Reason.GPU),
        ([NO_MEMORY, TRACEBACK, SCRIPT], 70, Reason.OUT_OF_MEMORY),
        (["no compatible GPUs found for Cycles"], -9, Reason.OUT_OF_MEMORY),
        ([NO_MEMORY, "Error   : EXCEPTION_ACCESS_VIOLATION"], 11, Reason.OUT_OF_MEMORY),
        ([NO_GPU, "SAVED"], -11, Reason.CRASH),
        ([NO_GPU, "SAVED", NO_MEMORY], -11, Reason.OUT_OF_MEMORY),
        ([NO_GPU, "SAVED"], 1, Reason.GPU),
    ],
)
def test_what_was_nearest_to_the_end_counts(
    tmp_path: Path, lines: list[str], exit_code: int, reason: Reason | None
) -> None:
    """A frame that was saved whole (SAVED) since then shows that the trouble was survived."""
    reader = BlenderReader(Owes(frames="1-2"))
    for line in lines:
        reader.feed(saved(tmp_path, 1) if line == "SAVED" else line)
    verdict = reader.judge(ended(tmp_path, exit_code))
    assert (verdict.cause, verdict.reason) == (Cause.MACHINE, reason), verdict.message


def test_a_crash_tells_what_was_missing_before(tmp_path: Path) -> None:
    reader = BlenderReader(Owes(frames="1"))
    reader.feed(NO_LIBRARY)
    message = reader.judge(ended(tmp_path, -11)).message or ""
    assert "crashed (SIGSEGV)" in message
    assert "Before that: The linked file /l.blend is missing" in message


def test_thousands_of_missing_files_do_not_hide_what_came_then(tmp_path: Path) -> None:
    reader = BlenderReader(Owes(frames="1"))
    for number in range(1000):
        reader.feed(f"Warning: Unable to open '/l{number}.blend': No")
    reader.feed(NO_MEMORY)
    for number in range(1000):
        reader.feed(f"Warning: Unable to open '/m{number}.blend': No")
    assert reader.judge(ended(tmp_path, 1)).reason is Reason.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "line",
    [
        "WARN (bke.data_transfer): ./source/blender/blenkernel/intern/vfont.c:292 vfont_get_data: "
        "Font file doesn't exist: //myfont.ttf",
        "WARN (bke.vfont): source/blender/blenkernel/intern/vfont.cc:225 BKE_vfont_data_ensure: "
        "Font file doesn't exist: //myfont.ttf",
        "anim file doesn't exist: //myfont.ttf",
        "USD Import: unable to open stage to read //myfont.ttf",
    ],
)
def test_a_missing_asset_is_noticed_and_no_failure(tmp_path: Path, line: str) -> None:
    reader = BlenderReader(Owes(frames="1"))
    (notice,) = reader.feed(line)
    assert isinstance(notice, Notice)
    assert "//myfont.ttf" in notice.text
    reader.feed(saved(tmp_path, 1))
    assert reader.judge(ended(tmp_path)).is_success


def test_notices_are_said_once_and_bounded() -> None:
    reader = BlenderReader(Owes())
    lines = [f"Warning: Unable to open '/lib{n}': No" for n in range(100) for _ in range(2)]
    notices = [event for line in lines for event in reader.feed(line)]
    assert len(notices) == MAX_NOTICES
    assert len(set(notices)) == MAX_NOTICES


def test_a_frame_of_another_size_is_told_once_and_counts(tmp_path: Path) -> None:
    reader = BlenderReader(Owes(frames="1-3", width_px=8, height_px=6))
    told = []
    for frame, size in ((1, (8, 6)), (2, (4, 3)), (3, (4, 3))):
        file = tmp_path / f"f_{frame:04}.png"
        Image.new("RGB", size).save(file)
        told += [e.text for e in reader.feed(f"Saved: '{file}'") if isinstance(e, Notice)]
    assert told == ["f_0002.png has 4 × 3 pixels; the scene says 8 × 6."]
    assert reader.judge(Ending(0)).is_success


def test_a_frame_with_passes_is_done_with_its_own_image(tmp_path: Path) -> None:
    """What is announced first (3.4, 4.5: the compositor's files) says nothing of the rest."""
    reader = BlenderReader(Owes(frames="7-8"), frame_images(["-o", f"{tmp_path}/frame_####"]))
    passes = [tmp_path / name for name in ("z_0007.png", "n_0007.png")]
    for file in passes:
        Image.new("RGB", (8, 8)).save(file)
        assert reader.feed(f"Saved: {file}") == []
    assert reader.reading.frames_done == set()
    events = reader.feed(saved(tmp_path, 7))
    told = [(event.path.name, event.frame) for event in events if isinstance(event, FrameSaved)]
    assert told == [("z_0007.png", None), ("n_0007.png", None), ("frame_0007.png", 7)]
    assert reader.reading.frames_done == {7}


@pytest.mark.parametrize(
    "end", [" Time: 00:00.50 (Saving: 00:00.00)", V34.replace(":7", ":8") + "Sample 1/4", ""]
)
def test_both_eyes_of_a_stereo_pair_make_a_frame(tmp_path: Path, end: str) -> None:
    """Whatever tells of it: a line of 2.8 to 4.5, the next frame, or the end (Blender 5)."""
    reader = BlenderReader(Owes(frames="7-8"), frame_images(["-o", f"{tmp_path}/frame_####"]))
    for eye in "LR":
        file = tmp_path / f"frame_0007_{eye}.png"
        Image.new("RGB", (8, 8)).save(file)
        assert reader.feed(f"Saved: '{file}'") == []
    events = reader.feed(end) if end else reader.rest()
    told = [(event.path.name, event.frame) for event in events if isinstance(event, FrameSaved)]
    assert told == [("frame_0007_L.png", None), ("frame_0007_R.png", 7)]


def test_a_frame_with_a_broken_pass_is_not_done(tmp_path: Path) -> None:
    reader = BlenderReader(Owes(frames="1"), frame_images(["-o", f"{tmp_path}/frame_####"]))
    (tmp_path / "z_0001.png").write_bytes(b"")
    (notice,) = reader.feed(f"Saved: '{tmp_path / 'z_0001.png'}'")
    assert isinstance(notice, Notice)
    assert not any(isinstance(event, FrameSaved) for event in reader.feed(saved(tmp_path, 1)))
    assert reader.reading.frames_done == set()
    assert "z_0001.png" in (reader.judge(ended(tmp_path)).message or "")


@pytest.mark.parametrize(
    ("output", "file", "is_image"),
    [
        ("/out/frame_####", "/out/frame_0007.png", True),
        ("/out/frame_####", "/out/frame_12345.exr", True),
        ("/out/frame_", "/out/frame_0007.png", True),
        ("/out/", "/out/0007.png", True),
        ("/out/f_##_v2.png", "/out/f_07_v2.png", True),
        ("/out/frame_####", "/out/frame_0007_L.png", False),
        ("/out/frame_####", "/out/z_0007.png", False),
        ("/out/frame_####", "/out/z/frame_0007.png", False),
    ],
)
def test_the_image_of_a_frame_is_told_from_the_command_line(
    output: str, file: str, is_image: bool
) -> None:
    assert frame_images(["-o", output]).has(Path(file)) == is_image
