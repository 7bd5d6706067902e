"""Rows to the domain's values; the one place that knows both."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from renderonline.api.domain import model
from renderonline.frames import FrameSet
from renderonline.wire import Cause, ChunkState, Reason, TaskState


def user(row: Any) -> model.User:
    role = model.Role.ADMIN if row.role == model.Role.ADMIN else model.Role.ARTIST
    return model.User(
        row.user_id,
        row.first_name,
        row.last_name,
        row.email,
        row.subscription_id,
        row.is_active,
        role,
    )


def engine(row: Any) -> model.Engine:
    return model.Engine(
        row.engine_id,
        row.name,
        row.extension,
        row.download_path or "",
        row.render_argument or "",
        row.adapter or "",
        row.file_pattern or None,
        row.chunk_frames,
        row.machine_limit,
        row.version or None,
        row.limits or None,
    )


def argtype(row: Any) -> model.ArgType:
    return model.ArgType(row.argtype_id, row.type, row.regex or None, row.default_value)


def machine(row: Any) -> model.Machine:
    known = row.state in list(model.MachineState)
    return model.Machine(
        row.machine_id,
        row.ip_address,
        row.port,
        row.name or "",
        model.MachineState(row.state) if known else model.MachineState.DISABLED,
        row.reason,
        words(row.tags),
        frozenset(name.lower() for name in words(row.only_engines)),
        row.forgiven,
        _texts(row.path_map),
        row.hours or "",
        frozenset(int(word) for word in words(row.only_users) if word.isdecimal()),
        row.reserve or "",
    )


def _texts(column: str | None) -> tuple[str, ...]:
    """A JSON list of texts; what is none was put there by hand, and is not there."""
    try:
        found = json.loads(column or "[]")
    except ValueError:
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


def render(row: Any) -> model.Render:
    return model.Render(
        row.render_id,
        row.file_name,
        row.file_path,
        row.file_size,
        row.arguments or "",
        row.engine_id,
        row.manifest or None,
        row.folder or None,
    )


def task(row: Any) -> model.Task:
    return model.Task(
        task_id=row.task_id,
        user_id=row.user_id,
        queue_time=_time(row.queue_time) or datetime.min,
        start_time=_time(row.start_time),
        end_time=_time(row.end_time),
        is_running=row.is_running,
        is_success=row.is_success,
        render_id=row.render_id,
        machine_id=row.machine_id,
        state=TaskState(row.state),
        version=row.version,
        frames=row.frames,
        cause=_cause(row.cause),
        message=row.message,
        todo=None if row.todo is None else _frames(row.todo),
        done=_frames(row.done),
        failed=_frames(row.failed),
        preview=_frames(row.preview),
        command=row.command,
        priority=row.priority,
        chunk_frames=row.chunk_frames,
        machine_limit=row.machine_limit,
        engine_version=row.engine_version,
        tags=words(row.tags),
        notes=row.notes,
        after_tasks=tuple(int(number) for number in (row.after_tasks or "").split()),
        start_at=row.start_at,
        limits=row.limits,
        forgiven=row.forgiven,
        parent_id=row.parent_id,
        variant=row.variant,
    )


def chunk(row: Any) -> model.Chunk:
    return model.Chunk(
        attempt_id=row.attempt_id,
        task_id=row.task_id,
        machine_id=row.machine_id,
        state=ChunkState(row.state),
        frames=row.frames,
        key_hash=row.key_hash,
        sequence=row.sequence,
        progress=row.progress,
        frames_done=row.frames_done,
        assigned_at=row.assigned_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        exit_code=row.exit_code,
        cause=_cause(row.cause),
        message=row.message,
        done=_frames(row.done),
        reason=Reason(row.reason) if row.reason in list(Reason) else None,
        copy_of=row.copy_of,
        after=row.after,
    )


def record(row: Any) -> model.Record:
    return model.Record(
        row.frames,
        row.render_s,
        row.startup_s,
        row.is_warm,
        row.failures,
        row.not_before,
        row.is_avoided,
        row.memory_bytes,
        row.peak_bytes,
    )


def words(text: str | None) -> frozenset[str]:
    """What a column of words, separated by blanks, holds."""
    return frozenset((text or "").split())


def job(row: Any) -> model.Job:
    """A row of `tables.Task` joined with its render and engine, as `tasks.jobs` selects it."""
    return model.Job(task(row), render(row.render), engine(row.render.engine))


def _frames(text: str | None) -> FrameSet:
    return FrameSet.parse(text) if text else FrameSet()


def _cause(value: str | None) -> Cause | None:
    return Cause(value) if value and value in list(Cause) else None


def _time(value: datetime | str | None) -> datetime | None:
    """SQLite gives text where a row was written by hand in a form that peewee does not know."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value
