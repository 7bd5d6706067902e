"""Real Blender and real bpy, kept open: frames, files and failures are those of a cold start."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from support.scenes import blender

from renderonline import engines
from renderonline.engines.base import Ending, Reader
from renderonline.node.process import Rendering
from renderonline.node.renderers import Renderer
from renderonline.node.warm import Bounds, WarmRenderers

from .warm_kit import Kit, warm_kit

RENDERERS = {
    "blender": lambda: Renderer("x", engines.by_name("blender"), blender()),
    "bpy": lambda: Renderer("x", engines.by_name("bpy"), sys.executable),
}


@dataclass(frozen=True)
class Chunk:
    """What came of one chunk."""

    rendering: Rendering
    reader: Reader
    lines: list[str]
    exit_code: int
    output_dir: Path

    @property
    def failure(self) -> str | None:
        """The sentence for its submitter; None for a success."""
        files = [file.relative_to(self.output_dir) for file in self.output_dir.rglob("*.*")]
        return self.reader.judge(Ending(self.exit_code, files, self.output_dir)).message


@dataclass(frozen=True)
class Studio:
    """Renders command lines warm or cold; results of each way go into one folder."""

    kit: Kit
    renderer: Renderer

    def render(self, argv: Sequence[str], *, is_warm: bool, step: int | None = None) -> Chunk:
        output_dir = self.kit.folder / ("warm" if is_warm else "cold")
        output_dir.mkdir(exist_ok=True)
        adapter = self.renderer.adapter
        line = adapter.complete(argv, str(output_dir), step)
        command = adapter.command(self.renderer.executable, line)
        # The cold way is that of an original's start, which has no attempt id.
        order = self.kit.order(command, self.renderer, attempt_id=1 if is_warm else None)
        rendering, reader = self.kit.begin(order), adapter.reader(adapter.owes(line, None))
        lines = []
        for line_ in rendering.lines():
            lines.append(line_)
            reader.feed(line_)
        return Chunk(rendering, reader, lines, rendering.wait(), output_dir)

    def both(self, argv: Sequence[str]) -> tuple[Chunk, Chunk]:
        return self.render(argv, is_warm=False), self.render(argv, is_warm=True)

    def pictures(self, way: str) -> dict[str, bytes]:
        """The decoded pixels of all images of one way, by name."""
        found = {}
        for file in sorted((self.kit.folder / way).glob("*.*")):
            with Image.open(file) as image:
                found[file.name] = image.mode.encode() + image.tobytes()
        return found


@pytest.fixture
def blend(blend: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the scene that no other worker of the test run touches: a change is noticed."""
    return lambda kind: Path(shutil.copy(blend(kind), tmp_path))


@pytest.fixture
def cube(blend: Callable[[str], Path]) -> Path:
    return blend("cube")


@pytest.fixture(params=list(RENDERERS))
def studio(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Studio]:
    with warm_kit(tmp_path, WarmRenderers(Bounds(2**40))) as kit:
        yield Studio(kit, RENDERERS[request.param]())


def chunk_of(scene: Path, first: int, last: int, *options: str) -> list[str]:
    return ["-b", str(scene), *options, "-s", str(first), "-e", str(last), "-a"]


def told(lines: Sequence[str]) -> list[str]:
    """The lines that say which files were written, without their folder."""
    return [line.split(": ")[0] + line.rpartition("/")[2] for line in lines if "Saved" in line]


