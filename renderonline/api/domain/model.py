"""The things the farm is about, as plain values. Pure: no database, no clock, no HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from renderonline.wire import Cause, ChunkState, TaskState


class Role(StrEnum):
    """What a user may do."""

    ARTIST = "artist"  # everything with their own tasks
    ADMIN = "admin"  # everything with everybody's


@dataclass(frozen=True, slots=True)
class User:
    user_id: int
    first_name: str
    last_name: str
    email: str
    subscription_id: int
    is_active: bool
    role: Role


@dataclass(frozen=True, slots=True)
class Engine:
    engine_id: int
    name: str
    extension: str
    download_path: str  # empty: the api's own folder
    render_argument: str
    adapter: str  # empty: told from name and template
    file_pattern: str | None


@dataclass(frozen=True, slots=True)
class ArgType:
    argtype_id: str
    type: str
    regex: str | None
    default_value: str | None


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a node answers."""

    machine_id: int
    ip_address: str
    port: int


@dataclass(frozen=True, slots=True)
class Task:
    """A row of `tasks`. Its three times are the server's local time, without an offset."""

    task_id: int
    user_id: int
    queue_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    is_running: bool
    is_success: bool
    render_id: int
    machine_id: int | None
    state: TaskState
    version: int
    frames: str | None
    cause: Cause | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Render:
    render_id: int
    file_name: str
    file_path: str
    file_size: int
    arguments: str
    engine_id: int

    @property
    def task_dir(self) -> Path:
        """The folder that holds the project and, below it, the results."""
        return Path(self.file_path).parent

    @property
    def output_dir(self) -> Path:
        """What a renderer writes here are the results."""
        return self.task_dir / OUTPUT_FOLDER


OUTPUT_FOLDER = "output"


@dataclass(frozen=True, slots=True)
class Job:
    """A task with everything it is made of."""

    task: Task
    render: Render
    engine: Engine


@dataclass(frozen=True, slots=True)
class Chunk:
    """A frame range on one machine, with its attempt."""

    attempt_id: int
    task_id: int
    machine_id: int
    state: ChunkState
    frames: str | None
    key_hash: str
    sequence: int
    progress: float
    frames_done: int
    assigned_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    cause: Cause | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, as the machine tells it."""

    is_success: bool
    exit_code: int | None = None
    cause: Cause | None = None
    message: str | None = None
    frames_done: int | None = None
