"""What a project costs on its way in and a frame on its way back: `python benchmarks/transfer.py`.

A real api, a real node that uses none of its folders, over HTTP and over TLS, on loopback. Prints

- the upload of one large file, by our client (tus) and by the original's multipart `enqueue`, against
  a bare socket whose other end writes the same bytes to the same disk and flushes them; how much the
  api's memory grows meanwhile, and how many bytes it writes for each byte of the file;
- what is sent of the same project when it is submitted again, and what the node fetches of it when
  its cache has it already, and how long it takes until its renderer starts;
- a frame, from the moment in which the renderer has closed it until it is whole at the api.

Needs the package installed with the extra `test`. Everything ends with the program.
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from farm import FRAMES, OUTPUT, Engine, Farm, farm, options

from renderonline import paths
from renderonline.client import Client, bundle, choose_engine, prepare
from renderonline.client.hashing import contents
from renderonline.client.memory import Memory
from renderonline.client.upload import EnqueueBody

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from cli.certificates import make_certificate

PIECE_BYTES = 1 << 20
ROUNDS = 3

RENDERER = """
import sys
with open(sys.argv[1], "rb") as project:
    project.read(1)
with open(f"{sys.argv[2]}/{sys.argv[3]}.txt", "w") as file:
    file.write("x")
"""

ANIMATION = """
import sys, time
def value(name):
    return sys.argv[sys.argv.index(name) + 1]
for frame in range(int(value("-s")), int(value("-e")) + 1):
    time.sleep(0.05)
    print(f"Fra:{frame} Mem:1M (Peak 1M) | Sample 1/1", flush=True)
    name = value("-o").replace("####", f"{frame:04}") + ".dat"
    with open(name, "wb") as file:
        file.write(b"x" * 1000000)
    saved = time.time_ns()
    print(f"Saved: '{name}'", flush=True)
    with open(f"NOTES/{frame}", "w") as note:
        note.write(str(saved))
print("Blender quit", flush=True)
"""
"""A project that is its own renderer, and tells of its frames as Blender does."""


def main() -> int:
    """Measure and print. The exit code."""
    parser = options(__doc__)
    parser.add_argument("--gib", type=float, default=1.0, help="size of the upload (default 1)")
    parser.add_argument("--frames", type=int, default=60, help="that come back (default 60)")
    chosen = parser.parse_args()
    for is_secure in (False, True):
        with tempfile.TemporaryDirectory(prefix="renderonline-") as name:
            folder = Path(name)
            # The client's memory of what it has hashed: not this user's, and empty.
            os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
            certificate = make_certificate(folder / "tls", "127.0.0.1") if is_secure else None
            notes = folder / "notes"
            notes.mkdir()
            engines = [renderer(folder), animation()]
            settings = {"Storage": "transfer"}
            with farm(
                folder / "farm", engines, certificate=certificate, node_settings=settings
            ) as running:
                print("HTTPS" if is_secure else "HTTP")
                uploads(running, folder, int(chosen.gib * 2**30))
                again(running, folder)
                frames(running, folder, notes, chosen.frames)
    return 0


def renderer(folder: Path) -> Engine:
    """Opens its project, and leaves a file."""
    program = folder / "renderer.py"
    program.write_text(RENDERER)
    template = f'"{program}" $RENDERONLINE:@uploaded_file {OUTPUT} {FRAMES}'
    return Engine("drawn", template, sys.executable)


def animation() -> Engine:
    """Runs its project, with Blender's arguments behind it."""
    first, last = FRAMES.split()
    template = (
        f"animation $RENDERONLINE:@uploaded_file -b -y -o {OUTPUT}/f_#### -s {first} -e {last} -a"
    )
    return Engine("animation", template, sys.executable, "blender", is_warm=False)


# --------------------------------------------------------------------------- uploads


