"""The things the farm is about, as plain values. Pure: no database, no clock, no HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from renderonline.frames import FrameSet
from renderonline.wire import Cause, ChunkState, Reason, TaskState

DEFAULT_PRIORITY = 50
"""Of 0 to 100."""


class Role(StrEnum):
    """What a user may do."""

    ARTIST = "artist"  # everything with their own tasks
    ADMIN = "admin"  # everything with everybody's


class MachineState(StrEnum):
    """Whether a machine gets work."""

    ENABLED = "enabled"
    DRAINING = "draining"  # ends what it has, gets nothing more
    DISABLED = "disabled"  # what it had was taken away
    BENCHED = "benched"  # failed too often; an admin can forgive


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
    chunk_frames: int | None = None  # None: as many as suits
    machine_limit: int | None = None  # licences: most machines at once
    version: str | None = None  # "4.5"; None: any
    limits: str | None = None  # wire.Limits as JSON


@dataclass(frozen=True, slots=True)
class ArgType:
    argtype_id: str
    type: str
    regex: str | None
    default_value: str | None


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a node answers, and what it may be used for."""

    machine_id: int
    ip_address: str
    port: int
    name: str = ""
    state: MachineState = MachineState.ENABLED
    reason: str | None = None
    tags: frozenset[str] = frozenset()
    only_engines: frozenset[str] = frozenset()  # lower case; empty: all that it has
    forgiven: int = 0
    path_map: tuple[str, ...] = ()  # FROM=TO: our paths and its own
    hours: str = ""  # as `hours.parse` reads them; empty: always
    only_users: frozenset[int] = frozenset()  # empty: everybody's tasks
    reserve: str = ""  # a tag; what does not ask for it comes last. Empty: none


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
    todo: FrameSet | None = None  # frames that nobody works on; None: the task is one piece
    done: FrameSet = FrameSet()
    failed: FrameSet = FrameSet()  # given up
    preview: FrameSet = FrameSet()  # of todo: before the rest
    command: str | None = None
    priority: int = DEFAULT_PRIORITY
    chunk_frames: int | None = None
    machine_limit: int | None = None
    engine_version: str | None = None
    tags: frozenset[str] = frozenset()
    notes: str | None = None
    after_tasks: tuple[int, ...] = ()
    start_at: datetime | None = None
    limits: str | None = None
    forgiven: int = 0
    parent_id: int | None = None
    variant: str | None = None  # its name; empty: the task has variants

    @property
    def has_variants(self) -> bool:
        """Whether it only stands for its variants, which are tasks of their own."""
        return self.variant == ""

    @property
    def is_split(self) -> bool:
        """Whether its frames may be rendered in several pieces."""
        return self.todo is not None


@dataclass(frozen=True, slots=True)
class Render:
    render_id: int
    file_name: str
    file_path: str
    file_size: int
    arguments: str
    engine_id: int
    manifest: str | None = None  # SHA-256 of the project's manifest; None: none was made yet
    folder: str | None = None  # None: the one that the project's main file lies in

    @property
    def task_dir(self) -> Path:
        """The folder that holds the project and, below it, the results."""
        return Path(self.folder) if self.folder else Path(self.file_path).parent

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

    @property
    def output_dir(self) -> Path:
        """What a renderer writes here are the results; of a variant, a folder of its own."""
        folder = self.render.output_dir
        return folder / self.task.variant if self.task.variant else folder


@dataclass(frozen=True, slots=True)
class Chunk:
    """A frame range, or every nth frame of one, on one machine, with its attempt."""

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
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    cause: Cause | None = None
    message: str | None = None
    done: FrameSet = FrameSet()  # of frames: saved and checked
    reason: Reason | None = None
    copy_of: int | None = None
    after: int | None = None

    @property
    def frame_set(self) -> FrameSet:
        """Its frames; empty where they are not known."""
        return FrameSet.parse(self.frames) if self.frames else FrameSet()


@dataclass(frozen=True, slots=True)
class Record:
    """What one machine did with one task."""

    frames: int = 0  # rendered here
    render_s: float = 0.0  # all of them together
    startup_s: float | None = None  # of the last start of the renderer
    is_warm: bool = False  # the renderer is still open
    failures: int = 0  # since the last success
    not_before: datetime | None = None
    is_avoided: bool = False  # others first
    memory_bytes: int | None = None  # it ran out of memory, having so much
    peak_bytes: int | None = None  # the most that an attempt used

    @property
    def frame_s(self) -> float | None:
        """Seconds per frame, over all that it rendered of the task."""
        return self.render_s / self.frames if self.frames else None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a machine has failed of a task since it last succeeded there, for people."""

    task_id: int
    machine_id: int
    failures: int
    is_avoided: bool  # it gets nothing of the task as long as another machine could do it
    not_before: datetime | None  # back-off
    cause: Cause | None  # of the last failure there
    message: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended, as the machine tells it."""

    is_success: bool
    exit_code: int | None = None
    cause: Cause | None = None
    message: str | None = None
    frames_done: int | None = None
    frames: FrameSet | None = None  # saved and checked; None: not known
    reason: Reason | None = None
    startup_s: float | None = None  # start to the first sign of rendering
    render_s: float | None = None  # from there to the last frame saved
    memory_bytes: int | None = None
    is_warm: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that failed, as far as later decisions depend on it."""

    machine_id: int
    cause: Cause
    frame: int | None  # the first one that it still owed; None: the task is one piece
