"""Starting renderers on Linux and macOS, each as a group of its own, watched by the guard."""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from renderonline.node.posix_tree import MARK, PosixTree

log = logging.getLogger(__name__)

GUARD_CLOSE_S = 3.0


class PosixSpawner:
    """Starts renderers. Owns the node's guard process."""

    def __init__(self) -> None:
        """Raises OSError when the guard cannot be started."""
        self._guard = Guardian()

    def spawn(
        self,
        argv: list[str],
        working_dir: Path,
        environment: dict[str, str],
        stdin: int = subprocess.DEVNULL,
    ) -> tuple[subprocess.Popen[bytes], SpawnedTree]:
        """Start `argv`. Raises OSError or ValueError as `subprocess` does."""
        mark = secrets.token_hex(16)
        self._guard.tell(f"expect {mark}")  # first: the node may be killed right after the start
        try:
            process = subprocess.Popen(
                argv,
                cwd=working_dir,
                env={**environment, MARK: mark},
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,
            )
        except BaseException:
            self._guard.tell(f"forget {mark}")
            raise
        self._guard.tell(f"root {mark} {process.pid}")
        forget = f"forget {mark}"
        return process, SpawnedTree(PosixTree(mark, process.pid), lambda: self._guard.tell(forget))

    def close(self) -> None:
        """End the guard, which ends what is still running. Idempotent."""
        self._guard.close()


class SpawnedTree:
    """A tree that the guard knows of until it is closed."""

    def __init__(self, tree: PosixTree, forget: Callable[[], None]) -> None:
        self._tree = tree
        self._forget = forget

    def end(self, grace_s: float) -> bool:
        return self._tree.end(grace_s)

    def close(self) -> None:
        self._forget()


class Guardian:
    """The node's end of the pipe to its guard. Starts another guard if that one is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[str, list[str]] = {}  # mark: its lines, for a guard that takes over
        self._process = _start_guard()

    def tell(self, line: str) -> None:
        """Send one line (see `guard`). Any thread. A lost guard is replaced and told it all."""
        with self._lock:
            self._remember(line)
            if not self._send([line]):
                log.error("The guard of this node's renderers has ended; another is started.")
                self._process.wait()
                self._process = _start_guard()
                self._send([line for lines in self._told.values() for line in lines])

    def close(self) -> None:
        with self._lock:
            if self._process.stdin is not None:
                self._process.stdin.close()
            try:
                self._process.wait(GUARD_CLOSE_S)
            except subprocess.TimeoutExpired:
                log.warning("The guard is still ending a renderer that does not die.")

    def _remember(self, line: str) -> None:
        verb, mark = line.split()[:2]
        if verb == "forget":
            self._told.pop(mark, None)
        else:
            self._told.setdefault(mark, []).append(line)

    def _send(self, lines: list[str]) -> bool:
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            return True  # closed by us: the node is ending
        try:
            stdin.write("".join(f"{line}\n" for line in lines).encode())
            stdin.flush()
        except BrokenPipeError:
            return False
        return True


def _start_guard() -> subprocess.Popen[bytes]:
    """Start a guard in a session of its own, so that a terminal's Ctrl-C does not reach it."""
    return subprocess.Popen(
        guard_command(),
        env=guard_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )


def guard_command() -> list[str]:
    """How this program starts its guard: itself when frozen, a module when run from source."""
    if getattr(sys, "frozen", False):
        return [sys.executable, "node-guard"]
    return [sys.executable, "-P", "-m", "renderonline.node.guard"]


def guard_environment() -> dict[str, str]:
    """The environment in which `guard_command` finds our code."""
    environment = dict(os.environ)
    if getattr(sys, "frozen", False):
        # Otherwise the child shares our extraction folder, and loses it when we are killed.
        environment["PYINSTALLER_RESET_ENVIRONMENT"] = "1"
        return environment
    package_root = str(Path(__file__).resolve().parents[2])
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package_root, inherited)))
    return environment
