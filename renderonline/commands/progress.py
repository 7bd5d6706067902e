"""Progress on stderr: bars on a terminal, plain lines elsewhere (a log, a service, a pipe)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from renderonline.client import Progress as Callback
from renderonline.commands import output

LINE_EVERY_S = 5.0
"""How often a transfer says a line where there is no terminal."""


def on_terminal() -> bool:
    return sys.stderr.isatty()


@contextmanager
def transfer(label: str) -> Iterator[Callback]:
    """Show an upload or a download while the context is open, as the callback is called."""
    if not on_terminal():
        yield _lines(output.plain(label))
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task(output.plain(label), total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


def _lines(label: str) -> Callback:
    """A callback that says a line now and then, and one when all is done."""
    said_at_s = time.monotonic()

    def show(done_bytes: int, total_bytes: int | None) -> None:
        nonlocal said_at_s
        is_done = done_bytes == total_bytes
        if is_done or time.monotonic() - said_at_s >= LINE_EVERY_S:
            said_at_s = time.monotonic()
            share = f" ({done_bytes * 100 // total_bytes} %)" if total_bytes else ""
            output.say(f"{label}: {size_text(done_bytes)}{share}")

    return show


def size_text(size_bytes: int) -> str:
    """A size for people: 512 bytes, 3.4 MB."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    size = float(size_bytes)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"
