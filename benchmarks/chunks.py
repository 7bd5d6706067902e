"""What small chunks cost: `python benchmarks/chunks.py [--frames 1000] [--mariadb]`.

Two measurements over real programs, real HTTP, real commits, each of one task in chunks of one frame:

- 20 chunks of a second on two nodes. Ideal: 10 s and the start of the renderer, which is printed.
- Empty chunks on four nodes, whose renderer is the cheapest process that leaves a file: how many a
  second, from before the submission until the api says that the task has succeeded. Nothing is
  taken off; beside it stands how many a second can be spawned without a farm. Then the CPU time of
  the api and of the nodes (renderers not counted) per chunk.

Needs the package installed. Everything runs on this machine and ends with the program.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from farm import Engine, Farm, empty_renderer, farm, options, project, sleeper, workplace

SECONDS = 1.0
SLEEPS = 20
SLEEPERS, EMPTY = 2, 4
"""Nodes of the first and of the second measurement."""


def main() -> int:
    """Measure and print. The exit code."""
    parser = options(__doc__)
    parser.add_argument("--frames", type=int, default=1000, help="empty chunks (default 1000)")
    parser.add_argument("--only", choices=("sleep", "empty"), help="one of the two measurements")
    chosen = parser.parse_args()
    with workplace(chosen) as place:
        over = place.connection_string, place.certificate
        database = "SQLite" if place.connection_string is None else "MySQL or MariaDB"
        print(f"database: {database}")
        if chosen.only != "empty":
            renderer = sleeper(SECONDS)
            with farm(place.folder / "sleep", [renderer], SLEEPERS, *over) as running:
                sleeping(running, renderer)
        if chosen.only != "sleep":
            renderer = empty_renderer()
            with farm(place.folder / "empty", [renderer], EMPTY, *over) as running:
                empty(running, renderer, chosen.frames)
    return 0


def sleeping(running: Farm, renderer: Engine) -> None:
    """Print the makespan of chunks of a second."""
    scene = project(running.folder, renderer)
    running.wait(running.submit(scene, "1"))  # what is imported and opened only once
    seconds = running.wait(running.submit(scene, f"1-{SLEEPS}", chunk_frames=1), SLEEPS)
    ideal = SLEEPS * SECONDS / SLEEPERS
    bare_s = spawn_s(renderer, running.folder, 5) - SECONDS
    print(
        f"{SLEEPS} chunks of {SECONDS:g} s on {SLEEPERS} nodes: {seconds:.2f} s "
        f"(ideal {ideal:g} s; the renderer's own start, not taken off: {bare_s * 1e3:.1f} ms each)"
    )


def empty(running: Farm, renderer: Engine, frames: int) -> None:
    """Print how many empty chunks a second there are, and what each costs."""
    scene = project(running.folder, renderer)
    running.wait(running.submit(scene, f"1-{EMPTY * 2}", chunk_frames=1), EMPTY * 2)
    before = running.cpu()
    task = running.submit(scene, f"1-{frames}", chunk_frames=1)
    seconds = running.wait(task, frames)
    used = running.cpu().since(before)
    print(f"{frames} empty chunks on {EMPTY} nodes: {frames / seconds:.0f} chunks/s")
    print(
        f"CPU per chunk: api {used.api / frames * 1e3:.2f} ms, "
        f"nodes {used.nodes / frames * 1e3:.2f} ms, of {seconds / frames * 1e3:.2f} ms"
    )
    print(
        f"the same program without a farm: {spawns_per_s(renderer, running.folder, frames):.0f}/s"
    )


def spawn_s(renderer: Engine, folder: Path, count: int) -> float:
    """Median seconds from the spawn to the end of a renderer, without a farm."""
    times = []
    for number in range(count):
        began = time.perf_counter()
        run_bare(renderer, folder, number)
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def spawns_per_s(renderer: Engine, folder: Path, count: int) -> float:
    """How many renderers a second run to their end, on as many threads as there are nodes."""
    began = time.perf_counter()
    with ThreadPoolExecutor(EMPTY) as pool:
        list(pool.map(lambda number: run_bare(renderer, folder, number), range(count)))
    return count / (time.perf_counter() - began)


def run_bare(renderer: Engine, folder: Path, number: int) -> None:
    subprocess.run(renderer.command(folder, number), check=True)


if __name__ == "__main__":
    sys.exit(main())
