"""How far a task is, from its own frames and its active chunks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from renderonline.api.domain.model import Chunk, Record, Task
from renderonline.api.domain.transitions import ACTIVE_CHUNK
from renderonline.frames import FrameSet
from renderonline.wire import ChunkState, TaskState

MIN_PROGRESS_FOR_ETA = 0.02
"""Of a task in one piece; before that its end would be a guess."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A task, what tells of it (its active chunks, or of one piece the last), and the paces."""

    task: Task
    chunks: tuple[Chunk, ...]
    records: Mapping[int, Record]

    @property
    def frames_total(self) -> int | None:
        """None where the frames are not known."""
        return len(FrameSet.parse(self.task.frames)) if self.task.frames else None

    @property
    def frames_done(self) -> int:
        if self.task.state is TaskState.SUCCEEDED:
            return self.frames_total or 0
        if not self.task.is_split:
            return self._telling.frames_done if self._telling else 0
        done = self.task.done
        for chunk in self.chunks:
            done |= chunk.done
        return len(done)

    @property
    def frames_failed(self) -> int:
        """Given up; of a task that has failed as a whole, all that are not there."""
        if self.task.state is not TaskState.FAILED:
            return len(self.task.failed)
        return max((self.frames_total or 0) - self.frames_done, 0)

    @property
    def progress(self) -> float:
        """0-1. Counts the parts of frames that are being rendered, too."""
        if self.task.state is TaskState.SUCCEEDED:
            return 1.0
        if not self.task.is_split:
            return self._telling.progress if self._telling else 0.0
        total = self.frames_total or 1
        parts = sum(
            max(c.progress * len(c.frame_set) - len(c.done), 0.0)
            for c in self.chunks
            if c.copy_of is None
        )
        return min((self.frames_done + parts) / total, 1.0)

    def eta_seconds(self, now: datetime) -> int | None:
        """Seconds left, if machines go on as they did; None while that would be a guess."""
        if self.task.state is not TaskState.RUNNING:
            return None
        if not self.task.is_split:
            return _of_one_piece(self._telling, now)
        rates = [1 / r.frame_s for r in self._at_work() if r.frame_s]
        left = (self.frames_total or 0) * (1 - self.progress) - len(self.task.failed)
        return max(0, round(left / sum(rates))) if rates else None

    def _at_work(self) -> list[Record]:
        machines = {chunk.machine_id for chunk in self.chunks}
        return [record for machine, record in self.records.items() if machine in machines]

    @property
    def _telling(self) -> Chunk | None:
        """The last attempt, if its frames count: it runs, or ended by itself."""
        last = self.chunks[-1] if self.chunks else None
        gone = (ChunkState.LOST, ChunkState.INTERRUPTED)
        return None if last is None or last.state in gone else last


def _of_one_piece(chunk: Chunk | None, now: datetime) -> int | None:
    if chunk is None or chunk.state not in ACTIVE_CHUNK or chunk.started_at is None:
        return None
    if chunk.progress < MIN_PROGRESS_FOR_ETA:
        return None
    elapsed_s = (now - chunk.started_at).total_seconds()
    return max(0, round(elapsed_s * (1 - chunk.progress) / chunk.progress))
