"""How long a renderer waits for the farm: `python benchmarks/dispatch.py [--tasks 40] [--mariadb] [--tls]`.

A real api and one real node on loopback, with a "renderer" that only writes down when it began and
when it ended. Prints three spans as median, 99th percentile and largest, with the median of a bare
spawn of the same program taken off:

- submit → start: from before the client's request to the renderer's first line, farm idle;
- end → next start, from a renderer's last line to the next one's first: of tasks that wait, and of
  the chunks of one task.

Needs the package installed. Everything runs on this machine and ends with the program.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from farm import FRAMES, OUTPUT, Engine, Farm, Task, farm, options, project, workplace

RENDERER = """
import sys, time
began = time.time_ns()
with open(f"{sys.argv[1]}/{sys.argv[2]}.txt", "w") as file:
    file.write(f"{began} {time.time_ns()}")
"""


def main() -> int:
    """Measure and print. The exit code."""
    parser = options(__doc__)
    parser.add_argument("--tasks", type=int, default=40, help="how many of each (default 40)")
    chosen = parser.parse_args()
    with workplace(chosen) as place:
        folder = place.folder
        folder.mkdir()
        engine = probe(folder)
        with farm(folder, [engine], 1, place.connection_string, place.certificate) as running:
            measure(running, project(folder, engine), folder, min(chosen.tasks, 255))
    return 0


def probe(folder: Path) -> Engine:
    """The renderer, written into `folder`."""
    program = folder / "probe.py"
    program.write_text(RENDERER)
    return Engine("probe", f'-S "{program}" {OUTPUT} {FRAMES}', sys.executable)


def measure(running: Farm, scene: Path, folder: Path, count: int) -> None:
    """Print all three spans."""
    spawn_ms = bare_spawn(folder, count)
    idle = [from_submission(running, scene) - spawn_ms for _ in range(count)]
    show("submit → start", idle)
    tasks = [running.submit(scene, "1") for _ in range(count)]
    for task in tasks:
        running.wait(task)
    show("end → next start, tasks", between(tasks, spawn_ms))
    task = running.submit(scene, f"1-{count}", chunk_frames=1)
    running.wait(task, count)
    show("end → next start, chunks", between([task], spawn_ms))
    print(f"bare spawn of the same program, taken off: {spawn_ms:.1f} ms (median)")


def from_submission(running: Farm, scene: Path) -> float:
    """Milliseconds from the submission to the renderer's first line."""
    task = running.submit(scene, "1")
    running.wait(task)
    return spans([task])[0][0] / 1e6 - task.began * 1e3


def between(tasks: Iterable[Task], spawn_ms: float) -> list[float]:
    """Milliseconds between a renderer's end and the next one's beginning, on one machine."""
    done = spans(tasks)
    return [(later[0] - earlier[1]) / 1e6 - spawn_ms for earlier, later in itertools.pairwise(done)]


def spans(tasks: Iterable[Task]) -> list[tuple[int, int]]:
    """When each renderer began and ended (nanoseconds), in order."""
    found = (file.read_text().split() for task in tasks for file in task.output_dir.iterdir())
    return sorted((int(began), int(ended)) for began, ended in found)


def bare_spawn(folder: Path, count: int) -> float:
    """Median milliseconds from a spawn to the program's first line, without a farm."""
    times = []
    for _ in range(count):
        began = time.time_ns()
        subprocess.run([sys.executable, "-S", folder / "probe.py", folder, "spawn"], check=True)
        times.append((int((folder / "spawn.txt").read_text().split()[0]) - began) / 1e6)
    return sorted(times)[len(times) // 2]


def show(name: str, times_ms: Sequence[float]) -> None:
    """Print a line of the table."""
    ordered = sorted(times_ms)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(
        f"{name:<25} median {ordered[len(ordered) // 2]:6.1f} ms   p99 {p99:6.1f} ms   "
        f"largest {ordered[-1]:6.1f} ms   ({len(ordered)} measured)"
    )


if __name__ == "__main__":
    sys.exit(main())
