"""What another process grows by and writes while something is measured."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

LOOK_S, PAUSE_S = 0.01, 2.5


@dataclass
class Spent:
    """Filled in when its block has ended."""

    seconds: float = 0.0
    grown_bytes: int = 0
    """The most resident memory that was seen, less what there was before."""
    written_bytes: int | None = None
    """To disks; None where the system does not tell that of files alone."""


@contextmanager
def watched(process: psutil.Process) -> Iterator[Spent]:
    """Look at the process for as long as the block takes."""
    spent, ended = Spent(), threading.Event()
    before, written = process.memory_info().rss, written_bytes(process)

    def look() -> None:
        while not ended.wait(LOOK_S):
            spent.grown_bytes = max(spent.grown_bytes, process.memory_info().rss - before)

    looking = threading.Thread(target=look)
    looking.start()
    began = time.perf_counter()
    try:
        yield spent
    finally:
        spent.seconds = time.perf_counter() - began
        ended.set()
        looking.join()
    if written is not None:
        spent.written_bytes = (written_bytes(process) or 0) - written


def written_bytes(process: psutil.Process) -> int | None:
    """`write_bytes` of /proc/<pid>/io. Elsewhere such a counter has sockets in it, or there is none."""
    return int(process.io_counters().write_bytes) if sys.platform == "linux" else None


def flush() -> None:
    """Have the disk write what was left to it, where the platform can."""
    if hasattr(os, "sync"):
        os.sync()


def settle(folder: Path, size_bytes: int) -> None:
    """Make the start the same for what writes so many bytes next: the disk has no more to write of
    what was before, and memory for the bytes is at hand.

    A virtual machine gives memory back some two seconds after it was freed, and who needs it next
    waits for it: that alone makes a bare socket three times slower, now and then.
    """
    flush()
    time.sleep(PAUSE_S)
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as writer:
        block = bytes(1 << 20)
        for _ in range(-(-size_bytes // len(block))):
            writer.write(block)
    filler.unlink()
