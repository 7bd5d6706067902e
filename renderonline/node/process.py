"""One renderer's process: started from an argv, read line by line, ended with its whole tree.

Never a shell. What differs between platforms is behind `Spawner` and `Tree`.
"""

from __future__ import annotations

import contextlib
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from renderonline.node.refusal import Refusal

MAX_LINE_BYTES = 16 * 1024
"""What is kept of one line; no renderer says anything useful in a longer one."""

CHUNK_BYTES = 64 * 1024
CHUNKS_AHEAD = 64  # what a fast renderer may be ahead of its reader, 4 MiB, before it must wait
LOOK_S = 0.1
DRAIN_S = 5.0
"""How long to read on after the exit, if somebody that we could not end holds stdout open."""


class Tree(Protocol):
    """A process and everything that it has started."""

    def end(self, grace_s: float) -> bool:
        """Ask all to end, kill what is left after `grace_s`; True if nothing is left. Blocks."""
        ...

    def close(self) -> None:
        """The tree has ended: give back what the system holds for it."""
        ...


class Spawner(Protocol):
    """Starts processes whose trees end with this program, in whatever way that ends."""

    def spawn(
        self,
        argv: list[str],
        working_dir: Path,
        environment: dict[str, str],
        stdin: int = subprocess.DEVNULL,
    ) -> tuple[subprocess.Popen[bytes], Tree]:
        """Start `argv`, stdout and stderr in one pipe. Raises OSError or ValueError."""
        ...

    def close(self) -> None:
        """End what is still running."""
        ...


def system_spawner() -> Spawner:
    """This platform's spawner. Raises OSError when the platform refuses what it needs."""
    if sys.platform == "win32":
        from renderonline.node.process_windows import WindowsSpawner

        return WindowsSpawner()
    else:  # noqa: RET505 (a type checker for the other platform skips a branch, not a rest)
        from renderonline.node.process_posix import PosixSpawner

        return PosixSpawner()


class Rendering(Protocol):
    """What renders one chunk: a process of its own, or one that stays open (see `warm`).

    One thread takes `lines` to their end and then calls `wait`; `stop` may be called on any.
    """

    @property
    def pid(self) -> int: ...

    @property
    def is_warm(self) -> bool:
        """After `wait`: whether the renderer stays open for the task's next chunk."""
        ...

    def lines(self) -> Iterator[str]:
        """See RenderProcess. Ends when the chunk is over."""
        ...

    @property
    def has_more(self) -> bool:
        """Whether there is more of the output, or its end: whoever takes it will not wait."""
        ...

    def wait(self) -> int:
        """The chunk's exit code, negative for a signal, once it is over."""
        ...

    def stop(self, grace_s: float) -> bool:
        """See RenderProcess. Changes nothing once the chunk is over."""
        ...

    def abandon(self) -> None:
        """See RenderProcess."""
        ...


