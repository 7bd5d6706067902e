"""What a project costs on its way in and a frame on its way back: `python benchmarks/transfer.py`.

A real api, a real node that uses none of its folders, on loopback over HTTP and over TLS. Each figure
stands beside what is to be held, in brackets, and is a ratio where there is something to measure by
in the same run. The parts, one of which `--only` chooses:

- `upload`: one large file by our client (tus, its hash known) and by the original's multipart
  `enqueue`, against a bare socket whose other end writes the same bytes to the same disk and flushes
  them; against one that makes their SHA-256, too, as a store by hash must; over TLS both with TLS. How much the api's memory grows meanwhile, and
  how many bytes it writes for each byte of the file.
- `project`: what is sent of a project when it is submitted again, and what its node fetches then; how
  long it takes from the submission until the renderer has the project before it.
- `zip`: a ZIP of 200 frames of 8 MB, as `download.py` has it, in fewer rounds.
- `frames`: from the moment in which a renderer has saved a frame, until it is whole at the api.

Needs the package installed with the extra `test`, and four times `--size` of room (at least 6 GB) where
temporary files are. Everything ends with the program.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import requests
from download import download
from farm import FRAMES, OPEN, OUTPUT, RARELY_S, Engine, Farm, Task, farm
from PIL import Image
from sockets import PIECE_BYTES, relay, to_disk
from watched import Spent, settle, watched

from renderonline import paths, wire
from renderonline.api import certificates
from renderonline.client import Client, Wishes, bundle, choose_engine, prepare
from renderonline.client.hashing import contents
from renderonline.client.memory import Memory
from renderonline.client.upload import EnqueueBody
from renderonline.config import CertificateFiles

ROUNDS, ZIP_ROUNDS = 3, 3
FILES = 128
"""Of the project that is submitted again: together as large as the upload."""
PERIOD_S = 0.1
"""In which each frame is rendered."""
SEEN_S = 0.002
"""How often it is looked for frames at the api."""
DAY_S = 86400
LATE = "2999-01-01T00:00:00Z"

RENDERER = """
import sys, time
began = time.time_ns()
with open(sys.argv[1], "rb") as project:
    project.read(1)
with open(f"{sys.argv[2]}/{sys.argv[3]}.txt", "w") as file:
    file.write(str(began))
"""

ANIMATION = """
import sys, time
def value(name):
    return sys.argv[sys.argv.index(name) + 1]
with open("PICTURE", "rb") as file:
    picture = file.read()
for frame in range(int(value("-s")), int(value("-e")) + 1):
    time.sleep(PERIOD)
    print(f"Fra:{frame} Mem:1M (Peak 1M) | Sample 1/1", flush=True)
    name = value("-o").replace("####", f"{frame:04}") + ".png"
    with open(name, "wb") as file:
        file.write(picture)
    saved = time.time_ns()
    print(f"Saved: '{name}'", flush=True)
    with open(f"NOTES/{frame}", "w") as note:
        note.write(str(saved))
print("Blender quit", flush=True)
"""
"""A project that is its own renderer, and tells of its frames as Blender does."""


@dataclass(frozen=True)
class Run:
    """One time through, over HTTP or over TLS."""

    folder: Path
    certificate: CertificateFiles | None
    size_bytes: int
    frames: int

    @property
    def pem(self) -> Path | None:
        return self.certificate.fullchain_pem_path if self.certificate else None


def main() -> int:
    """Measure and print. The exit code."""
    parts: dict[str, Callable[[Run], None]] = {
        "upload": uploads,
        "project": projects,
        "zip": zipped,
        "frames": frames,
    }
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=parts, help="one of the parts")
    parser.add_argument(
        "--size", type=float, default=1.0, metavar="GIB", help="of the upload (default 1)"
    )
    parser.add_argument("--frames", type=int, default=60, help="that come back (default 60)")
    scheme = parser.add_mutually_exclusive_group()
    scheme.add_argument("--http", action="store_true", help="not over TLS")
    scheme.add_argument("--tls", action="store_true", help="over TLS alone")
    chosen = parser.parse_args()
    for is_secure in (False, True):
        if chosen.http if is_secure else chosen.tls:
            continue
        print("HTTPS" if is_secure else "HTTP", flush=True)
        for name, part in parts.items():
            if chosen.only in (None, name):
                with tempfile.TemporaryDirectory(prefix="renderonline-") as place:
                    part(run(Path(place), is_secure, int(chosen.size * 2**30), chosen.frames))
    return 0


def run(folder: Path, is_secure: bool, size_bytes: int, frames: int) -> Run:
    """A part's own folder, with a client in it that has hashed nothing yet."""
    paths.cache_dir = lambda: folder / "cache"  # not this user's
    certificate = certificates.own(folder / "tls", datetime.now(UTC)) if is_secure else None
    return Run(folder, certificate, size_bytes, frames)


