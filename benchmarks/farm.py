"""A farm to measure: a real api and real nodes on loopback, as programs of their own, and a user.

Owns how these are started and set up (configuration files and the `admin` command, as an
administrator would), the renderers that only cost time, and what is read off the programs: states
over HTTP, results on the disk, CPU time by psutil. Everything ends with the block that began it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import requests
from mariadb import private_server

from renderonline import wire
from renderonline.api import certificates
from renderonline.client import Client
from renderonline.config import CertificateFiles
from renderonline.engines.template import expand
from renderonline.wire import TaskState

OPEN = (TaskState.QUEUED, TaskState.RUNNING)
FRAMES = "$RENDERONLINE:start_frame $RENDERONLINE:end_frame"
OUTPUT = "$RENDERONLINE:@output_dir"
LOOK_S, FILES_S = 0.005, 0.02
"""How often states and results are looked at, by the one who measures."""
RARELY_S = 5.0
"""How often it is asked whether a task that does not come to its results has failed."""


@dataclass(frozen=True)
class Engine:
    """An entry of RenderingEngines, and the row that goes with it."""

    name: str
    template: str  # the arguments
    executable: str
    adapter: str = "generic"
    is_warm: bool = True

    @property
    def extension(self) -> str:
        """Of its projects."""
        return ".blend" if self.adapter == "blender" else f".{self.name}"

    def command(self, output_dir: Path, frame: int) -> list[str]:
        """What a node starts for one frame."""
        return [self.executable, *self.arguments(frame, frame, {"@output_dir": str(output_dir)})]

    def arguments(self, first: int, last: int, specials: Mapping[str, str]) -> list[str]:
        """The template, filled in. `specials` are named with their `@`."""
        return expand(self.template, {"start_frame": str(first), "end_frame": str(last)}, specials)


@dataclass(frozen=True)
class Task:
    """A submitted task. `began` is `time.time()` from before the request."""

    task_id: int
    output_dir: Path
    began: float

    def saved(self) -> int:
        """How many files it has written."""
        # Not by pathlib, which is slow enough with thousands of files to disturb what is measured.
        return sum(1 for _ in os.scandir(self.output_dir)) if self.output_dir.is_dir() else 0


@dataclass(frozen=True)
class Cpu:
    """CPU seconds so far, user and system together."""

    api: float
    nodes: float  # all of them, without renderers

    def since(self, earlier: Cpu) -> Cpu:
        return Cpu(self.api - earlier.api, self.nodes - earlier.nodes)


@dataclass
class Farm:
    """A running farm with one user, who may queue 255 tasks."""

    folder: Path
    api: psutil.Process
    nodes: Sequence[psutil.Process]
    client: Client
    headers: Mapping[str, str]
    engines: Mapping[str, int]  # by extension, lower case: the id
    trusted: str | None = None  # a PEM file, where it speaks TLS

    def submit(
        self, project: Path, frames: str | None = None, chunk_frames: int | None = None
    ) -> Task:
        """Enqueue a project; None: as many frames to a chunk as the farm thinks right."""
        request = wire.EnqueueRequest(
            engine_id=str(self.engines[project.suffix]), frames=frames, chunk_frames=chunk_frames
        )
        content = project.read_bytes()
        known = {*self.folder.glob("api/projects/*/*")}
        began = time.time()
        answer = requests.post(
            f"{self.client.server}/renderapi/v1/enqueue",
            headers=self.headers,
            verify=self.trusted,
            files={"file": (project.name, content), "request": (None, wire.encode(request))},
            timeout=60,
        )
        task_id = wire.decode(answer.content, wire.EnqueueResponse).task_id
        if task_id is None:
            raise SystemExit(f"The task was not taken: {answer.text}")
        new = {*self.folder.glob("api/projects/*/*")} - known
        return Task(task_id, new.pop() / "output", began)

    def wait(self, task: Task, files: int = 1) -> float:
        """Wait until the task has succeeded; for how many seconds it was there.

        Before `files` results are there the api is asked rarely: asking costs it time.
        """
        ask_at = task.began + RARELY_S
        while task.saved() < files:
            if time.time() > ask_at:
                if self.state(task) not in OPEN:
                    break
                ask_at = time.time() + RARELY_S
            time.sleep(FILES_S)
        while (state := self.state(task)) in OPEN:
            time.sleep(LOOK_S)
        seconds = time.time() - task.began
        if state is not TaskState.SUCCEEDED:
            raise SystemExit(f"task {task.task_id} {state}: {self.client.task(task.task_id).task}")
        return seconds

    def state(self, task: Task) -> TaskState:
        """By a list with this one task in it: short, whatever the number of chunks."""
        return self.client.tasks(after=task.task_id + 1, limit=1).tasks[0].task.state

    def chunks(self, task: Task) -> list[wire.Chunk]:
        """The task's attempts, at most the newest 500."""
        return self.client.task(task.task_id).chunks

    def cpu(self) -> Cpu:
        return Cpu(cpu_s(self.api), sum(map(cpu_s, self.nodes)))


