"""What clients and api say to each other: the original's five routes, and ours."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from renderonline.wire.message import Message
from renderonline.wire.nodes import Limits, LimitsChange
from renderonline.wire.projects import Manifest
from renderonline.wire.states import Cause, ChunkState, TaskState


class ErrorBody(Message):
    """The one shape of an error on every route of ours."""

    error: str  # a stable code in snake_case, for programs
    error_message: str  # a sentence: what happened, to which thing
    hint: str = ""  # a sentence: what to do now


# --------------------------------------------------------------------------- the original's five


class User(Message):
    user_id: int
    first_name: str
    last_name: str
    email: str
    subscription_id: int
    is_active: bool


class Task(Message):
    task_id: int
    user_id: int
    queue_time: str | None  # the server's local time, as are the next two
    start_time: str | None
    end_time: str | None
    is_running: bool
    is_success: bool
    render_id: int
    machine_id: int | None  # null above 255: the original's client reads one byte
    state: TaskState = TaskState.QUEUED
    progress: float = 0.0  # 0-1
    frames_total: int | None = None  # None where the frames are not known (not a range)
    frames_done: int = 0
    frames_failed: int = 0
    eta_seconds: int | None = None  # until its last frame, waiting included
    eta_unknown: str | None = None  # a sentence: why a task in the queue has no EtaSeconds
    cause: str | None = None  # a sentence, once the task has failed
    priority: int = 50
    tags: list[str] = []
    notes: str | None = None
    after: list[int] = []
    start_at: str | None = None  # UTC, with Z
    frames: str | None = None
    frames_left: str | None = None  # that nobody works on; None: the task is one piece
    frames_given_up: str | None = None
    parent_id: int | None = None  # of a variant: the task that it is one of
    variant: str | None = None  # its name, which is also its folder's in the results
    limits: Limits | None = None  # its own; where they say nothing its engine's hold


class Render(Message):
    render_id: int
    file_name: str
    file_path: str
    file_size: int
    arguments: str
    engine_id: int


class Engine(Message):
    engine_id: int
    name: str
    extension: str
    download_path: str
    render_argument: str


class TaskInfo(Message):
    task: Task
    render: Render
    engine: Engine


class InfoResponse(Message):
    user: User
    tasks: list[TaskInfo]


class ArgumentValue(Message):
    arg_type_id: str = ""
    value: str = ""


class Variant(Message):
    """One of several outputs of one project. What is not given is the submission's."""

    name: str = ""  # of its folder in the results
    engine_id: str = ""
    arguments: list[ArgumentValue] = []
    frames: str | None = None
    engine_version: str | None = None
    scene: str | None = None
    camera: str | None = None
    view_layer: str | None = None


class EnqueueRequest(Message):
    engine_id: str = ""  # a string in the original; compared with the numeric engine_id
    arguments: list[ArgumentValue] = []
    frames: str | None = None  # "1-250x2,300"; else the start_frame and end_frame arguments
    priority: int | None = None  # 0-100, 50 if not given
    chunk_frames: int | None = None  # 0: one piece; not given: as many as suits
    machine_limit: int | None = None  # most machines at once
    engine_version: str | None = None  # "4.5"
    scene: str | None = None  # of the .blend, by name; what is not given is the file's to say
    camera: str | None = None  # the object's name
    view_layer: str | None = None  # the only one that is rendered
    tags: list[str] = []  # a machine must have all of them
    after: list[int] = []  # tasks that must have succeeded before
    start_at: str | None = None  # ISO 8601; without an offset UTC
    preview_first: bool = False  # first, middle and last frame before the rest
    notes: str | None = None
    limits: Limits | None = None
    variants: list[Variant] = []
    manifest: Manifest | None = (
        None  # the project, whose files are there already; then no file part
    )


class EnqueueResponse(Message):
    is_added: bool
    error_message: str
    task_id: int | None = None


class TaskCreated(Message):
    """The answer to a submission by POST tasks."""

    task_id: int


class TaskRequest(Message):
    """The body of dequeue, download and delete."""

    task_id: int = 0


class DequeueResponse(Message):
    is_removed: bool
    error_message: str


class DownloadResponse(Message):
    download_provided: bool
    error_message: str


class DeleteResponse(Message):
    is_deleted: bool
    error_message: str


# --------------------------------------------------------------------------- ours


class EngineArgument(Message):
    arg_type_id: str
    type: str
    regex: str | None = None
    default: str | None = None


class EngineDetail(Message):
    engine_id: int
    name: str
    extension: str
    adapter: str
    arguments: list[EngineArgument]


class EnginesResponse(Message):
    engines: list[EngineDetail]


class Chunk(Message):
    """One attempt at (a part of) a task."""

    attempt_id: int
    machine_id: int
    state: ChunkState
    frames: str | None  # "1-250"; None where the engine's frames are not known
    progress: float
    frames_done: int
    started_at: str | None  # UTC, with Z
    ended_at: str | None
    exit_code: int | None
    cause: Cause | None
    message: str | None
    variant: str | None = None  # whose attempt it is, where the task has variants


class VariantTask(Message):
    """One of a task's variants. It is a task of its own, and may be asked for by its id."""

    name: str
    task_id: int
    engine_id: int
    state: TaskState
    progress: float
    frames: str | None
    frames_total: int | None
    frames_done: int
    frames_failed: int
    cause: str | None