def zipped(run: Run) -> None:
    """Print what `download.py` does."""
    download(run.folder, run.certificate, frames=200, megabytes=8, rounds=ZIP_ROUNDS)


# --------------------------------------------------------------------------- uploads


@dataclass
class Way:
    """A way to upload, what it is to hold, and what each round found."""

    name: str
    least: float  # of the socket's rate
    most: float  # bytes written for each byte of the file
    send: Callable[[Farm, Path], None]
    found: list[Spent] = field(default_factory=list)


def uploads(run: Run) -> None:
    """Print the rates of both ways against bare sockets, each round with other bytes."""
    ways = [Way("tus", 0.8, 1.0, tus), Way("multipart", 0.3, 2.0, multipart)]
    sinks = {"a bare socket": (None, False), "one that hashes": (None, True)}
    if run.certificate:
        sinks |= {
            "one with TLS": (run.certificate, False),
            "with TLS that hashes": (run.certificate, True),
        }
    bare: dict[str, list[float]] = {name: [] for name in sinks}
    hashing: list[float] = []
    file = large_file(run.folder / "scene.drawn", run.size_bytes)
    with farm(run.folder / "farm", [reader(run.folder)], 0, None, run.certificate) as running:
        for _ in range(ROUNDS):
            for name, (certificate, is_hashed) in sinks.items():
                settle(run.folder, run.size_bytes)
                bare[name].append(to_disk(file, run.folder / "sink", certificate, is_hashed))
            for way in ways:
                stir(file)
                hashing.append(remembered(file))
                settle(run.folder, run.size_bytes)
                with watched(running.api) as spent:
                    way.send(running, file)
                way.found.append(spent)
                make_room(running)
    pieces = [
        f"{name} {statistics.median(found):.2f} s ({min(found):.2f} to {max(found):.2f})"
        for name, found in bare.items()
    ]
    print(
        f"  {run.size_bytes / 2**30:g} GiB to disk and flushed: {'; '.join(pieces)}; hashing it "
        f"beforehand {statistics.median(hashing):.2f} s, not in what follows"
    )
    for way in ways:
        show_way(way, run.size_bytes, bare)


def make_room(running: Farm) -> None:
    """Throw away what was uploaded: the next upload shall find the disk and the memory as this one."""
    for task in running.client.tasks().tasks:
        running.client.delete(task.task.task_id)
    for file in running.folder.glob("api/contents/*/*"):
        file.unlink()


def show_way(way: Way, size_bytes: int, bare: dict[str, list[float]]) -> None:
    """Print a line of the table. Rates are compared within a round: the disk's pace changes."""
    took = statistics.median(spent.seconds for spent in way.found)
    grown = max(spent.grown_bytes for spent in way.found) / 2**20
    written = [s.written_bytes / size_bytes for s in way.found if s.written_bytes is not None]
    times = f"{statistics.median(written):.2f}" if written else "?"
    shares = ", ".join(f"{share(way, found):.2f} of {name}" for name, found in bare.items())
    print(
        f"  {way.name:<10} {took:5.2f} s: {shares} ({way.least}); the api grows by {grown:.0f} MiB "
        f"(96), writes {times} x the file ({way.most:g})"
    )


