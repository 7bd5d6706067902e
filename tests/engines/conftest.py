"""Fixtures for engines: scenes with something wrong in them, and real attempts in real children."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
from support.scenes import blender

from renderonline import engines
from renderonline.engines.base import Adapter, Ending, EngineEvent, Verdict
from renderonline.wire import Owes

DEADLINE_S = 300

SPECIAL = """
import bpy, os, sys
folder = sys.argv[sys.argv.index('--') + 1]

def fresh():
    bpy.ops.wm.read_factory_settings(use_empty=False)
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.render.resolution_percentage = 100
    scene.render.threads_mode, scene.render.threads = 'FIXED', 1
    scene.render.engine = 'CYCLES'
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    scene.frame_start, scene.frame_end = 1, 4
    return scene

def save(name):
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(folder, name))

scene = fresh(); scene.frame_step = 2; save('step.blend')

scene = fresh()
other = bpy.data.scenes.new('Second shot')
other.frame_end, other.camera = 2, scene.camera
other.render.resolution_x = other.render.resolution_y = 16
other.render.engine, other.cycles.samples = 'CYCLES', 1
other.cycles.use_denoising = False
for thing in scene.objects:
    other.collection.objects.link(thing)
save('scenes.blend')

scene = fresh(); text = bpy.data.texts.new('start.py'); text.use_module = True
text.write("import os, bpy; open(os.path.join(os.path.dirname(bpy.data.filepath), 'ran'), 'w')")
save('autorun.blend')

bpy.context.preferences.filepaths.use_scripts_auto_execute = True
os.makedirs(os.environ['BLENDER_USER_CONFIG'], exist_ok=True)
bpy.ops.wm.save_userpref()
bpy.context.preferences.filepaths.use_scripts_auto_execute = False

fresh(); save('library.blend')
scene = fresh()
library = os.path.join(folder, 'library.blend')
with bpy.data.libraries.load(library, link=True) as (_, target):
    target.objects = ['Cube']
scene.collection.objects.link(target.objects[0])
save('linked.blend')
bpy.data.objects.remove(scene.camera)
save('linked_no_camera.blend')
os.remove(library)
"""


@pytest.fixture(scope="session")
def special(tmp_path_factory: pytest.TempPathFactory, cube: Path) -> Path:
    """A folder with scenes that have a peculiarity, named for it, and files that are no scenes."""
    folder = tmp_path_factory.mktemp("special")
    made = subprocess.run(
        [
            *(blender(), "-b", "--factory-startup", "--python-exit-code", "7"),
            *("--python-expr", SPECIAL, "--", str(folder)),
        ],
        env={**os.environ, "BLENDER_USER_CONFIG": str(folder / "config")},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    whole = (folder / "step.blend").read_bytes()
    (folder / "cut.blend").write_bytes(whole[: len(whole) // 3])
    (folder / "junk.blend").write_bytes(b"\x93not a scene at all" * 40)
    (folder / "raises.py").write_text("raise RuntimeError('boo')\n")
    return folder


@dataclass(frozen=True)
class Renderer:
    """An adapter and the executable that it drives here."""

    adapter: Adapter
    executable: str


RENDERERS = {
    "blender": lambda: Renderer(engines.by_name("blender"), blender()),
    "bpy": lambda: Renderer(engines.by_name("bpy"), sys.executable),
}


@pytest.fixture(params=list(RENDERERS))
def renderer(request: pytest.FixtureRequest) -> Renderer:
    """The real Blender, and the real bpy: a test that asks for this runs twice."""
    return RENDERERS[request.param]()


@pytest.fixture
def real_blender() -> Renderer:
    return RENDERERS["blender"]()


@pytest.fixture
def real_bpy() -> Renderer:
    return RENDERERS["bpy"]()


@dataclass(frozen=True)
class Attempt:
    """What came of one real child process."""

    exit_code: int
    events: list[EngineEvent]
    verdict: Verdict
    output: str
    files: list[Path]  # relative to the output folder
    frames_done: set[int]

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


Run = Callable[..., Attempt]

SMALL_DISK_BYTES = 4 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of SMALL_DISK_BYTES."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={SMALL_DISK_BYTES}"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True, timeout=DEADLINE_S
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=DEADLINE_S)


def fill(folder: Path, spare_bytes: int) -> None:
    """Fill the disk that `folder` is on, but for `spare_bytes`, in whole pages."""
    with (folder / "filler").open("wb") as filler:
        filler.write(b"\0" * (shutil.disk_usage(folder).free - spare_bytes))


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    """Where results go; a name that needs quoting, and a # that Blender must leave alone."""
    folder = tmp_path / "out put #1"
    folder.mkdir()
    return folder


@pytest.fixture
def run(output_dir: Path) -> Run:
    """Runs a command line as a node does. `complete=False` starts it as it is."""

    def run(
        renderer: Renderer,
        argv: Sequence[str],
        *,
        owes: Owes | None = None,
        complete: bool = True,
        step: int | None = None,
        kill_at: str | None = None,
        kill_with: signal.Signals = signal.SIGTERM,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> Attempt:
        adapter = renderer.adapter
        line = adapter.complete(argv, str(output_dir), step) if complete else list(argv)
        owed = owes or adapter.owes(line, None)
        command = adapter.command(shutil.which(renderer.executable) or "", line)
        return _follow(adapter, command, owed, output_dir, kill_at, kill_with, env)

    return run


def _follow(
    adapter: Adapter,
    command: list[str],
    owed: Owes,
    folder: Path,
    kill_at: str | None,
    kill_with: signal.Signals,
    env: Mapping[str, str],
) -> Attempt:
    reader = adapter.reader(owed)
    events: list[EngineEvent] = []
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=folder.parent,
        env={**os.environ, **env, "PWD": str(folder.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for read in process.stdout:
            for line in re.split(r"[\r\n]", read):
                lines.append(line)
                events += reader.feed(line)
            if kill_at is not None and kill_at in read:
                process.send_signal(kill_with)
        exit_code = process.wait(DEADLINE_S)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return Attempt(
        exit_code=exit_code,
        events=events,
        verdict=reader.judge(Ending(exit_code, files, folder)),
        output="\n".join(lines),
        files=files,
        frames_done=set(reader.reading.frames_done),
    )
