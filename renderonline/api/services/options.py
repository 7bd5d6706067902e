"""How a task wants to be rendered, as its submitter says: checked, and as columns of `tasks`.

Priority, sizes, tags, dependencies, start time; the frames and the command line are `commands`'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from renderonline import wire
from renderonline.api.domain.arguments import BadArgument
from renderonline.api.domain.model import DEFAULT_PRIORITY, Engine
from renderonline.api.services.commands import Command
from renderonline.frames import FrameSet
from renderonline.names import has_control

MAX_PRIORITY = 100
MAX_NOTES = 4000
MAX_TAGS = 20
MAX_AFTER = 20
MAX_COUNT = 1_000_000

_TAG = re.compile(r"[A-Za-z0-9_.:-]{1,40}")
_VERSION = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")


def columns(
    request: wire.EnqueueRequest, engine: Engine, command: Command, is_own: Callable[[int], bool]
) -> dict[str, Any]:
    """The columns of a new task. `is_own`: whether the submitter has that task.

    Raises BadArgument with a sentence for the submitter.
    """
    chunk_frames = count("ChunkFrames", request.chunk_frames, least=0)
    size = engine.chunk_frames if chunk_frames is None else chunk_frames
    _check_gaps(command, size)
    frames = command.frames if command.recipe is not None and size != 0 else None
    return {
        "todo": None if frames is None else str(frames),
        "command": command.recipe,
        "preview": str(preview(frames)) if request.preview_first and frames is not None else None,
        "priority": priority(request.priority),
        "chunk_frames": chunk_frames,
        "machine_limit": count("MachineLimit", request.machine_limit),
        "engine_version": version(request.engine_version),
        "tags": tags(request.tags),
        "notes": notes(request.notes),
        "after_tasks": after(request.after, is_own),
        "start_at": moment(request.start_at),
        "limits": limits(request.limits),
    }


def changed(change: wire.TaskChange, is_own: Callable[[int], bool]) -> dict[str, Any]:
    """The columns that a change of a task sets, but for its frames and limits. Raises BadArgument."""
    checks: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "priority": ("priority", priority),
        "chunk_frames": ("chunk_frames", lambda value: count("ChunkFrames", value, least=0)),
        "machine_limit": ("machine_limit", lambda value: count("MachineLimit", value)),
        "tags": ("tags", tags),
        "notes": ("notes", notes),
        "after": ("after_tasks", lambda value: after(value, is_own)),
        "start_at": ("start_at", moment),
    }
    given = {name: getattr(change, name) for name in checks}
    return {
        checks[name][0]: checks[name][1](value)
        for name, value in given.items()
        if value is not msgspec.UNSET
    }


def _check_gaps(command: Command, size: int | None) -> None:
    is_split = command.recipe is not None and size != 0
    if not is_split and command.wanted is not None and not command.is_exact:
        raise BadArgument(
            f"Frames {str(command.wanted)[:60]} has gaps, and this task is rendered in one piece, "
            "as a movie is: give one range."
        )


def preview(frames: FrameSet) -> FrameSet:
    """The first, the middle and the last of the frames."""
    middle = frames.take((len(frames) + 1) // 2).last
    return FrameSet.of((frames.first, middle, frames.last))


def priority(value: int | None) -> int:
    """0 to 100; the default where none is given. Raises BadArgument."""
    if value is None:
        return DEFAULT_PRIORITY
    if not 0 <= value <= MAX_PRIORITY:
        raise BadArgument(f"Priority is {value}; it takes a number from 0 to {MAX_PRIORITY}.")
    return value


def count(name: str, value: int | None, least: int = 1) -> int | None:
    """A number from `least`, or None. Raises BadArgument."""
    if value is not None and not least <= value <= MAX_COUNT:
        raise BadArgument(f"{name} is {value}; it takes a number from {least} to {MAX_COUNT}.")
    return value


def version(value: str | None) -> str | None:
    """A version that is asked for, such as 4.5. Raises BadArgument."""
    if not value:
        return None
    if not _VERSION.fullmatch(value):
        raise BadArgument(f"EngineVersion is {value[:20]!r}; it takes one such as 4.5.")
    return value


def tags(values: Sequence[str]) -> str:
    """Tags as a column of words. Raises BadArgument."""
    for value in values:
        if not _TAG.fullmatch(value):
            raise BadArgument(
                f"{value[:40]!r} is not a tag: up to 40 letters, digits and any of _ . : -"
            )
    words = sorted(set(values))
    text = " ".join(words)
    if len(words) > MAX_TAGS or len(text) > 255:
        raise BadArgument(f"These are more than {MAX_TAGS} tags, or too long together.")
    return text


def notes(value: str | None) -> str | None:
    """Raises BadArgument."""
    if value is not None and len(value) > MAX_NOTES:
        raise BadArgument(f"Notes are longer than {MAX_NOTES} characters.")
    if value is not None and has_control(value.replace("\n", "").replace("\t", "")):
        raise BadArgument("Notes have control characters in them.")
    return value or None


def limits(value: wire.Limits | None) -> str | None:
    """Limits as JSON. Raises BadArgument."""
    if value is None:
        return None
    given = {k: v for k, v in msgspec.structs.asdict(value).items() if v is not None}
    for name, number in given.items():
        if not 1 <= number <= 2**50:
            raise BadArgument(f"Limits: {name} is {number}; it takes a number from 1 up.")
    return wire.encode(value).decode() if given else None


def changed_limits(change: wire.TaskChange, before: str | None) -> dict[str, Any]:
    """The column that a change of a task's limits, which were `before`, sets. Raises BadArgument."""
    if isinstance(change.limits, msgspec.UnsetType):
        return {}
    if change.limits is None:
        return {"limits": None}
    given = msgspec.structs.asdict(change.limits)
    known = merged_limits(before) or wire.Limits()
    wanted = {name: value for name, value in given.items() if value is not msgspec.UNSET}
    return {"limits": limits(msgspec.structs.replace(known, **wanted))}


def merged_limits(*texts: str | None) -> wire.Limits | None:
    """Several limits as JSON in one: what comes first counts. None if there is none at all."""
    found: dict[str, Any] = {}
    for text in texts:
        if text:
            known = msgspec.structs.asdict(wire.decode(text.encode(), wire.Limits))
            found = {k: v for k, v in known.items() if v is not None} | found
    return wire.Limits(**found) if found else None


def after(task_ids: Sequence[int], is_own: Callable[[int], bool]) -> str:
    """Tasks of the submitter's as a column of words. Raises BadArgument."""
    if len(task_ids) > MAX_AFTER:
        raise BadArgument(f"After names more than {MAX_AFTER} tasks.")
    for task_id in task_ids:
        if not is_own(task_id):
            raise BadArgument(f"After: you have no task {task_id}.")
    return " ".join(map(str, sorted(set(task_ids))))


def moment(text: str | None) -> datetime | None:
    """A moment in ISO 8601, without an offset UTC. Raises BadArgument."""
    if not text:
        return None
    try:
        read = datetime.fromisoformat(text)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadArgument(
            f"StartAt is {text[:40]!r}; it takes a moment such as 2026-01-31T20:00:00Z."
        ) from None
