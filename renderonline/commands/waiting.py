"""Waiting for tasks: asking the farm how they do, and showing it, until each has come to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from renderonline import wire
from renderonline.client import Client, NotFound, Unreachable
from renderonline.commands import output
from renderonline.commands.progress import on_terminal

FINAL = frozenset(
    {wire.TaskState.SUCCEEDED, wire.TaskState.FAILED, wire.TaskState.CANCELLED},
)
ACTIVE = frozenset({wire.ChunkState.ASSIGNED, wire.ChunkState.RUNNING})

PATIENCE_S = 120.0
"""How long a farm may be away while we wait: long enough to restart a machine."""


class Board(Protocol):
    """Where the tasks' progress is shown."""

    def show(self, detail: wire.TaskDetail) -> None: ...


def ends(
    client: Client,
    names: Mapping[int, str],
    meanwhile: Callable[[int, wire.TaskDetail], None] = lambda _id, _seen: None,
) -> Iterator[tuple[int, wire.TaskDetail | NotFound]]:
    """Follow tasks (id → what to call it): each as it comes to its end, or that it was deleted.

    Says their warnings too, such as why a task gets no machine: each once, when it is news. Calls
    `meanwhile` with each look at a task, also the last one, and before its end is told.
    A farm that goes away is waited for; raises Unreachable when PATIENCE_S is over.
    """
    waiting_for = dict(names)
    said: set[tuple[str, str]] = set()
    began_s = answered_s = time.monotonic()
    with board(names) as shown:
        while waiting_for:
            try:
                for task_id in list(waiting_for):
                    seen = _look(client, task_id)
                    answered_s = time.monotonic()
                    if isinstance(seen, wire.TaskDetail):
                        shown.show(seen)
                        _warn(names[task_id], seen.warnings, said)
                        meanwhile(task_id, seen)
                    if isinstance(seen, NotFound) or seen.task.state in FINAL:
                        del waiting_for[task_id]
                        yield task_id, seen
            except Unreachable as error:
                _be_patient(error, time.monotonic() - answered_s)
            if waiting_for:
                time.sleep(pause_s(time.monotonic() - began_s))


def _look(client: Client, task_id: int) -> wire.TaskDetail | NotFound:
    try:
        return client.task(task_id)
    except NotFound as error:
        return error


def _warn(name: str, warnings: Sequence[str], said: set[tuple[str, str]]) -> None:
    """Say the warnings that were not `said` of the project yet."""
    for warning in warnings:
        if (name, warning) not in said:
            said.add((name, warning))
            output.say(f"Warning: {name}: {warning}")


def pause_s(age_s: float) -> float:
    """How long to wait before asking again: a young task moves quickly, an old one is not rushed."""
    return min(1.0, max(0.1, age_s / 10))


def _be_patient(error: Unreachable, away_s: float) -> None:
    if away_s > PATIENCE_S:
        raise error
    if away_s < 1.0:
        output.say(f"{error} Waiting for it to come back.")


def at_work(detail: wire.TaskDetail) -> list[int]:
    """The machines that work on a task now."""
    return sorted({chunk.machine_id for chunk in detail.chunks if chunk.state in ACTIVE})


def machines(detail: wire.TaskDetail) -> list[int]:
    """The same, or else the machine that did last."""
    active = at_work(detail)
    if active or detail.task.machine_id is None:
        return active
    return [detail.task.machine_id]


def frames_text(task: wire.Task | wire.VariantTask) -> str:
    """How many frames of how many, or how much where frames are not known."""
    if task.frames_total is None:
        return f"{task.progress:.0%}"
    failed = f", {task.frames_failed} failed" if task.frames_failed else ""
    return f"{task.frames_done}/{task.frames_total} frames{failed}"


def left_text(task: wire.Task) -> str:
    """How long it will still take, as far as that is known; nothing of a task that is over."""
    if task.eta_seconds is not None:
        return f"{span_text(task.eta_seconds)} left"
    return "not known yet" if task.eta_unknown and task.state is not wire.TaskState.PAUSED else ""


def span_text(seconds: float) -> str:
    """A time as h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def where_text(detail: wire.TaskDetail) -> str:
    """On which machine, or machines."""
    ids = machines(detail)
    if not ids:
        return ""
    return f"machine{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids))}"


# --------------------------------------------------------------------------- the two boards


@contextmanager
def board(names: Mapping[int, str]) -> Iterator[Board]:
    """Bars on a terminal, lines elsewhere."""
    if not on_terminal():
        yield _Lines(names)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars, names)


class _Bars:
    """One bar for each task."""

    def __init__(self, bars: Progress, names: Mapping[int, str]) -> None:
        self._bars = bars
        self._ids = {
            task_id: bars.add_task(output.plain(name), total=1.0, told="")
            for task_id, name in names.items()
        }

    def show(self, detail: wire.TaskDetail) -> None:
        task = detail.task
        bar = self._ids[task.task_id]
        told = [task.state, frames_text(task), left_text(task), where_text(detail)]
        self._bars.update(bar, completed=task.progress, told=" · ".join(filter(None, told)))
        if task.state in FINAL:
            self._bars.stop_task(bar)


class _Lines:
    """A line for each thing that changes: the state, the machine, a tenth of the work."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names
        self._said: dict[int, tuple[object, ...]] = {}

    def show(self, detail: wire.TaskDetail) -> None:
        task = detail.task
        news = (task.state, where_text(detail), int(task.progress * 10))
        if self._said.get(task.task_id) == news:
            return
        self._said[task.task_id] = news
        told = [task.state, frames_text(task), where_text(detail)]
        output.say(f"{self._names[task.task_id]}: {', '.join(filter(None, told))}")
