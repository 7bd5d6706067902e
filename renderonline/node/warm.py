"""The keeper of the one renderer that stays open between the chunks of a task.

Owns when it may go on with the next chunk and when it has to end: at once for another task or
engine, or when a file that it has loaded has changed; after its chunk when that failed or it has
grown too large; and when nobody has needed it for a while. At most one renderer is alive because
of that, and it ends before another one starts.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from renderonline.engines.session import Session, exit_code_in
from renderonline.node.memory import family, held_bytes
from renderonline.node.orders import Order
from renderonline.node.process import Rendering, RenderProcess

QUIT_S = 2.0
"""How long it may take to end by itself and to clean up; Blender takes 0.05 s with a small scene."""

MEMORY_SHARE = 0.8
"""How much of the machine's memory it may hold between two chunks, unless a setting says how much."""

Start = Callable[[list[str], bool], RenderProcess]
"""Starts a command; True: its stdin takes requests. Raises Refusal."""

Fit = tuple[object, ...]
"""What has to be equal for a renderer that was started for one chunk to render another as well."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a renderer must not exceed between two chunks."""

    memory_bytes: int  # it and all that it has started
    idle_s: float = 60.0
    growth: float = 2.0  # as a multiple of what it held after its first chunk
    growth_bytes: int = 2**30  # below this it may grow as it likes

    def is_too_large(self, first_bytes: int, now_bytes: int) -> bool:
        """Whether it has to end, by what it held after its first chunk and holds now."""
        has_grown = now_bytes > self.growth_bytes and now_bytes > self.growth * first_bytes
        return has_grown or now_bytes > self.memory_bytes


def machine_bounds(memory_bytes: int | None = None) -> Bounds:
    """The bounds of this machine; `memory_bytes` is the setting, None where there is none."""
    return Bounds(memory_bytes or int(psutil.virtual_memory().total * MEMORY_SHARE))


class WarmRenderers:
    """One per node. Every method may be called on any thread."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        """`bounds` None: those of this machine."""
        self._bounds = bounds or machine_bounds()
        self._lock = threading.Lock()  # also held while a renderer ends: the next one waits for it
        self._latest: Open | None = None  # rendering, or kept
        self._kept: Open | None = None  # between two chunks
        self._expected: tuple[Order, Session | None] | None = None
        self._kept_at = 0.0  # of time.monotonic
        self._timer: threading.Timer | None = None  # runs on over chunks: a thread for each costs

    def expect(self, order: Order) -> None:
        """This one will come next: work out now how it could be rendered. Changes nothing else."""
        self._expected = order, _session(order)

    def process(self, order: Order, start: Start) -> Rendering:
        """What renders the order: the renderer that is open, or one that is started now.

        Raises Refusal. Blocks while another renderer ends, at most about QUIT_S.
        """
        expected, session = self._expected or (None, None)
        if expected is not order:
            session = _session(order)
        fit = _fit(order, session) if session else None
        with self._lock:
            kept = self._take()
            if kept is not None:
                chunk = WarmChunk(kept, self._release)
                if session is not None and kept.fit == fit and chunk.ask(session):
                    return chunk
                kept.end()
            if session is None or fit is None:
                return start(list(order.command), False)
            self._latest = opened = Open(fit, start(list(session.command), True))
            chunk = WarmChunk(opened, self._release)
            chunk.ask(session)  # if it has ended already, its output says why
            return chunk

    def close(self) -> None:
        """End the renderer that is kept; one that renders is not kept any more. Idempotent."""
        with self._lock:
            self._latest = None
            kept = self._take()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if kept is not None:
                kept.end()

    def _release(self, opened: Open) -> bool:
        """A chunk has succeeded: keep its renderer, if that is wise; True if it is kept."""
        with self._lock:
            if opened is not self._latest or opened.is_too_large(self._bounds):
                opened.end()
                return False
            self._kept, self._kept_at = opened, time.monotonic()
            if self._timer is None:
                self._expire_in(self._bounds.idle_s)
            return True

    def _expire_in(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _expire(self) -> None:
        """End what nobody has needed for a while. On the timer's thread."""
        with self._lock:
            self._timer = None
            if self._kept is None:
                return
            left_s = self._kept_at + self._bounds.idle_s - time.monotonic()
            if left_s > 0:
                self._expire_in(left_s)
            elif (kept := self._take()) is not None:
                kept.end()

    def _take(self) -> Open | None:
        kept, self._kept = self._kept, None
        return kept


