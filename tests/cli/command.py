"""A command of ours that runs while a test goes on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support import processes


class Command:
    """One process; `said` is its stderr so far."""

    def __init__(self, home: Path, environment: Mapping[str, str], *words: object) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._out, self._err = home / "out.txt", home / "err.txt"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                processes.command(*map(str, words)),
                env=processes.private_environment(home, environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def said(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def result(self, exit_code: int) -> Any:
        """Its JSON, once it has ended with this code."""
        assert self.process.wait(processes.DEADLINE_S) == exit_code, self.said
        return json.loads(self._out.read_text(encoding="utf-8"))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
