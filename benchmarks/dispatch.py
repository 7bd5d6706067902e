"""How long a renderer waits for the farm: `python benchmarks/dispatch.py [--tasks 40]`.

Starts a real api and one real node on loopback, over an SQLite file in a temporary folder, with a
"renderer" that only writes down when it began and when it ended. Prints two spans as median, 99th
percentile and largest, with the median of a bare spawn of the same program taken off:

- submit → start: from before the client's request to the renderer's first line, farm idle;
- end → next start: from a renderer's last line to the next one's first, tasks waiting.

Needs the package installed. Everything runs on this machine and ends with the program.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from renderonline.client import Client

RENDERER = """
import sys, time
began = time.time_ns()
with open(sys.argv[1] + "/done.txt", "w") as file:
    file.write(f"{began} {time.time_ns()}")
"""
TEMPLATE = "probe $RENDERONLINE:@output_dir"


def main() -> int:
    """Measure and print. The exit code."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--tasks", type=int, default=40, help="how many of each (default 40)")
    tasks = options.parse_args().tasks
    with tempfile.TemporaryDirectory() as folder, farm(Path(folder)) as client:
        project = Path(folder) / "scene.probe"
        project.write_text("nothing")
        projects = Path(folder) / "api" / "projects"
        spawn_ms = bare_spawn(Path(folder), tasks)
        idle = [one_task(client, project, projects) for _ in range(tasks)]
        show("submit → start", [ms - spawn_ms for ms in idle])
        show("end → next start", [ms - spawn_ms for ms in queue(client, project, projects, tasks)])
        print(f"bare spawn of the same program, taken off: {spawn_ms:.1f} ms (median)")
    return 0


def one_task(client: Client, project: Path, projects: Path) -> float:
    """Milliseconds from the submission to the renderer's first line."""
    submitted = time.time_ns()
    task_id = client.enqueue(project)
    wait(client, [task_id])
    return (spans(projects)[-1][0] - submitted) / 1e6


def queue(client: Client, project: Path, projects: Path, count: int) -> list[float]:
    """Milliseconds between a renderer's end and the next one's beginning, on one machine."""
    before = len(spans(projects))
    wait(client, [client.enqueue(project) for _ in range(count)])
    done = spans(projects)[before:]
    return [(later[0] - earlier[1]) / 1e6 for earlier, later in itertools.pairwise(done)]


def wait(client: Client, task_ids: Sequence[int]) -> None:
    for task_id in task_ids:
        while (task := client.task(task_id).task).state in ("queued", "running"):
            time.sleep(0.005)
        if task.state != "succeeded":
            raise SystemExit(f"task {task_id} {task.state}: {task.cause}")


def spans(projects: Path) -> list[tuple[int, int]]:
    """When each renderer began and ended (nanoseconds), in order."""
    found = (file.read_text().split() for file in projects.glob("*/*/output/done.txt"))
    return sorted((int(began), int(ended)) for began, ended in found)


def bare_spawn(folder: Path, count: int) -> float:
    """Median milliseconds from a spawn to the program's first line, without a farm."""
    times = []
    for _ in range(count):
        began = time.time_ns()
        subprocess.run([sys.executable, "-S", folder / "probe.py", folder], check=True)
        times.append((int((folder / "done.txt").read_text().split()[0]) - began) / 1e6)
    return sorted(times)[len(times) // 2]


def show(name: str, times_ms: Sequence[float]) -> None:
    ordered = sorted(times_ms)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(
        f"{name:<17} median {ordered[len(ordered) // 2]:6.1f} ms   p99 {p99:6.1f} ms   "
        f"largest {ordered[-1]:6.1f} ms   ({len(ordered)} measured)"
    )


# --------------------------------------------------------------------------- the farm


@contextmanager
def farm(folder: Path) -> Iterator[Client]:
    """An api, a node, and a client of a user who may queue as much as they like."""
    (folder / "probe.py").write_text(RENDERER)
    api = config(folder / "RenderAPI.json", Port="0", DataPath="api", PollSeconds=3600)
    engine = {
        "EngineId": "probe",
        "ExecutablePath": sys.executable,
        "Adapter": "generic",
    }
    node = config(folder / "HPCServer.json", Port="0", DataPath="node", RenderingEngines=[engine])
    template = TEMPLATE.replace("probe ", f'probe -S "{folder / "probe.py"}" ')
    user = admin(api, "user", "add", "--email", "bench@example.com")
    admin(api, "subscription", "set", str(user["SubscriptionId"]), "--queue-limit", "255")
    row = ("--name", "probe", "--extension", ".probe", "--render-argument", template)
    admin(api, "engine", "add", *row)
    with service("node", node) as node_url, service("api", api) as api_url:
        port = node_url.rsplit(":", 1)[1]
        admin(api, "machine", "add", "--host", "127.0.0.1", "--port", port)
        with Client(api_url, user["Email"], user["Token"]) as client:
            yield client


def config(file: Path, **settings: object) -> Path:
    file.write_text(json.dumps(settings))
    return file


def admin(api: Path, *words: str) -> dict[str, str]:
    argv = [sys.executable, "-m", "renderonline", "admin", *words, "--config", str(api), "--json"]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
    made: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    return made


@contextmanager
def service(mode: str, file: Path) -> Iterator[str]:
    """`renderonline api` or `node`; its address."""
    running = subprocess.Popen(
        [sys.executable, "-m", "renderonline", mode, "--config", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(file.parent)},
        text=True,
    )
    assert running.stdout is not None
    try:
        yield running.stdout.readline().split()[-1]
    finally:
        running.terminate()
        running.wait(30)


if __name__ == "__main__":
    sys.exit(main())
