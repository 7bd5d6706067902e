"""What this machine has, and how it feels: engines and their versions, cores, memory, load, disk."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from renderonline.lifecycle import Clock
from renderonline.node.renderers import Renderer
from renderonline.wire import EngineInfo, Vitals

log = logging.getLogger(__name__)

VITALS_S = 1.0
"""How long vitals are told again without another look."""


class Equipment:
    """Any thread. Nothing here waits for a renderer, nor for a disk other than the data folder's."""

    def __init__(
        self, renderers: Sequence[Renderer], tags: Sequence[str], data_dir: Path, clock: Clock
    ) -> None:
        self.renderers = tuple(renderers)
        self.tags = tuple(tags)
        self.platform = sys.platform
        self.cores = psutil.cpu_count() or 1
        self.memory_bytes = int(psutil.virtual_memory().total)
        self._data_dir = data_dir
        self._clock = clock
        self._versions: dict[str, str] = {}  # by engine id
        self._vitals: Vitals | None = None
        self._looked_at = 0.0

    def ask_versions(self, then: Callable[[], None]) -> None:
        """Ask each engine its version, once, on a thread of its own; `then()` when some are known.

        That takes a second each, from a cold network disk many.
        """

        def ask() -> None:
            for renderer in self.renderers:
                version = renderer.adapter.version(renderer.executable)
                if version is not None:
                    self._versions[renderer.engine_id] = version
            if self._versions:
                then()

        threading.Thread(target=ask, name="versions", daemon=True).start()

    def engines(self) -> list[EngineInfo]:
        """The engines, with the versions that are known by now."""
        return [
            EngineInfo(
                engine_id=renderer.engine_id,
                adapter=renderer.adapter.name,
                version=self._versions.get(renderer.engine_id),
            )
            for renderer in self.renderers
        ]

    def vitals(self) -> Vitals:
        """Load, memory and disk, at most a second old."""
        now = self._clock.monotonic()
        vitals = self._vitals
        if vitals is None or now - self._looked_at >= VITALS_S:
            vitals = self._vitals = self._look()
            self._looked_at = now
        return vitals

    def _look(self) -> Vitals:
        vitals = Vitals(memory_free_bytes=int(psutil.virtual_memory().available))
        with contextlib.suppress(OSError):  # Windows may refuse its performance counters
            vitals.load = round(psutil.getloadavg()[0] / self.cores, 3)
        with contextlib.suppress(OSError):
            vitals.disk_free_bytes = int(psutil.disk_usage(str(self._data_dir)).free)
        return vitals
