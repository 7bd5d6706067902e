"""How far a task is, from its own frames and its active chunks. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from renderonline.api.domain.model import Chunk, Task
from renderonline.api.domain.transitions import ACTIVE_CHUNK
from renderonline.frames import FrameSet
from renderonline.wire import ChunkState, TaskState

MIN_PROGRESS_FOR_ETA = 0.02
"""Of a task in one piece; before that its end would be a guess."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A task and what tells of it: its active chunks, or of one piece the last."""

    task: Task
    chunks: tuple[Chunk, ...]

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

    @property
    def _telling(self) -> Chunk | None:
        """The last attempt, if its frames count: it runs, or ended by itself."""
        last = self.chunks[-1] if self.chunks else None
        gone = (ChunkState.LOST, ChunkState.INTERRUPTED)
        if last is None or last.state in gone:
            return None
        # Requeued since, it will be rendered again.
        is_past = self.task.state is TaskState.QUEUED and last.attempt_id <= self.task.forgiven
        return None if is_past and last.state not in ACTIVE_CHUNK else last


def piece_seconds_left(chunk: Chunk, now: datetime) -> float | None:
    """Of an active chunk that is a whole task, if it goes on as it did; None while that would be a
    guess."""
    if chunk.started_at is None or chunk.progress < MIN_PROGRESS_FOR_ETA:
        return None
    elapsed_s = (now - chunk.started_at).total_seconds()
    return max(0.0, elapsed_s * (1 - chunk.progress) / chunk.progress)