class TaskMachine(Message):
    """A machine that has failed the task, and not succeeded with it since."""

    machine_id: int
    name: str
    failures: int  # in a row
    is_avoided: bool  # it gets nothing of the task as long as another machine could do it
    not_before: str | None = None  # nothing sooner than that, UTC; None: it may try at once
    cause: Cause | None = None  # of its last failure
    message: str | None = None
    variant: str | None = None  # which it failed, where the task has variants


class TaskDetail(Message):
    task: Task
    render: Render
    engine: Engine
    chunks: list[Chunk]  # of a task with variants: theirs
    warnings: list[str]
    variants: list[VariantTask] = []
    machines: list[TaskMachine] = []  # that have failed it


class TasksResponse(Message):
    tasks: list[TaskInfo]
    next: int | None = None  # pass as `after` for the next page


class FrameState(StrEnum):
    """Where one frame of a task is."""

    QUEUED = "queued"  # nobody works on it
    RUNNING = "running"  # a machine has it, at work on it or on one before it
    DONE = "done"
    FAILED = "failed"  # given up
    CANCELLED = "cancelled"  # its task was taken out of the queue before it was rendered


class Frame(Message):
    """One frame of a task, with the attempt that has it or had it last."""

    frame: int
    state: FrameState
    machine_id: int | None = None
    seconds: float | None = None  # done: the mean of what was rendered with it
    attempts: int = 0  # how many attempts it was part of
    files: list[str] = []  # what has been rendered of it: paths as in ResultFile


class FramesResponse(Message):
    frames: list[Frame]
    next: int | None = None  # pass as `from` for the next page


class ResultFile(Message):
    """A file that has been rendered."""

    path: str  # relative to the task's results, "/" between its parts
    size: int  # in bytes
    modified: str  # UTC, with Z


class FilesResponse(Message):
    files: list[ResultFile]
    next: str | None = None  # pass as `after` for the next page


class PauseRequest(Message):
    now: bool = False  # do not wait for the frames that machines are at


class RequeueRequest(Message):
    frames: str = "failed"  # or "all", or a range


class ForgiveRequest(Message):
    machine_id: int | None = None  # whose failures of the task to forget; None: all machines'


class TaskChange(Message):
    """What is to be different about a task. A field that is not there stays; null is the default."""

    priority: int | msgspec.UnsetType | None = msgspec.UNSET
    frames: str | msgspec.UnsetType = msgspec.UNSET
    chunk_frames: int | msgspec.UnsetType | None = msgspec.UNSET
    machine_limit: int | msgspec.UnsetType | None = msgspec.UNSET
    tags: list[str] | msgspec.UnsetType = msgspec.UNSET
    after: list[int] | msgspec.UnsetType = msgspec.UNSET
    start_at: str | msgspec.UnsetType | None = msgspec.UNSET
    notes: str | msgspec.UnsetType | None = msgspec.UNSET
    limits: LimitsChange | msgspec.UnsetType | None = msgspec.UNSET


class MachineEngine(Message):
    """An engine that a machine has, and may be used for."""

    engine_id: str
    version: str | None = None  # None where it cannot be told


class MachineWork(Message):
    """What a machine works on, or will next."""

    task_id: int
    attempt_id: int
    state: ChunkState
    frames: str | None = None


class KeptFrom(Message):
    """A task that a machine gets nothing of just now, since it has failed it."""

    task_id: int
    failures: int  # in a row
    is_avoided: bool  # as long as another machine could do it
    not_before: str | None = None  # UTC: and nothing sooner than that
    cause: Cause | None = None  # of its last failure
    message: str | None = None


class Machine(Message):
    machine_id: int
    name: str
    address: str | None  # host:port; only for admins
    state: str  # enabled, draining, disabled, benched; of one that is enabled: closed, unreachable
    reason: str | None  # why it gets no work
    is_busy: bool
    work: list[MachineWork]  # what the caller may see of it
    engines: list[MachineEngine]
    tags: list[str]
    only_engines: list[str]  # empty: all that it has
    platform: str | None = None  # "linux", "win32", "darwin"
    cores: int | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None
    load: float | None = None  # runnable processes per core
    path_map: list[str] = []  # FROM=TO: where it has the api's folders; only for admins
    kept_from: list[KeptFrom] = []  # tasks in the queue; the caller's, an admin's all
    hours: str = ""  # when it takes work, by the server's clock; empty: always
    only_users: list[str] = []  # whose tasks alone it renders; only for admins
    reserve: str | None = None  # a tag: what does not ask for it comes last


class MachinesResponse(Message):
    machines: list[Machine]


class MachineChange(Message):
    """What is to be different about a machine. A field that is not there stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    tags: list[str] | msgspec.UnsetType = msgspec.UNSET
    only_engines: list[str] | msgspec.UnsetType = msgspec.UNSET
    path_map: list[str] | msgspec.UnsetType = msgspec.UNSET
    hours: str | msgspec.UnsetType = msgspec.UNSET  # empty: always
    only_users: list[str] | msgspec.UnsetType = msgspec.UNSET  # email addresses; none: everybody's
    reserve: str | msgspec.UnsetType | None = msgspec.UNSET


class HealthResponse(Message):
    name: str
    version: str
