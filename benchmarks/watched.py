"""What another process grows by and writes while something is measured."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

LOOK_S = 0.01


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


def settle() -> None:
    """Have the disk write what earlier measurements have left to it."""
    if hasattr(os, "sync"):
        os.sync()