def cpu_s(process: psutil.Process) -> float:
    """What it has used so far, without its children."""
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def farm(
    folder: Path,
    engines: Sequence[Engine],
    nodes: int = 1,
    connection_string: str | None = None,
    certificate: CertificateFiles | None = None,
    node_settings: Mapping[str, Any] | None = None,
    api_settings: Mapping[str, Any] | None = None,
) -> Iterator[Farm]:
    """A farm in `folder`, which should be empty, over SQLite unless told otherwise, over TLS with a
    certificate. `node_settings`: further ones of HPCServer.json; `api_settings`: of RenderAPI.json.

    The api's poll takes an hour: what is measured comes from events alone.
    """
    settings: dict[str, Any] = dict(api_settings or {})
    if connection_string:
        settings["ConnectionString"] = connection_string
    if certificate:
        settings["Certificate"] = {
            "FullchainPemPath": str(certificate.fullchain_pem_path),
            "PrivPemPath": str(certificate.priv_pem_path),
        }
    api = write_config(
        folder, "RenderAPI.json", Port="0", DataPath="api", PollSeconds=3600, **settings
    )
    headers = _set_up(api, engines)
    offered = [
        {
            "EngineId": engine.name,
            "ExecutablePath": engine.executable,
            "Adapter": engine.adapter,
            "Warm": engine.is_warm,
        }
        for engine in engines
    ]
    with ExitStack() as stack:
        running = []
        for number in range(1, nodes + 1):
            place = folder / f"node{number}"
            node = write_config(
                place,
                "HPCServer.json",
                Port="0",
                DataPath="data",
                RenderingEngines=offered,
                **(node_settings or {}),
            )
            url, process = stack.enter_context(program("node", node))
            running.append(process)
            host = ("--host", "127.0.0.1", "--port", url.rsplit(":", 1)[1])
            _admin(api, "machine", "add", *host)
        url, process = stack.enter_context(program("api", api))
        trusted = certificate.fullchain_pem_path if certificate else None
        user = (headers["email"], headers["token"])
        client = stack.enter_context(Client(url.replace("0.0.0.0", "127.0.0.1"), *user, trusted))
        ids = {engine.extension: engine.engine_id for engine in client.engines()}
        pem = str(trusted) if trusted else None
        yield Farm(folder, process, running, client, headers, ids, pem)


def _set_up(api: Path, engines: Sequence[Engine]) -> dict[str, str]:
    """Fill the database; the headers of the user in it."""
    user = _admin(api, "user", "add", "--email", "bench@example.com")
    _admin(api, "subscription", "set", str(user["SubscriptionId"]), "--queue-limit", "255")
    for engine in engines:
        is_there = engine.name == "blender"  # in each new database
        which = ("set", engine.name) if is_there else ("add", "--name", engine.name)
        row = ("--extension", engine.extension, "--adapter", engine.adapter)
        _admin(api, "engine", *which, *row, "--render-argument", engine.template)
    return {"email": str(user["Email"]), "token": str(user["Token"])}


