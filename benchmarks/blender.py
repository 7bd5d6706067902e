"""What the farm costs a real Blender: `python benchmarks/blender.py [--quick 100] [--slow 40]`.

Everything renders on one thread per Blender (`-t 1`), through templates as an administrator would
write them. Two measurements, each a ratio to one Blender that renders all frames of the same scene:

- quick frames (about 0.04 s) in chunks of one frame, on one node: kept open (warm), through the
  farm; beside it the same session without a farm, and, for a tenth of the frames, a process each;
- slow frames (about 0.6 s; the samples are tuned to this machine first), in chunks as the farm sizes
  them, on two nodes: cold and warm, with what each node rendered. It takes a machine with two idle
  cores to say something.

One Blender is timed from its spawn to its end; the farm from before the submission until the api
says that the task has succeeded. Needs the package and Blender installed. Everything runs on this
machine and ends with the program.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from farm import FRAMES, OUTPUT, Engine, Farm, Task, Workplace, farm, options, workplace

from renderonline.engines.blender import BlenderAdapter
from renderonline.engines.session import FrameSpan, exit_code_in
from renderonline.frames import FrameSet

START, END = FRAMES.split()
TEMPLATE = (
    f"blender -b $RENDERONLINE:@uploaded_file -t 1 -o {OUTPUT}/frame_#### -F PNG -x 1 "
    f"-s {START} -e {END} -a"
)
QUICK_S, SLOW_S = 0.04, 0.6
SCENE = """
import bpy, math, sys, time
target, frames, seconds = sys.argv[sys.argv.index('--') + 1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.frame_start, scene.frame_end = 1, int(frames)
scene.render.resolution_x = scene.render.resolution_y = 64
scene.render.image_settings.file_format = 'PNG'
scene.render.engine = 'CYCLES'
scene.cycles.use_denoising = False  # not every build has the denoiser
scene.cycles.use_adaptive_sampling = False  # as much work in each frame
bpy.ops.mesh.primitive_monkey_add(size=2)
for frame, turn in ((1, 0), (int(frames), math.pi / 3)):
    bpy.context.object.rotation_euler = (turn, turn / 2, turn)
    bpy.context.object.keyframe_insert('rotation_euler', frame=frame)
bpy.ops.object.light_add(type='SUN', rotation=(0.6, 0.3, 0))
bpy.ops.object.camera_add(location=(0, -6, 0), rotation=(math.pi / 2, 0, 0))
scene.camera = bpy.context.object
scene.render.filepath = target + '.trial_'

def frame_s(samples):
    scene.cycles.samples = samples
    took = []
    for frame in (1, 2, 3):
        scene.frame_set(frame)
        began = time.perf_counter()
        bpy.ops.render.render(write_still=True)
        took.append(time.perf_counter() - began)
    return sorted(took)[1]

least, some = frame_s(1), frame_s(64)
samples = 1 + (float(seconds) - least) / max((some - least) / 63, 1e-6)
scene.cycles.samples = max(1, round(samples))
scene.render.filepath = '//'
bpy.ops.wm.save_as_mainfile(filepath=target, compress=True)
print('tuned:', scene.cycles.samples)
"""


@dataclass(frozen=True)
class Shot:
    """A scene of `frames` frames, in a file."""

    file: Path
    frames: int

    @property
    def range(self) -> str:
        return f"1-{self.frames}"


def main() -> int:
    """Measure and print. The exit code."""
    parser = options(__doc__)
    parser.add_argument("--blender", help="the executable (default: the one that is found)")
    parser.add_argument("--quick", type=int, default=100, help="quick frames; 0: none")
    parser.add_argument("--slow", type=int, default=40, help="slow frames; 0: none")
    chosen = parser.parse_args()
    found = [chosen.blender] if chosen.blender else BlenderAdapter().find()
    if not found:
        raise SystemExit("No Blender was found; name one with --blender.")
    engine = Engine("blender", TEMPLATE, str(found[0]), "blender")
    with workplace(chosen) as place:
        place.folder.mkdir()
        if chosen.quick:
            quick(place, engine, chosen.quick)
        if chosen.slow:
            slow(place, engine, chosen.slow)
    return 0


def quick(place: Workplace, engine: Engine, frames: int) -> None:
    """Chunks of one quick frame on one node."""
    folder, over = place.folder, (place.connection_string, place.certificate)
    shot = make(folder / "quick.blend", engine, frames, QUICK_S)
    alone_s = one_blender(engine, shot, folder / "alone")
    say(f"quick frames, {frames}: one Blender", alone_s)
    session_s = bare_session(engine, shot, folder / "session")
    say("  a session without a farm", session_s, alone_s)
    with farm(folder / "quick", [engine], 1, *over) as running:
        task, seconds = through(running, shot, chunk_frames=1)
        say("  the farm, warm, a chunk each", seconds, alone_s)
        say_chunks(running, task)
    few = replace(shot, frames=max(1, frames // 10))
    few_s = one_blender(engine, few, folder / "few")
    say(f"{few.frames} of them: one Blender", few_s)
    with farm(folder / "few-farm", [replace(engine, is_warm=False)], 1, *over) as running:
        say("  the farm, a process each", through(running, few, chunk_frames=1)[1], few_s)


def slow(place: Workplace, engine: Engine, frames: int) -> None:
    """Slow frames on two nodes, in chunks as the farm sizes them."""
    folder, over = place.folder, (place.connection_string, place.certificate)
    shot = make(folder / "slow.blend", engine, frames, SLOW_S)
    alone_s = one_blender(engine, shot, folder / "alone-slow")
    say(f"slow frames, {frames}: one Blender", alone_s)
    for name, is_warm in (("cold", False), ("warm", True)):
        chosen = replace(engine, is_warm=is_warm)
        with farm(folder / name, [chosen], 2, *over) as running:
            task, seconds = through(running, shot)
            say(f"  two nodes, {name}", seconds, alone_s)
            say_chunks(running, task)


def make(file: Path, engine: Engine, frames: int, seconds: float) -> Shot:
    """A scene whose frames take about so long on one thread of this machine."""
    argv = [engine.executable, "-b", "--factory-startup", "-t", "1", "--python-exit-code", "7"]
    argv += ["--python-expr", SCENE, "--", str(file), str(frames), str(seconds)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode or not file.exists():
        raise SystemExit(f"Blender made no scene: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Shot(file, frames)


def one_blender(engine: Engine, shot: Shot, output_dir: Path) -> float:
    """Seconds that one process takes for all frames, from its spawn to its end."""
    began = time.perf_counter()
    subprocess.run(
        command(engine, shot, output_dir),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def command(engine: Engine, shot: Shot, output_dir: Path) -> list[str]:
    """The process that renders all of a shot, as the farm would start it."""
    adapter = BlenderAdapter()
    specials = {"@output_dir": str(output_dir), "@uploaded_file": str(shot.file)}
    argv = engine.arguments(1, shot.frames, specials)
    return adapter.command(engine.executable, adapter.complete(argv, str(output_dir)))


def bare_session(engine: Engine, shot: Shot, output_dir: Path) -> float:
    """Seconds that the farm's own session takes, asked for one frame after the other."""
    session = BlenderAdapter().session(command(engine, shot, output_dir))
    if session is None:
        raise SystemExit("This command line has no session.")
    began = time.perf_counter()
    with subprocess.Popen(
        session.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None and running.stdout is not None
        for frame in range(1, shot.frames + 1):
            token = f"{frame:08}"
            one = replace(session, spans=(FrameSpan(frame, frame),))
            running.stdin.write(one.request(token) + "\n")
            running.stdin.flush()
            codes = (exit_code_in(line.rstrip(), token) for line in running.stdout)
            if next((code for code in codes if code is not None), None) != 0:
                raise SystemExit(f"The session failed at frame {frame}.")
        running.stdin.close()
    return time.perf_counter() - began


def through(running: Farm, shot: Shot, chunk_frames: int | None = None) -> tuple[Task, float]:
    """The shot as a task, and seconds until it has succeeded."""
    task = running.submit(shot.file, shot.range, chunk_frames)
    return task, running.wait(task, shot.frames)


def say(what: str, seconds: float, alone_s: float | None = None) -> None:
    """Print a line: seconds, and the ratio to one Blender."""
    ratio = "" if alone_s is None else f"   {seconds / alone_s:5.2f} ×"
    print(f"{what:<34}{seconds:7.2f} s{ratio}", flush=True)


def say_chunks(running: Farm, task: Task) -> None:
    """Print who rendered what: chunks, and frames by node."""
    chunks = running.chunks(task)
    frames: Counter[int] = Counter()
    for chunk in chunks:
        frames[chunk.machine_id] += chunk.frames_done
    split = ", ".join(f"node {number}: {count}" for number, count in sorted(frames.items()))
    print(f"    {len(chunks)} chunks ({sizes([c.frames or '' for c in chunks])}); {split} frames")


def sizes(ranges: Sequence[str]) -> str:
    """The sizes of chunks in order, those that repeat once: "2, 2 × 5, 1"."""
    counts: list[tuple[int, int]] = []
    for text in ranges:
        size = len(FrameSet.parse(text))
        if counts and counts[-1][0] == size:
            counts[-1] = (size, counts[-1][1] + 1)
        else:
            counts.append((size, 1))
    return ", ".join(str(size) if n == 1 else f"{n} × {size}" for size, n in counts)


if __name__ == "__main__":
    sys.exit(main())
