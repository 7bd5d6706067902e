"""What a download costs: `python benchmarks/download.py [--frames 200] [--megabytes 8]`.

A real api on loopback over HTTP and over TLS, and a reader that throws away what comes. Prints the
first byte, and the rate of a task's ZIP against that of one file as large, which the same server
sends ("cat"): the first time, when each checksum is made on the way, and once they are known, as
those of frames are that nodes have sent back. Then what the api's process has grown by, what it has
written, and how much it reads of a download that goes on at nine tenths of its length.

Needs the package installed with the extra `test`. Everything ends with the program.
"""

from __future__ import annotations

import http.client
import os
import ssl
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from farm import Engine, Farm, Task, farm, options, project

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from cli.certificates import make_certificate

ROUNDS = 5


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
    parser = options(__doc__)
    parser.add_argument("--frames", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--megabytes", type=int, default=8, help="of each (default 8)")
    chosen = parser.parse_args()
    engine = Engine("nothing", "nothing", sys.executable)
    for is_secure in (False, True):
        with tempfile.TemporaryDirectory(prefix="renderonline-") as name:
            folder = Path(name)
            certificate = make_certificate(folder / "tls", "127.0.0.1") if is_secure else None
            with farm(folder / "farm", [engine], nodes=0, certificate=certificate) as running:
                print("HTTPS" if is_secure else "HTTP")
                zipped = rendered(running, project(folder, engine), chosen.frames, chosen.megabytes)
                plain = rendered(
                    running, project(folder, engine), 1, chosen.frames * chosen.megabytes
                )
                measure(running, zipped, plain)
    return 0


def rendered(running: Farm, scene: Path, frames: int, megabytes: int) -> Task:
    """A task that is over, with so many results."""
    task = running.submit(scene)
    running.client.cancel(task.task_id)
    task.output_dir.mkdir(parents=True, exist_ok=True)
    block = os.urandom(1 << 20)
    for frame in range(1, frames + 1):
        with (task.output_dir / f"{frame:04}.png").open("wb") as file:
            for _ in range(megabytes):
                file.write(block)
    return task


def measure(running: Farm, task: Task, other: Task) -> None:
    """Print the table."""
    zipped, plain = f"tasks/{task.task_id}/results.zip", f"tasks/{other.task_id}/files/0001.png"
    read(running, plain)
    before = running.api.memory_info().rss
    written = running.api.io_counters().write_bytes
    cats, first, known = [], [], []
    for _ in range(ROUNDS):
        cats.append(read(running, plain))
        for file in task.output_dir.iterdir():
            file.touch()  # another file by its time: nothing is known of it
        first.append(read(running, zipped))
        known.append(read(running, zipped))
    show("cat", cats, cats)
    show("ZIP, first time", first, cats)
    show("ZIP, checksums known", known, cats)
    grown = running.api.memory_info().rss - before
    print(f"  api: grown by {grown / 1e6:.1f} MB, written {written_mb(running, written):.1f} MB")
    before = running.api.io_counters().read_chars
    rest = read(running, zipped, known[-1].size_bytes * 9 // 10)
    reading = running.api.io_counters().read_chars - before
    print(
        f"  resumed at nine tenths: sent {rest.size_bytes / 1e6:.0f} MB, read {reading / 1e6:.0f} MB"
    )


def written_mb(running: Farm, before: int) -> float:
    return (running.api.io_counters().write_bytes - before) / 1e6


def show(name: str, found: list[Got], cats: list[Got]) -> None:
    """Print a line: medians."""
    ratio = statistics.median(cat.seconds for cat in cats) / statistics.median(
        got.seconds for got in found
    )
    first_ms = statistics.median(got.first_ms for got in found)
    rate = statistics.median(got.rate for got in found)
    print(f"  {name:<22} first byte {first_ms:5.1f} ms   {rate:6.0f} MB/s   {ratio:.2f} of cat")


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
