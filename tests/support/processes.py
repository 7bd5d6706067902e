"""Our own programs as real child processes: start, wait until ready, stop, kill.

Owns what such a child sees (a private home, none of the developer's settings) and what is shown of
it when a test fails: its exit code and the end of its stderr.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
READY = "listening on "

DEADLINE_S = 120.0
"""How long anything may take before a test gives up. Generous: only a real fault reaches it."""


class ProcessFailed(AssertionError):
    """A child ended, or did not become ready. Its text holds the end of what it said."""


def private_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: ours, with a home of its own and no RENDERONLINE_* setting."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RENDERONLINE_", "XDG_"))}
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        kept[name] = str(home)
    search = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(search), **(extra or {})}


def command(*arguments: str | Path) -> list[str]:
    """The argv of `renderonline …` with the Python that runs the tests."""
    return [sys.executable, "-m", "renderonline", *map(str, arguments)]


def run_cli(
    *arguments: str | Path,
    home: Path,
    environment: Mapping[str, str] | None = None,
    expected_exit: int = 0,
) -> subprocess.CompletedProcess[str]:
    """Run one command of the CLI to its end in `home`; fail the test at any other exit code."""
    done = subprocess.run(
        command(*arguments),
        env=private_environment(home, environment),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
    )
    if done.returncode != expected_exit:
        raise ProcessFailed(
            f"renderonline {' '.join(map(str, arguments))} ended with {done.returncode}, not "
            f"{expected_exit}.\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        )
    return done


def run_json(
    *arguments: str | Path, home: Path, environment: Mapping[str, str] | None = None
) -> Any:
    """Run a command with `--json` and return the one value it prints last."""
    done = run_cli(*arguments, "--json", home=home, environment=environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


class Service:
    """`renderonline api` or `renderonline node`, running. `url` is known once it is ready."""

    def __init__(
        self,
        mode: str,
        config: Path,
        environment: Mapping[str, str] | None = None,
        through: Callable[[Sequence[str]], list[str]] = list,
    ):
        """`through` makes the argv that runs a command elsewhere of the command."""
        self.mode = mode
        self.config = config
        self.url = ""
        self._environment = dict(environment or {})
        self._through = through
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll()

    @property
    def stderr(self) -> str:
        """All that its starts have logged so far."""
        return self._stderr_file.read_text(encoding="utf-8", errors="replace")

    def _start(self) -> None:
        folder = self.config.parent
        self._stderr_file = folder / f"{self.config.stem}.stderr.txt"
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.stdout_lines: list[str] = []
        with self._stderr_file.open("ab") as stderr:
            self._process = subprocess.Popen(
                self._through(command(self.mode, "--config", self.config)),
                env=private_environment(folder / "home", self._environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        # What it reads and fills is handed over: one that outlives its process must not touch the
        # next one's.
        threading.Thread(
            target=_read_lines,
            args=(self._process, self.stdout_lines, self._lines),
            daemon=True,
        ).start()
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        while True:
            try:
                line = self._lines.get(timeout=DEADLINE_S)
            except queue.Empty:
                self.kill()
                raise self._failed("did not become ready") from None
            if line is None:
                self._process.wait(DEADLINE_S)
                raise self._failed("ended before it was ready")
            if READY in line:
                self.url = line.split(READY, 1)[1].split()[0].rstrip("/")
                return

    def _failed(self, what: str) -> ProcessFailed:
        said = "\n".join(self.stdout_lines[-20:])
        return ProcessFailed(
            f"renderonline {self.mode} {what} (exit code {self.exit_code}).\n"
            f"--- stdout\n{said}\n--- stderr\n{self.stderr[-6000:]}"
        )

    def terminate(self) -> int:
        """Ask it to end as a service manager does; its exit code. Fails the test if it stays."""
        if self.exit_code is None:
            self._process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
        try:
            return self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failed("did not stop when asked") from None

    def interrupt(self) -> int:
        """Ctrl-C; its exit code."""
        self._process.send_signal(getattr(signal, "CTRL_C_EVENT", signal.SIGINT))
        return self._process.wait(DEADLINE_S)

    def kill(self) -> None:
        """`kill -9`: the process alone, without a word; what it had started is left to itself."""
        self._process.kill()
        self._process.wait(DEADLINE_S)

    def restart(self) -> None:
        """Start it again after `terminate` or `kill`, on the port it had, as on a real machine."""
        assert self.exit_code is not None, "it still runs"
        settings = json.loads(self.config.read_text(encoding="utf-8"))
        write_config(self.config, {**settings, "Port": str(self.port)})
        self._start()

    def show(self) -> str:
        """What a failed test prints of it."""
        return f"--- {self.mode} {self.url} (pid {self.pid})\n{self.stderr[-6000:]}"


def _read_lines(
    process: subprocess.Popen[str], kept: list[str], lines: queue.Queue[str | None]
) -> None:
    """Pass on what a process prints; None when it prints no more. On a thread of its own."""
    assert process.stdout is not None
    for line in process.stdout:
        kept.append(line.rstrip())
        lines.put(line)
    lines.put(None)


def write_config(file: Path, settings: Mapping[str, Any]) -> Path:
    """Write a JSON configuration file and return its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dict(settings), indent=2), encoding="utf-8")
    return file


@contextmanager
def service(
    mode: str,
    folder: Path,
    settings: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """A running api or node on a free port, with `settings` over private folders in `folder`."""
    name = {"api": "RenderAPI.json", "node": "HPCServer.json"}[mode]
    defaults = {"Port": "0", "Host": "127.0.0.1", "DataPath": str(folder / "data")}
    running = Service(mode, write_config(folder / name, {**defaults, **settings}), environment)
    try:
        yield running
    finally:
        end_all([running])


def end_all(services: Sequence[Service]) -> None:
    """Stop what still runs, printing its log (which pytest shows of a failed test)."""
    for running in services:
        print(running.show())
        if running.exit_code is None:
            running.terminate()