def share(way: Way, sinks: list[float]) -> float:
    """The median of the rounds' ratios."""
    ratios = [sink / spent.seconds for sink, spent in zip(sinks, way.found, strict=True)]
    return statistics.median(ratios)


def reader(folder: Path) -> Engine:
    """A renderer that says when it began, and has opened its project then."""
    program = folder / "renderer.py"
    program.write_text(RENDERER)
    template = f'-S "{program}" $RENDERONLINE:@uploaded_file {OUTPUT} {FRAMES}'
    return Engine("drawn", template, sys.executable)


def large_file(path: Path, size: int) -> Path:
    """So many bytes that no file system folds, of a file that was saved long ago."""
    block = os.urandom(PIECE_BYTES)
    with path.open("wb") as file:
        for offset in range(0, size, PIECE_BYTES):
            file.write(block[: size - offset])
    stir(path)
    return path


def stir(file: Path) -> None:
    """Make other bytes of it, so that nobody has it; saved yesterday, so that its hash is kept."""
    with file.open("r+b") as opened:
        opened.write(os.urandom(64))
    os.utime(file, (time.time() - DAY_S,) * 2)


def remembered(file: Path) -> float:
    """Hash it as a client does at its first submission; the seconds that took."""
    began = time.perf_counter()
    memory = Memory(paths.cache_dir() / "files.sqlite")
    sources = [part.source for part in bundle.of(file).parts]
    contents(sources, memory, lambda *_: None, threading.Event())
    memory.close()
    return time.perf_counter() - began


def tus(running: Farm, file: Path) -> None:
    """As `submit` sends it: asked for, uploaded, enqueued."""
    engine = choose_engine(running.client.engines(), file)
    arguments = {"start_frame": "1", "end_frame": "1"}
    running.client.submit(prepare(file, engine, arguments, wishes=Wishes(start_at=LATE)))


def multipart(running: Farm, file: Path) -> None:
    """As the original's client sends it."""
    request = wire.EnqueueRequest(
        engine_id=str(running.engines[file.suffix]), frames="1", start_at=LATE
    )
    body = EnqueueBody(file, wire.encode(request))
    headers = {**running.headers, "Content-Type": body.content_type}
    url = f"{running.client.server}/renderapi/v1/enqueue"
    answer = requests.post(url, data=body, headers=headers, verify=running.trusted, timeout=600)
    if answer.status_code != 200:
        raise SystemExit(f"The project was not taken: {answer.text}")


# --------------------------------------------------------------------------- once more


@dataclass(frozen=True)
class Submitted:
    """What one submission cost."""

    sent_bytes: int  # by the client
    fetched_bytes: int  # by the node
    seconds: float  # from the submission to the renderer's first line


def projects(run: Run) -> None:
    """Print what a second submission sends, and what the node fetches for it."""
    project = folder_of(run.folder / "project", run.size_bytes)
    scheme = "https" if run.certificate else "http"
    with relay() as to_client, relay() as to_node:
        public = f"{scheme}://127.0.0.1:{to_node.port}"
        with farm(
            run.folder / "farm",
            [reader(run.folder)],
            certificate=run.certificate,
            node_settings={"Storage": "transfer"},
            api_settings={"PublicUrl": public},
        ) as running:
            api_port = int(running.client.server.rsplit(":", 1)[1])
            to_client.target_port = to_node.target_port = api_port
            server = f"{scheme}://127.0.0.1:{to_client.port}"
            user = running.headers["email"], running.headers["token"]
            with Client(server, *user, run.pem) as client:
                found = []
                for frame in (1, 2):
                    began = time.time()
                    task_id = submit_folder(client, project, frame)
                    started = started_at(running, run, task_id)
                    sent, fetched = to_client.count()[0], to_node.count()[1]
                    found.append(Submitted(sent, fetched, started - began))
    first, again = found
    print(
        f"  {FILES} files of {run.size_bytes / 2**30:g} GiB in all, submitted again: sent "
        f"{again.sent_bytes / 1e3:.0f} kB, {again.sent_bytes / first.sent_bytes:.3%} of the first time (1 %)"
    )
    print(
        f"  the node gets {again.fetched_bytes / 1e3:.1f} kB, answers to its reports (the first time "
        f"{first.fetched_bytes / run.size_bytes:.2f} x the project); from the submission to the "
        f"renderer {again.seconds:.2f} s (1), the first time {first.seconds:.2f} s"
    )