@dataclass
class Watched:
    """What the api's process did meanwhile."""

    process: psutil.Process
    grown_bytes: int = 0
    written_bytes: int = 0
    seconds: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def during(self) -> Iterator[None]:
        before, written = self.process.memory_info().rss, self.process.io_counters().write_bytes
        self._stop.clear()
        looking = threading.Thread(target=self._look, args=(before,))
        looking.start()
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds = time.perf_counter() - began
            self._stop.set()
            looking.join()
            self.written_bytes = self.process.io_counters().write_bytes - written

    def _look(self, before: int) -> None:
        while not self._stop.wait(0.02):
            self.grown_bytes = max(self.grown_bytes, self.process.memory_info().rss - before)


def uploads(running: Farm, folder: Path, size: int) -> None:
    """Print the rates of both ways against the bare socket, round by round with other bytes."""
    ways: dict[str, Callable[[Path], None]] = {
        "tus": lambda file: tus(running, file),
        "multipart": lambda file: multipart(running, file),
    }
    found: dict[str, list[Watched]] = {name: [] for name in ways}
    sinks = []
    for _ in range(ROUNDS):
        file = large_file(folder / "scene.drawn", size)
        sinks.append(socket_to_disk(file, folder / "sink"))
        for name, way in ways.items():
            stir(file)
            hash_it(file)
            watched = Watched(running.api)
            with watched.during():
                way(file)
            found[name].append(watched)
            for task in running.client.tasks().tasks:
                running.client.delete(task.task.task_id)
    sink_s = statistics.median(sinks)
    print(f"  {size / 2**30:g} GiB to a bare socket that writes to disk: {sink_s:.2f} s")
    for name, least, most in (("tus", 0.8, 1.0), ("multipart", 0.3, 2.0)):
        seconds = statistics.median(w.seconds for w in found[name])
        grown = max(w.grown_bytes for w in found[name]) / 2**20
        written = statistics.median(w.written_bytes for w in found[name]) / size
        print(
            f"  {name:<10} {seconds:5.2f} s, {sink_s / seconds:.2f} of the socket ({least}); the api "
            f"grows by {grown:.0f} MiB (96), writes {written:.2f} x the file ({most:g})"
        )