@pytest.mark.parametrize("kind", ["cube", "workbench"])
def test_a_frame_rendered_warm_is_pixel_equal_to_one_rendered_cold(
    studio: Studio, blend: Callable[[str], Path], kind: str
) -> None:
    scene = blend(kind)
    chunks = [studio.render(chunk_of(scene, n, n), is_warm=True) for n in (1, 7, 3)]
    cold = [studio.render(chunk_of(scene, n, n), is_warm=False) for n in (1, 7, 3)]
    assert [chunk.failure for chunk in [*chunks, *cold]] == [None] * 6
    assert len({chunk.rendering.pid for chunk in chunks}) == 1
    assert [told(chunk.lines) for chunk in chunks] == [told(chunk.lines) for chunk in cold]
    warm = studio.pictures("warm")
    assert list(warm) == ["frame_0001.png", "frame_0003.png", "frame_0007.png"]
    assert len(set(warm.values())) == 3, "an animation's frames differ"
    assert warm == studio.pictures("cold")


@pytest.mark.parametrize(
    "options",
    [
        ["-F", ".jpg", "-o", "shots_##", "-x", "1"],
        ["-F", "PNG", "-o", "bare_#", "-x", "0"],
        ["-j", "2"],
        ["-t", "2", "-E", "CYCLES"],
    ],
)
def test_the_templates_arguments_hold_for_every_chunk(
    studio: Studio, cube: Path, options: list[str], tmp_path: Path
) -> None:
    for is_warm in (True, False):
        for first, last in ((1, 3), (4, 5)):
            chunk = studio.render(chunk_of(cube, first, last, *options), is_warm=is_warm)
            assert (chunk.failure, chunk.exit_code) == (None, 0)
    assert len(studio.kit.started) == 1 + 2
    names = [{file.name for file in (tmp_path / way).iterdir()} for way in ("warm", "cold")]
    assert names[0] == names[1]


