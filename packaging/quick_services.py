"""The quick start's farm: an api and its nodes as processes of this machine.

Owns starting them, remembering them in a file (so that a farm is found again that `--keep`, or a
crash, has left), and ending them. They run apart from our terminal: Ctrl-C reaches us alone, and
we end them in order.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

READY = "listening on "
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0


class ServiceFailed(Exception):
    """A part of the farm did not start. Its text says which, why, and where its log is."""


@dataclass(frozen=True)
class Service:
    """A running api or node."""

    name: str
    process: psutil.Process
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


class Services:
    """The processes of one farm, with their files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[Service] = []

    def configure(self, mode: str, name: str, settings: Mapping[str, Any]) -> Path:
        """Write the configuration of the api or node that will be `name`; the file."""
        file = self.folder / name / {"api": "RenderAPI.json", "node": "HPCServer.json"}[mode]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dict(settings), indent=2), encoding="utf-8")
        return file

    def start(self, mode: str, config: Path) -> Service:
        """Start `renderonline <mode>` and wait until it listens. Raises ServiceFailed."""
        own, name = config.parent, config.parent.name
        said, log = own / "output.txt", own / "log.txt"
        with said.open("wb") as stdout, log.open("wb") as stderr:
            child = subprocess.Popen(
                command(mode, "--config", str(config)),
                env=clean_environment(),
                cwd=own,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                creationflags=getattr(subprocess, "DETACHED_PROCESS", 0),
            )
        service = Service(name, psutil.Process(child.pid), "")
        self.running.append(service)
        self._remember()
        ready = Service(name, service.process, _wait_until_ready(child, name, said, log))
        self.running[-1] = ready
        self._remember()
        return ready

    def stop(self) -> None:
        """End them all, the last one first, and forget them."""
        for service in reversed(self.running):
            end(service.process)
        self.running.clear()
        self._record.unlink(missing_ok=True)

    def keep(self) -> None:
        """Let them run on; `recorded` finds them."""
        self._remember(kept=True)

    @property
    def _record(self) -> Path:
        return self.folder.with_suffix(".json")

    def _remember(self, kept: bool = False) -> None:
        processes = [
            {"Pid": s.process.pid, "Created": s.process.create_time()} for s in self.running
        ]
        urls = {service.name: service.url for service in self.running}
        self._record.write_text(
            json.dumps({"Kept": kept, "Urls": urls, "Processes": processes}), encoding="utf-8"
        )

    def recorded(self) -> tuple[list[psutil.Process], dict[str, str], bool]:
        """What an earlier run left running: processes, addresses, and whether on purpose."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return [], {}, False
        alive = []
        for entry in record["Processes"]:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(entry["Pid"])
                # Another process may have got the number since; its birthday tells.
                if process.create_time() == entry["Created"]:
                    alive.append(process)
        return alive, record["Urls"], record["Kept"]

    def stop_recorded(self) -> int:
        """End what an earlier run left; how many processes that were."""
        processes, _urls, _kept = self.recorded()
        for process in reversed(processes):
            end(process)
        self._record.unlink(missing_ok=True)
        return len(processes)


def end(process: psutil.Process) -> None:
    """Ask a process to end (on Windows: end it); after a while, insist."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_S)


def command(*arguments: str) -> list[str]:
    """The argv of `renderonline …` in our own environment."""
    return [sys.executable, "-m", "renderonline", *arguments]


def clean_environment() -> dict[str, str]:
    """Our environment without the settings of another farm."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("RENDERONLINE_")
    }


def _wait_until_ready(child: subprocess.Popen[bytes], name: str, said: Path, log: Path) -> str:
    """The address that the child says it listens on."""
    end_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end_s:
        text = said.read_text(encoding="utf-8", errors="replace")
        if READY in text and text.endswith("\n"):
            return text.split(READY, 1)[1].split()[0].rstrip("/")
        if child.poll() is not None:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-6:]
            raise ServiceFailed(
                f"The {name} did not start. Its log ({log}) ends:\n" + "\n".join(last)
            )
        time.sleep(0.05)
    raise ServiceFailed(f"The {name} was not ready after {START_TIMEOUT_S:.0f} s; see {log}.")