def large_file(path: Path, size: int) -> Path:
    """Bytes that no file system folds."""
    block = os.urandom(PIECE_BYTES)
    with path.open("wb") as file:
        for _ in range(size // PIECE_BYTES):
            file.write(block)
    return path


def stir(file: Path) -> None:
    """Make other bytes of it, so that it is no file that the server has."""
    with file.open("r+b") as opened:
        opened.write(os.urandom(64))
        os.fsync(opened.fileno())


def hash_it(file: Path) -> None:
    """As a client remembers it of an earlier submission: what is measured is the upload."""
    memory = Memory(paths.cache_dir() / "files.sqlite")
    sources = [part.source for part in bundle.of(file).parts]
    contents(sources, memory, lambda *_: None, threading.Event())
    memory.close()


def tus(running: Farm, file: Path) -> None:
    """As `submit` sends it: hashed, asked for, uploaded, enqueued."""
    client = running.client
    engine = choose_engine(client.engines(), file, None)
    client.submit(prepare(file, engine, {"start_frame": "1", "end_frame": "1"}))


def multipart(running: Farm, file: Path) -> None:
    """As the original's client sends it."""
    request = (
        f'{{"EngineId":"{running.engines[file.suffix]}","Arguments":['
        '{"ArgTypeId":"start_frame","Value":"1"},{"ArgTypeId":"end_frame","Value":"1"}]}'
    )
    body = EnqueueBody(file, request.encode())
    answer = running.client._transport.send(
        "POST",
        "/renderapi/v1/enqueue",
        data=body,
        headers={"Content-Type": body.content_type},
        timeout=(5, 600),
    )
    assert answer.status_code == 200, answer.text


def socket_to_disk(file: Path, target: Path) -> float:
    """Seconds for the same bytes through a bare TCP connection into a file, flushed."""
    listener = socket.create_server(("127.0.0.1", 0))

    def receive() -> None:
        connection, _ = listener.accept()
        buffer = bytearray(PIECE_BYTES)
        with connection, target.open("wb") as written:
            while count := connection.recv_into(buffer):
                written.write(memoryview(buffer)[:count])
            written.flush()
            os.fsync(written.fileno())

    thread = threading.Thread(target=receive)
    thread.start()
    began = time.perf_counter()
    with socket.create_connection(listener.getsockname()) as connection, file.open("rb") as read:
        while piece := read.read(PIECE_BYTES):
            connection.sendall(piece)
    thread.join()
    seconds = time.perf_counter() - began
    listener.close()
    target.unlink()
    return seconds


# --------------------------------------------------------------------------- once more


@dataclass
class Counter:
    """A relay that counts what goes through it."""

    port: int
    sent_bytes: int = 0


@contextmanager
def counted(port: int) -> Iterator[Counter]:
    """A port on loopback that leads to another one; what is sent to it is counted."""
    listener = socket.create_server(("127.0.0.1", 0))
    counter = Counter(listener.getsockname()[1])

    def pump(source: socket.socket, target: socket.socket, is_counted: bool) -> None:
        try:
            while piece := source.recv(PIECE_BYTES):
                counter.sent_bytes += len(piece) if is_counted else 0
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                ours, _ = listener.accept()
            except OSError:
                return
            theirs = socket.create_connection(("127.0.0.1", port))
            for ends in ((ours, theirs, True), (theirs, ours, False)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield counter
    finally:
        listener.close()


def again(running: Farm, folder: Path) -> None:
    """Print what a second submission sends, and what the node fetches for it."""
    file = large_file(folder / "again.drawn", 256 << 20)
    scheme, _, address = running.client.server.partition("://")
    cache = next((running.folder / "node1").rglob("cache"))
    sent, starts = [], []
    for _ in range(2):
        with counted(int(address.rsplit(":", 1)[1])) as counter:
            server = f"{scheme}://127.0.0.1:{counter.port}"
            with Client(
                server, running.headers["email"], running.headers["token"], pem(running)
            ) as client:
                engine = choose_engine(client.engines(), file, None)
                submission = prepare(file, engine, {"start_frame": "1", "end_frame": "1"})
                task_id = client.submit(submission)
                sent.append(counter.sent_bytes)
                enqueued = time.time()
                wait_for(running, task_id)
        log = max((running.folder / "node1").rglob(f"*-task-{task_id}-*.log"))
        starts.append(log.stat().st_ctime - enqueued)
        kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if len(path.name) == 64}
        if len(sent) == 1:
            first = kept
    share = sent[1] / sent[0]
    print(f"  256 MiB submitted again: {share:.2%} of the bytes of the first time (1 %)")
    print(
        f"  its node: {sum(kept[p] != first.get(p) for p in first)} files fetched again (0), "
        f"rendered after {starts[1]:.2f} s (1), the first time after {starts[0]:.2f} s"
    )


def pem(running: Farm) -> Path | None:
    return Path(running.trusted) if running.trusted else None


def wait_for(running: Farm, task_id: int) -> None:
    """Until the task is over; ends the program if it fails."""
    while (task := running.client.task(task_id).task).state in ("queued", "running"):
        time.sleep(0.02)
    if task.state != "succeeded":
        raise SystemExit(f"task {task_id} {task.state}: {task.cause}")


# --------------------------------------------------------------------------- frames


def frames(running: Farm, folder: Path, notes: Path, count: int) -> None:
    """Print how long frames of a megabyte, one in 50 ms, are on their way."""
    scene = folder / "scene.blend"
    scene.write_text(ANIMATION.replace("NOTES", notes.as_posix()))
    task = running.submit(scene, f"1-{count}", chunk_frames=count)
    running.wait(task, count)
    spans = [
        (task.output_dir / f"f_{frame:04}.dat").stat().st_ctime_ns
        - int((notes / str(frame)).read_text())
        for frame in range(1, count + 1)
    ]
    ms = sorted(span / 1e6 for span in spans)
    print(
        f"  a frame of 1 MB, from saved to on the api's disk: median {statistics.median(ms):.0f} ms "
        f"(300), 99 % {ms[int(len(ms) * 0.99) - 1]:.0f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
