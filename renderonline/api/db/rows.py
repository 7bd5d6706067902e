"""Rows to the domain's values; the one place that knows both."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from renderonline.api.domain import model
from renderonline.wire import Cause, ChunkState, TaskState


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
    )


def argtype(row: Any) -> model.ArgType:
    return model.ArgType(row.argtype_id, row.type, row.regex or None, row.default_value)


def machine(row: Any) -> model.Machine:
    return model.Machine(row.machine_id, row.ip_address, row.port)


def render(row: Any) -> model.Render:
    return model.Render(
        row.render_id,
        row.file_name,
        row.file_path,
        row.file_size,
        row.arguments or "",
        row.engine_id,
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
    )


def job(row: Any) -> model.Job:
    """A row of `tables.Task` joined with its render and engine, as `tasks.jobs` selects it."""
    return model.Job(task(row), render(row.render), engine(row.render.engine))


def _cause(value: str | None) -> Cause | None:
    return Cause(value) if value and value in list(Cause) else None


def _time(value: datetime | str | None) -> datetime | None:
    """SQLite gives text where a row was written by hand in a form that peewee does not know."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value