class RenderProcess:
    """A running renderer: a Rendering of its own, or of one chunk after another."""

    is_warm = False

    def __init__(
        self,
        spawner: Spawner,
        argv: list[str],
        working_dir: Path,
        environment: dict[str, str],
        takes_requests: bool = False,
    ) -> None:
        """Starts it. Raises Refusal with a sentence when that is not possible.

        `takes_requests`: its stdin is a pipe for `send`; otherwise it is empty.
        """
        stdin = subprocess.PIPE if takes_requests else subprocess.DEVNULL
        try:
            self._popen, self._tree = spawner.spawn(argv, working_dir, environment, stdin)
        except (OSError, ValueError) as error:
            raise Refusal(_spawn_failure(argv[0], working_dir, error)) from None
        self._chunks: queue.Queue[bytes] = queue.Queue(maxsize=CHUNKS_AHEAD)
        self._is_abandoned = threading.Event()
        self._drain_until: float | None = None
        self._has_no_tree = False  # everything that it started has ended, too
        try:
            threading.Thread(target=self._pump, name="renderer-output", daemon=True).start()
        except BaseException:
            self.abandon()
            raise

    @property
    def pid(self) -> int:
        return self._popen.pid

    def lines(self) -> Iterator[str]:
        """Its output, stdout and stderr as they come, without line ends and empty lines.

        Ends when the output does, or soon after the process has ended: what it left behind is
        ended then, so a background child that holds the pipe open holds up nobody.
        """
        splitter = LineSplitter()
        while chunk := self._next_chunk():
            yield from splitter.feed(chunk)
        yield from splitter.rest()

    @property
    def has_more(self) -> bool:
        """See Rendering."""
        return not self._chunks.empty()

    def wait(self) -> int:
        """The exit code (negative: the signal that ended it), once its whole tree has ended."""
        exit_code = self._popen.wait()
        if not self._has_no_tree:
            self._tree.end(grace_s=0)
        self._tree.close()
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        return exit_code

    def stop(self, grace_s: float) -> bool:
        """End the whole tree, gently for `grace_s`, then by force; True if nothing is left."""
        return self._tree.end(grace_s)

    def send(self, line: str) -> None:
        """Write a line to its stdin, blocking if the pipe is full. Raises OSError if it has ended."""
        pipe = self._popen.stdin
        assert pipe is not None
        pipe.write(f"{line}\n".encode())

    def finish(self, grace_s: float) -> None:
        """Tell it that no more requests come, and end what is left of it after `grace_s`. Blocks."""
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        self._is_abandoned.set()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(grace_s)
        self.abandon()

    def abandon(self) -> None:
        """End the whole tree by force where nobody takes its lines (any more). Blocks."""
        self._is_abandoned.set()
        if self.stop(grace_s=0):
            self.wait()

    def _next_chunk(self) -> bytes:
        """The next bytes of output; b"" when there are no more."""
        while True:
            self._look_for_exit()
            if self._drain_until is not None and time.monotonic() > self._drain_until:
                self._is_abandoned.set()
                return b""
            try:
                return self._chunks.get(timeout=LOOK_S)
            except queue.Empty:
                continue

    def _look_for_exit(self) -> None:
        if self._drain_until is None and self._popen.poll() is not None:
            self._has_no_tree = self._tree.end(grace_s=0)
            self._drain_until = time.monotonic() + DRAIN_S

    def _pump(self) -> None:
        """Move output from the pipe to the queue; b"" last. On a thread of its own.

        Once abandoned it goes on emptying the pipe, so that whoever writes there is not blocked.
        """
        pipe = self._popen.stdout
        assert pipe is not None
        with pipe:
            while chunk := pipe.read(CHUNK_BYTES):
                self._hand_over(chunk)
        self._hand_over(b"")

    def _hand_over(self, chunk: bytes) -> None:
        while not self._is_abandoned.is_set():
            with contextlib.suppress(queue.Full):
                self._chunks.put(chunk, timeout=LOOK_S)
                return


class LineSplitter:
    """Cuts a stream of bytes into lines of bounded length.

    A carriage return ends a line too (progress bars). What does not decode as UTF-8 is replaced.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._is_cut = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The lines that `chunk` completes, empty ones left out."""
        *ended, begun = re.split(rb"[\r\n]", chunk)
        for piece in ended:
            self._extend(piece)
            yield from self.rest()
        self._extend(begun)

    def rest(self) -> Iterator[str]:
        """What has been fed since the last line end, as a line, unless it is nothing."""
        if self._line:
            text = self._line.decode("utf-8", errors="replace")
            yield f"{text} [line cut]" if self._is_cut else text
        self._line.clear()
        self._is_cut = False

    def _extend(self, piece: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._line)
        self._line += piece[:room]
        self._is_cut = self._is_cut or len(piece) > room


def _spawn_failure(executable: str, working_dir: Path, error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return "The arguments hold a NUL character, which no program can be given."
    if not working_dir.is_dir():
        return f"The working folder {working_dir} is not there, so the renderer cannot be started."
    if isinstance(error, FileNotFoundError):
        return (
            f"There is no renderer {executable} on this machine. Correct `ExecutablePath` in the "
            "node's configuration and start the node again."
        )
    return f"The renderer {executable} cannot be started: {error.strerror or error}."
