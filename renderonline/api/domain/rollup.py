"""What a task with variants is, by what its variants are. Pure.

Such a task has neither frames nor chunks and takes no events: its row follows those of its variants.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from renderonline.api.domain.forecast import Forecast
from renderonline.api.domain.model import Task
from renderonline.api.domain.standing import Standing
from renderonline.api.domain.transitions import QUEUED_TASK
from renderonline.wire import TaskState

_TELLING = (
    TaskState.RUNNING,
    TaskState.QUEUED,
    TaskState.PAUSED,
    TaskState.FAILED,
    TaskState.CANCELLED,
    TaskState.SUCCEEDED,
)
"""As long as a variant is in the queue, so is the whole; it has succeeded only if all of it has."""


def state_of(states: Collection[TaskState]) -> TaskState:
    """The state of a task whose variants are in `states`, at least one."""
    return next(state for state in _TELLING if state in states)


def rolled_up(whole: Task, parts: Sequence[Task]) -> Task:
    """The task as it is now that its variants, at least one, are `parts`."""
    state = state_of({part.state for part in parts})
    begun = [part for part in parts if part.start_time is not None]
    ended = [part.end_time for part in parts if part.end_time is not None]
    latest = max(begun, key=lambda part: (part.start_time, part.task_id), default=None)
    failed = next((part for part in parts if part.state is state is TaskState.FAILED), None)
    return replace(
        whole,
        state=state,
        is_running=state is TaskState.RUNNING,
        is_success=state is TaskState.SUCCEEDED,
        start_time=min((part.start_time for part in begun if part.start_time), default=None),
        end_time=None if state in QUEUED_TASK else max(ended, default=None),
        machine_id=None if latest is None else latest.machine_id,
        cause=None if failed is None else failed.cause,
        message=_message(state, parts),
    )


def _message(state: TaskState, parts: Sequence[Task]) -> str | None:
    """Which variants kept it from succeeding, and what the first of them says."""
    if state not in (TaskState.FAILED, TaskState.CANCELLED):
        return None
    concerned = [part for part in parts if part.state is state]
    why = concerned[0].message or ""
    if len(concerned) == len(parts):
        return why or None
    names = ", ".join(part.variant or "" for part in concerned)
    return f"Variant{'s' if len(concerned) > 1 else ''} {names}: {why}".strip()


@dataclass(frozen=True, slots=True)
class Sum:
    """How far a task is whose variants are so far; read as a `Standing`."""

    parts: tuple[Standing, ...]

    @property
    def frames_total(self) -> int | None:
        """None where the frames of one are not known."""
        totals = [part.frames_total for part in self.parts]
        return None if None in totals else sum(total or 0 for total in totals)

    @property
    def frames_done(self) -> int:
        return sum(part.frames_done for part in self.parts)

    @property
    def frames_failed(self) -> int:
        return sum(part.frames_failed for part in self.parts)

    @property
    def progress(self) -> float:
        """0-1. By frames; where those are not known, each variant counts the same."""
        known = self.frames_total
        weights = [part.frames_total or 0 if known else 1 for part in self.parts]
        gained = sum(w * part.progress for w, part in zip(weights, self.parts, strict=True))
        return min(gained / (sum(weights) or 1), 1.0)


def last_of(parts: Sequence[Forecast]) -> Forecast:
    """Of a task whose variants in the queue, at least one, have these: that of the last one; none,
    as long as one has none."""
    unknown = next((part for part in parts if part.seconds is None), None)
    return unknown or max(parts, key=lambda part: part.seconds or 0.0)


def warnings(by_variant: Mapping[str, Sequence[str]]) -> list[str]:
    """Each sentence once, with the variants that it is about unless it is about all of them."""
    concerned: dict[str, list[str]] = {}
    for name, texts in by_variant.items():
        for text in dict.fromkeys(texts):
            concerned.setdefault(text, []).append(name)
    return [
        text if len(names) == len(by_variant) else f"{', '.join(names)}: {text}"
        for text, names in concerned.items()
    ]
