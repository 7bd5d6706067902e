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
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from renderonline.client import Progress as Callback
from renderonline.client import SendProgress
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
    with _bars() as bars:
        bar = bars.add_task(output.plain(label), total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


@contextmanager
def sending(name: str) -> Iterator[SendProgress]:
    """Show how a project is hashed and uploaded while the context is open."""
    try:
        with _sending(name) as show:
            yield show
    except KeyboardInterrupt:
        output.say(f"{name} is not submitted. What the farm has got of it is not sent again.")
        raise


@contextmanager
def _sending(name: str) -> Iterator[SendProgress]:
    if not on_terminal():
        lines = {"hashing": _lines(f"hashing {name}", says_end=False)}
        lines["uploading"] = _lines(f"uploading {name}")
        yield lambda phase, done, total, _: lines[phase](done, total)
        return
    with _bars() as bars:
        known: dict[str, TaskID] = {}

        def show(phase: str, done_bytes: int, total_bytes: int, file: str) -> None:
            if phase not in known:
                known[phase] = bars.add_task("")
            label = output.plain(f"{phase} {file or name}")
            bars.update(known[phase], completed=done_bytes, total=total_bytes, description=label)

        yield show


def _bars() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _lines(label: str, says_end: bool = True) -> Callback:
    """A callback that says a line now and then, and one when all is done."""
    said_at_s = time.monotonic()
    has_ended = False

    def show(done_bytes: int, total_bytes: int | None) -> None:
        nonlocal said_at_s, has_ended
        ends = done_bytes == total_bytes and says_end and not has_ended
        has_ended = has_ended or ends
        if ends or time.monotonic() - said_at_s >= LINE_EVERY_S:
            said_at_s = time.monotonic()
            if total_bytes == 0:
                output.say(f"{label}: the farm has all of it")
                return
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
