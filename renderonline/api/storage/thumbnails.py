"""Small pictures of results: made by a process of their own, kept in memory for a while."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from renderonline.api.storage import trees
from renderonline.api.storage.trees import Entry

log = logging.getLogger(__name__)

TIMEOUT_S = 20.0
"""The longest that one picture may take; the process is ended then."""

IDLE_S = 60.0
"""After so long without a request the process ends, and its memory is free."""

MAX_WAITING = 6
"""Requests that wait for the process; what comes besides is sent away, so that a page full of
thumbnails does not hold all of the api's threads."""

MAX_KEPT_BYTES = 32 << 20

EXTENSIONS = (
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".tga", ".rgb", ".sgi", ".jp2", ".exr",
)  # fmt: skip
"""What can be shown, the quickest first."""


class Busy(Exception):
    """Too many are wanted at a time. Later it may work."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture; without `content`: `error` says why there is none, to follow the file's name."""

    content_type: str = ""
    content: bytes = b""
    error: str | None = None


class Thumbnailer:
    """Makes thumbnails. Starts its process when the first is wanted. Any thread."""

    def __init__(self, command: Sequence[str] | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """`command`: of the process; None: this program's own."""
        self._command = list(command or own_command())
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self.waiting = 0  # how many want one just now
        self._idle: threading.Timer | None = None
        self._kept: OrderedDict[tuple[Path, int, int, int], Thumbnail] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()  # of what is kept, and of the count

    def make(self, entry: Entry, width: int) -> Thumbnail:
        """The file as a picture of at most `width` pixels. Raises Busy, Changed."""
        key = (entry.path, entry.size_bytes, entry.mtime_ns, width)
        kept = self._find(key)
        if kept is not None:
            return kept
        with self._lock:
            if self.waiting >= MAX_WAITING:
                raise Busy
            self.waiting += 1
        try:
            with self._turn:
                made = self._find(key) or self._ask(entry, width)
        finally:
            with self._lock:
                self.waiting -= 1
        self._keep(key, made)
        return made

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._end()

    # ------------------------------------------------------------------ the process, in its turn

    def _ask(self, entry: Entry, width: int) -> Thumbnail:
        with trees.opened(entry) as file:
            status = os.fstat(file.fileno())
        request = {
            "Path": str(entry.path),
            "Device": status.st_dev,
            "Inode": status.st_ino,
            "Width": width,
        }
        process = self._running()
        if process is None:
            return Thumbnail(error="cannot be shown just now.")
        late = threading.Timer(self._timeout_s, process.kill)
        late.start()
        try:
            return _exchange(process, request)
        except (OSError, ValueError, KeyError, TypeError):
            process.kill()
            log.warning("no thumbnail of %s: its decoder crashed, or took too long", entry.path)
            return Thumbnail(error="cannot be shown: opening it crashed, or took too long.")
        finally:
            late.cancel()
            self._end_later()

    def _running(self) -> subprocess.Popen[bytes] | None:
        if self._idle is not None:
            self._idle.cancel()
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        try:
            self._process = subprocess.Popen(
                self._command,
                env=own_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            log.warning("the process that makes thumbnails cannot be started: %s", error)
        return self._process

    def _end_later(self) -> None:
        self._idle = threading.Timer(IDLE_S, self.close)
        self._idle.daemon = True
        self._idle.start()

    def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with contextlib.suppress(OSError):
            process.communicate()

    # ------------------------------------------------------------------ what is kept

    def _find(self, key: tuple[Path, int, int, int]) -> Thumbnail | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
            return kept

    def _keep(self, key: tuple[Path, int, int, int], made: Thumbnail) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = made
            self._kept_bytes += _size(made)
            while self._kept_bytes > MAX_KEPT_BYTES:
                _, dropped = self._kept.popitem(last=False)
                self._kept_bytes -= _size(dropped)


def _size(kept: Thumbnail) -> int:
    return len(kept.content) + 500  # what a key and the rest take


def _exchange(process: subprocess.Popen[bytes], request: dict[str, object]) -> Thumbnail:
    """Raises OSError, ValueError and the like when the process has ended, or says nothing of sense."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    head = json.loads(process.stdout.readline())
    if "Error" in head:
        return Thumbnail(error=str(head["Error"]))
    content = process.stdout.read(head["Size"])
    if len(content) != head["Size"]:
        raise ValueError("it ended in the midst of its answer")
    return Thumbnail(head["Type"], content)


def own_command() -> list[str]:
    """How this program starts the process: itself when frozen, a module when run from source."""
    if getattr(sys, "frozen", False):
        return [sys.executable, "thumbnailer"]
    return [sys.executable, "-P", "-m", "renderonline.thumbnailer"]


def own_environment() -> dict[str, str]:
    """What the process needs to find its code, and nothing that is ours to keep."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RENDERONLINE_")}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # numpy's: each thread would take memory
    if not getattr(sys, "frozen", False):
        package_root = str(Path(__file__).resolve().parents[3])
        inherited = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package_root, inherited)))
    return environment
