"""What a download costs: `python benchmarks/download.py [--frames 200] [--megabytes 8]`.

A real api on loopback over HTTP and over TLS, a real node on the same disk, and a reader that throws
away what comes. In each round a task is rendered; then it prints the first byte, and the rate of
the task's ZIP, asked for some seconds after its end, against that of one file as large, which the
same server sends ("cat"): the first time, and again. The api has made the frames' checksums meanwhile; for comparison the ZIP of the same
files when nothing is known of them. Then what the api's process has grown by, what it has written,
and how much it reads of a download that goes on at nine tenths of its length.

Needs the package installed with the extra `test`. Everything ends with the program.
"""

from __future__ import annotations

import argparse
import http.client
import ssl
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from farm import FRAMES, OUTPUT, Engine, Farm, Task, farm, project
from watched import flush, watched

from renderonline.api import certificates
from renderonline.config import CertificateFiles

ROUNDS = 5
CHUNK_FRAMES = 10
LOOKED_AT_S = 5.0
"""How long after its end somebody asks for a task's results."""

RENDERER = """
import os, sys
folder, megabytes, first, last = sys.argv[1], *map(int, sys.argv[2:])
block = os.urandom(1 << 20)
for frame in range(first, last + 1):
    with open(f"{folder}/{frame:04}.png", "wb") as file:
        for _ in range(megabytes):
            file.write(block)
"""


@dataclass(frozen=True)
class Got:
    """One answer, read to its end."""

    first_ms: float
    seconds: float
    size_bytes: int

    @property
    def rate(self) -> float:
        """Megabytes a second."""
        return self.size_bytes / 1e6 / self.seconds


def main() -> int:
    """Measure and print. The exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--megabytes", type=int, default=8, help="of each (default 8)")
    chosen = parser.parse_args()
    for is_secure in (False, True):
        with tempfile.TemporaryDirectory(prefix="renderonline-") as name:
            folder = Path(name)
            certificate = certificates.own(folder / "tls", datetime.now(UTC)) if is_secure else None
            print("HTTPS" if is_secure else "HTTP")
            download(folder, certificate, chosen.frames, chosen.megabytes)
    return 0


def download(
    folder: Path,
    certificate: CertificateFiles | None,
    frames: int,
    megabytes: int,
    rounds: int = ROUNDS,
) -> None:
    """Measure and print, with a farm of its own."""
    engines = renderer(folder, megabytes, "drawn"), renderer(folder, frames * megabytes, "large")
    with farm(folder / "download", engines, nodes=1, certificate=certificate) as running:
        measure(running, [project(folder, engine) for engine in engines], frames, rounds)


def renderer(folder: Path, megabytes: int, name: str) -> Engine:
    """Writes frames of that size."""
    program = folder / "renderer.py"
    program.write_text(RENDERER)
    return Engine(name, f'-S "{program}" {OUTPUT} {megabytes} {FRAMES}', sys.executable)


def rendered(running: Farm, scene: Path, frames: int) -> Task:
    """A task that is over, with so many results."""
    task = running.submit(scene, f"1-{frames}", CHUNK_FRAMES)
    running.wait(task, frames)
    flush()  # or the disk is still writing them while they are read
    time.sleep(LOOKED_AT_S)
    return task


def measure(running: Farm, scenes: list[Path], frames: int, rounds: int) -> None:
    """Print the table."""
    large = rendered(running, scenes[1], 1)
    plain = f"tasks/{large.task_id}/files/0001.png"
    read(running, plain)
    cats, first, again, unknown = [], [], [], []
    grown_bytes, written = 0, 0.0
    for last in (count == rounds - 1 for count in range(rounds)):
        task = rendered(running, scenes[0], frames)
        zipped = f"tasks/{task.task_id}/results.zip"
        with watched(running.api) as spent:
            cats.append(read(running, plain))
            first.append(read(running, zipped))
            again.append(read(running, zipped))
            for file in task.output_dir.iterdir():
                file.touch()  # another file by its time: nothing is known of it
            unknown.append(read(running, zipped))
        grown_bytes = max(grown_bytes, spent.grown_bytes)
        written = max(written, (spent.written_bytes or 0) / 1e6)
        if last and sys.platform == "linux":
            resume(running, zipped, again[-1].size_bytes * 9 // 10)
        running.client.delete(task.task_id)
    show("cat", cats, cats)
    show("ZIP, the first time", first, cats)
    show("ZIP, again", again, cats)
    show("ZIP, nothing known", unknown, cats, held="")
    print(
        f"  api: grows by {grown_bytes / 2**20:.0f} MiB (64), writes {written:.1f} MB "
        "(no temporary file)"
    )


def resume(running: Farm, zipped: str, start: int) -> None:
    """Print how much the api reads to send what is behind `start`."""
    before = running.api.io_counters().read_chars
    rest = read(running, zipped, start)
    reading = running.api.io_counters().read_chars - before
    print(
        f"  resumed at nine tenths: sent {rest.size_bytes / 1e6:.0f} MB, read {reading / 1e6:.0f} MB"
    )


def show(name: str, found: list[Got], cats: list[Got], held: str = "(0.8)") -> None:
    """Print a line: medians, what is to be held behind them."""
    ratio = statistics.median(cat.seconds for cat in cats) / statistics.median(
        got.seconds for got in found
    )
    first_ms = statistics.median(got.first_ms for got in found)
    rate = statistics.median(got.rate for got in found)
    print(
        f"  {name:<22} first byte {first_ms:5.1f} ms (50)   {rate:6.0f} MB/s   "
        f"{ratio:.2f} of cat {held if found is not cats else ''}"
    )


def read(running: Farm, route: str, start: int = 0) -> Got:
    """Read an answer to its end."""
    where = urlsplit(running.client.server)
    context = ssl._create_unverified_context() if where.scheme == "https" else None
    kind = http.client.HTTPConnection if context is None else http.client.HTTPSConnection
    options = {} if context is None else {"context": context}
    connection = kind(where.hostname or "", where.port, timeout=600, **options)  # type: ignore[arg-type]
    wanted = {"Range": f"bytes={start}-"} if start else {}
    began = time.perf_counter()
    connection.request("GET", f"/renderapi/v1/{route}", headers={**running.headers, **wanted})
    answer = connection.getresponse()
    assert answer.status in (200, 206), answer.read()
    size, buffer = len(answer.read(1)), bytearray(1 << 20)
    first = time.perf_counter()
    while count := answer.readinto(buffer):
        size += count
    seconds = time.perf_counter() - began
    connection.close()
    return Got((first - began) * 1e3, seconds, size)


if __name__ == "__main__":
    sys.exit(main())