def write_config(folder: Path, name: str, **settings: Any) -> Path:
    """A configuration file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(json.dumps(settings))
    return file


def _admin(api: Path, *words: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "renderonline", "admin", *words, "--config", str(api), "--json"]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
    made: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return made


@contextmanager
def program(mode: str, config: Path) -> Iterator[tuple[str, psutil.Process]]:
    """`renderonline api` or `node`: its address and its process. Its log lies beside its config."""
    environment = {**os.environ, "HOME": str(config.parent), "USERPROFILE": str(config.parent)}
    with config.with_suffix(".log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "renderonline", mode, "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            text=True,
        )
    assert running.stdout is not None
    try:
        said = running.stdout.readline().split()
        if not said:
            raise SystemExit(f"{mode} did not start:\n{config.with_suffix('.log').read_text()}")
        yield said[-1], psutil.Process(running.pid)
    finally:
        running.terminate()
        running.wait(30)


# --------------------------------------------------------------------------- renderers


def empty_renderer() -> Engine:
    """The cheapest process that leaves a file behind."""
    touch = shutil.which("touch")
    if touch is None:
        program = "import sys; open(f'{sys.argv[1]}/{sys.argv[2]}', 'w').close()"
        return Engine("empty", f'-S -c "{program}" {OUTPUT} {FRAMES}', sys.executable)
    # A chunk is one frame, so both name the same file.
    return Engine("empty", " ".join(f"{OUTPUT}/{name}" for name in FRAMES.split()), touch)


def sleeper(seconds: float) -> Engine:
    """A renderer that takes so long, and the start of a small Python, for whatever it gets."""
    program = (
        f"import sys, time; time.sleep({seconds}); open(f'{{sys.argv[1]}}/{{sys.argv[2]}}', 'w')"
    )
    return Engine("sleeper", f'-S -c "{program}" {OUTPUT} {FRAMES}', sys.executable)


def project(folder: Path, engine: Engine) -> Path:
    """A project that means nothing to anybody, for one of these."""
    file = folder / f"scene{engine.extension}"
    file.write_text("nothing")
    return file


# --------------------------------------------------------------------------- the command line


def options(summary: str | None) -> argparse.ArgumentParser:
    """What all these programs understand. `summary`: a module's docstring."""
    parser = argparse.ArgumentParser(description=(summary or "").splitlines()[0])
    database = parser.add_mutually_exclusive_group()
    database.add_argument(
        "--mysql", metavar="CONNECTIONSTRING", help="an empty database to use instead of SQLite"
    )
    database.add_argument(
        "--mariadb", action="store_true", help="start a MariaDB server for this run and use that"
    )
    parser.add_argument(
        "--tls",
        action="store_true",
        help="clients and nodes speak TLS with the api, not plain HTTP",
    )
    return parser


@dataclass(frozen=True)
class Workplace:
    """A folder for the run, which is not there yet, and what was chosen for its farms."""

    folder: Path
    connection_string: str | None
    certificate: CertificateFiles | None


@contextmanager
def workplace(chosen: argparse.Namespace) -> Iterator[Workplace]:
    """A place for the run, gone with the block."""
    with tempfile.TemporaryDirectory(prefix="renderonline-") as name, ExitStack() as stack:
        folder = Path(name)
        connection_string: str | None = chosen.mysql
        if chosen.mariadb:
            connection_string = stack.enter_context(private_server(folder / "mariadb"))
        certificate = certificates.own(folder / "tls", datetime.now(UTC)) if chosen.tls else None
        yield Workplace(folder / "farm", connection_string, certificate)