def folder_of(folder: Path, size_bytes: int) -> Path:
    """A project of many files, its main one small."""
    folder.mkdir()
    for number in range(FILES):
        large_file(folder / f"texture{number}.bin", size_bytes // FILES)
    large_file(folder / "scene.drawn", 1000)
    return folder


def submit_folder(client: Client, project: Path, frame: int) -> int:
    """Submit it for one frame; the task's id."""
    made = bundle.of(project, main="scene.drawn")
    engine = choose_engine(client.engines(), Path(made.main))
    arguments = {"start_frame": str(frame), "end_frame": str(frame)}
    return client.submit(prepare(made, engine, arguments))


def started_at(running: Farm, run: Run, task_id: int) -> float:
    """Wait for the task's end; when its renderer began, as `time.time()`."""
    while (task := running.client.task(task_id).task).state in ("queued", "running"):
        time.sleep(0.02)
    if task.state != "succeeded":
        raise SystemExit(f"task {task_id} {task.state}: {task.cause}")
    (noted,) = running.client.results(task_id, run.folder / f"results{task_id}")
    return int(noted.read_text()) / 1e9


# --------------------------------------------------------------------------- frames


def frames(run: Run) -> None:
    """Print how long frames are on their way, one in each PERIOD_S."""
    notes, picture = run.folder / "notes", run.folder / "picture.png"
    notes.mkdir()
    Image.frombytes("RGB", (1280, 720), os.urandom(1280 * 720 * 3)).save(picture)
    scene = run.folder / "scene.blend"
    program = ANIMATION.replace("NOTES", notes.as_posix()).replace("PICTURE", picture.as_posix())
    scene.write_text(program.replace("PERIOD", str(PERIOD_S)))
    settings = {"Storage": "transfer"}
    with farm(
        run.folder / "farm", [animation()], 1, None, run.certificate, node_settings=settings
    ) as running:
        task = running.submit(scene, f"1-{run.frames}", chunk_frames=run.frames)
        seen = watch_frames(running, task, run.frames)
        running.wait(task, run.frames)
    ms = sorted(
        seen[f"f_{frame:04}.png"] / 1e6 - int((notes / str(frame)).read_text()) / 1e6
        for frame in range(1, run.frames + 1)
    )
    print(
        f"  a frame of {picture.stat().st_size / 1e6:.1f} MB, from saved to on the api's disk: median "
        f"{statistics.median(ms):.0f} ms (300), 99 % {ms[min(len(ms) - 1, int(len(ms) * 0.99))]:.0f} ms"
    )


def animation() -> Engine:
    """Runs its project, with Blender's arguments behind it."""
    first, last = FRAMES.split()
    template = (
        f"animation $RENDERONLINE:@uploaded_file -b -y -o {OUTPUT}/f_#### -s {first} -e {last} -a"
    )
    return Engine("animation", template, sys.executable, "blender", is_warm=False)


def watch_frames(running: Farm, task: Task, count: int) -> dict[str, int]:
    """When each of the files was first seen whole at the api (`time.time_ns()`), by its name."""
    seen: dict[str, int] = {}
    ask_at = time.monotonic() + RARELY_S
    while len(seen) < count:
        if time.monotonic() > ask_at:
            if running.state(task) not in OPEN:
                return seen
            ask_at = time.monotonic() + RARELY_S
        if task.output_dir.is_dir():
            names = {entry.name for entry in os.scandir(task.output_dir) if entry.is_file()}
            now = time.time_ns()
            seen |= dict.fromkeys(names - seen.keys(), now)
        time.sleep(SEEN_S)
    return seen


if __name__ == "__main__":
    sys.exit(main())