@pytest.mark.parametrize("kind", ["cube", "workbench"])
def test_frames_below_zero_and_every_nth(
    studio: Studio, blend: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    """In one process, whichever comes first: each is what a cold start makes of it."""
    scene, script = blend(kind), tmp_path / "go_on.py"
    script.write_text(GO_ON)
    for is_warm in (True, False):
        for first, last, step in ((4, 8, 4), (-5, 4, 3), (-3, -3, 1), (0, 0, 1), (9, 10, 1)):
            chunk = studio.render(
                chunk_of(scene, first, last, "-P", str(script)), is_warm=is_warm, step=step
            )
            assert (chunk.failure, chunk.exit_code) == (None, 0)
            assert told(chunk.lines), "each file is told of"
            frames = set(range(first, last + 1, step))
            assert chunk.reader.reading.frames_done == frames
    assert len(studio.kit.started) == 1 + 5
    warm = studio.pictures("warm")
    expected = (-5, -3, -2, 0, 1, 4, 8, 9, 10)
    assert set(warm) == {f"frame_{'-' * (n < 0)}{abs(n):04}.png" for n in expected}
    assert len(set(warm.values())) == 9, "an animation's frames differ"
    assert warm == studio.pictures("cold")


GO_ON = """
import bpy
for curve in bpy.data.actions[0].fcurves:
    curve.extrapolation = 'LINEAR'
"""
"""The cube turns before frame 1, too."""


def test_both_eyes_of_a_frame_below_zero(studio: Studio, cube: Path, tmp_path: Path) -> None:
    script = tmp_path / "stereo.py"
    script.write_text(STEREO)
    line = ["-b", str(cube), "-P", str(script), *["-s", "-1", "-e", "0", "-a"]]
    cold, warm = studio.both(line)
    assert (cold.failure, warm.failure) == (None, None)
    assert warm.reader.reading.frames_done == {-1, 0}
    names = [f"frame_{number}_{eye}.png" for number in ("-0001", "0000") for eye in "LR"]
    assert sorted(studio.pictures("warm")) == sorted(names)
    assert studio.pictures("warm") == studio.pictures("cold")


STEREO = """
import bpy
render = bpy.context.scene.render
render.use_multiview = True
render.image_settings.views_format = 'INDIVIDUAL'
"""


def test_a_list_of_frames(studio: Studio, cube: Path) -> None:
    for frames in ("2,5..6", "9"):
        assert studio.render(["-b", str(cube), "-f", frames], is_warm=True).failure is None
    assert len(studio.kit.started) == 1
    assert [*studio.pictures("warm")] == [f"frame_000{n}.png" for n in (2, 5, 6, 9)]


SCRIPT = """
import bpy, subprocess, sys
print("script: sees", repr(sys.stdin.read(1)))
child = "import sys; print('script: child sees', repr(sys.stdin.read()), flush=True)"

@bpy.app.handlers.persistent
def tell(scene, *_):
    subprocess.run([{python!r}, "-c", child])
    print("script: renders", scene.frame_start, scene.frame_end, scene.frame_step, flush=True)

bpy.app.handlers.render_init.append(tell)
"""


def test_a_script_runs_once_sees_each_range_and_takes_no_requests(
    studio: Studio, cube: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("{python!r}", repr(sys.executable)))
    said = []
    for first, last in ((2, 2), (5, 6)):
        chunk = studio.render(chunk_of(cube, first, last, "-P", str(script)), is_warm=True)
        assert chunk.failure is None
        said.append([line for line in chunk.lines if line.startswith("script: ")])
    child = "script: child sees ''"
    assert said == [
        ["script: sees ''", child, "script: renders 2 2 1"],
        [child, "script: renders 5 6 1"],
    ]


def test_a_script_that_has_changed_runs_again(studio: Studio, cube: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    for text in ("print('first edition')", "print('the second edition')"):
        script.write_text(text)
        chunk = studio.render(chunk_of(cube, 1, 1, "-P", str(script)), is_warm=True)
        assert chunk.failure is None
    assert "the second edition" in chunk.lines


def test_a_script_that_raises(studio: Studio, cube: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("raise RuntimeError('boo')")
    cold, warm = studio.both(chunk_of(cube, 1, 1, "-P", str(script)))
    assert (warm.exit_code, warm.rendering.is_warm) == (cold.exit_code, False)
    assert warm.exit_code == 70
    assert "script of the command line failed" in (warm.failure or "")


def test_a_scene_without_a_camera(studio: Studio, blend: Callable[[str], Path]) -> None:
    cold, warm = studio.both(chunk_of(blend("no_camera"), 1, 2))
    assert (warm.exit_code, warm.failure) == (cold.exit_code, cold.failure)
    assert "no camera" in (warm.failure or "")
    assert not warm.rendering.is_warm


def test_an_output_that_cannot_be_written(studio: Studio, cube: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    options = ["-o", str(tmp_path / "file" / "f_##")]
    cold, warm = studio.both(chunk_of(cube, 1, 2, *options))
    assert (warm.exit_code, warm.failure) == (cold.exit_code, cold.failure)
    assert "could not write" in (warm.failure or "")
    assert not warm.rendering.is_warm


@pytest.mark.parametrize("content", [None, b"\x93not a scene at all" * 40])
def test_a_project_that_cannot_be_loaded(
    studio: Studio, tmp_path: Path, content: bytes | None
) -> None:
    scene = tmp_path / "scene.blend"
    if content is not None:
        scene.write_bytes(content)
    cold, warm = studio.both(chunk_of(scene, 1, 2))
    assert warm.failure is not None
    assert (warm.exit_code, warm.failure) == (cold.exit_code, cold.failure)
    assert not warm.rendering.is_warm


def test_a_killed_renderer(studio: Studio, blend: Callable[[str], Path]) -> None:
    argv = chunk_of(blend("slow"), 1, 1)
    adapter = studio.renderer.adapter
    command = adapter.command(studio.renderer.executable, adapter.complete(argv, "/nowhere"))
    rendering = studio.kit.begin(studio.kit.order(command, studio.renderer))
    assert any("Fra:1" in line for line in rendering.lines())
    assert rendering.stop(grace_s=30)
    list(rendering.lines())
    assert rendering.wait() != 0
    assert not rendering.is_warm