class Open:
    """A renderer that is open. Belongs to whoever renders with it, or to the keeper's lock."""

    def __init__(self, fit: Fit, process: RenderProcess) -> None:
        self.fit = fit
        self.process = process
        self.lines = process.lines()  # one for all chunks: a line's beginning may have been read
        self._first_bytes: int | None = None
        self._family: list[psutil.Process] = []

    def is_too_large(self, bounds: Bounds) -> bool:
        """Look at its memory. To be asked after each chunk."""
        if self._first_bytes is None:
            self._family = family(self.process.pid)  # once: it looks at every process there is
            self._first_bytes = sum(map(held_bytes, self._family))
        return bounds.is_too_large(self._first_bytes, sum(map(held_bytes, self._family)))

    def end(self) -> None:
        """End it with all that it has started. Blocks, at most about QUIT_S."""
        self.process.finish(QUIT_S)


class WarmChunk:
    """One chunk in a renderer that is open; a Rendering."""

    def __init__(self, opened: Open, release: Callable[[Open], bool]) -> None:
        """`release` takes the renderer back after a success and says whether it is kept."""
        self._opened = opened
        self._token = secrets.token_hex(16)
        self._release = release
        self._exit_code: int | None = None  # None: the renderer has not said that the chunk is over
        self._lock = threading.Lock()
        self._is_over = self._is_stopped = False
        self._is_warm = False

    def ask(self, session: Session) -> bool:
        """Have the chunk rendered; False if the renderer has ended."""
        try:
            self._opened.process.send(session.request(self._token))
        except OSError:
            return False
        return True

    @property
    def pid(self) -> int:
        return self._opened.process.pid

    @property
    def is_warm(self) -> bool:
        return self._is_warm

    @property
    def has_more(self) -> bool:
        return self._opened.process.has_more

    def lines(self) -> Iterator[str]:
        for line in self._opened.lines:
            self._exit_code = exit_code_in(line, self._token)
            if self._exit_code is not None:
                return
            yield line

    def wait(self) -> int:
        """The exit code of the chunk; after one that is not 0, or a stop, the renderer has ended."""
        with self._lock:
            self._is_over = True
        if self._exit_code is None:
            return self._opened.process.wait()
        if self._exit_code != 0 or self._is_stopped:
            self._opened.end()
        else:
            self._is_warm = self._release(self._opened)
        return self._exit_code

    def stop(self, grace_s: float) -> bool:
        with self._lock:
            if self._is_over:
                return True  # the renderer may be another chunk's by now
            self._is_stopped = True
        return self._opened.process.stop(grace_s)

    def abandon(self) -> None:
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
        self._opened.process.abandon()


def _session(order: Order) -> Session | None:
    """How the order could be rendered warm; None where it may not, or cannot."""
    # An original api does not cut tasks: it has no next chunk.
    if order.attempt_id is None or not order.renderer.is_warm:
        return None
    return order.renderer.adapter.session(order.command)


def _fit(order: Order, session: Session) -> Fit | None:
    """None: a file that it loads cannot be looked at, so nobody could tell that it has changed."""
    stamps = [_stamp(order.working_dir / file) for file in session.files]
    if None in stamps:
        return None
    environment = order.renderer.environment
    return (order.task_id, session.command, order.working_dir, environment, *stamps)


def _stamp(file: Path) -> tuple[int, int] | None:
    """A file's time of change in ns and its size in bytes; None if it cannot be looked at."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
