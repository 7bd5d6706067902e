"""Every JSON message of /renderapi and /hpc, once.

Owns the names on the wire (docs/api.md is their table), their types, and the two ways in and out:
`decode` reads a body as the original does (names in any case, ids as numbers or numeric strings,
unknown fields ignored) and `encode` writes PascalCase. Imports nothing of ours.
"""

from __future__ import annotations

import types
import typing
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

PROTOCOL = 1
"""Version of the messages between api and node. Raised when an older node would misread one."""

MAX_DEPTH = 32
"""Deepest nesting of a JSON body that is read; our deepest message has five levels."""

MAX_ID = 2**63 - 1
"""Largest id that both databases hold (SQLite's integers are signed 64 bit)."""


class WireError(ValueError):
    """A body that is not the message it should be. Its text is a sentence for the sender."""


class Message(msgspec.Struct, rename="pascal", kw_only=True):
    """Base of all messages: PascalCase on the wire, snake_case here."""


# --------------------------------------------------------------------------- states


class TaskState(StrEnum):
    """What a task, the thing an artist sees, is doing."""

    QUEUED = "queued"  # has a row in `queue`, nobody works on it
    RUNNING = "running"  # at least one chunk of it is on a machine
    PAUSED = "paused"  # has its row in `queue`, but gets no machine until it is resumed
    SUCCEEDED = "succeeded"  # everything it owes has arrived
    FAILED = "failed"  # given up, `cause` says why
    CANCELLED = "cancelled"  # its owner took it out of the queue


class ChunkState(StrEnum):
    """What one chunk (a frame range on one machine, with its attempt) is doing."""

    ASSIGNED = "assigned"  # claimed in the database; the machine has not confirmed its start
    RUNNING = "running"  # the machine said that it started
    SUCCEEDED = "succeeded"  # exit code 0 and everything it owed is there
    FAILED = "failed"  # the renderer ended without that
    LOST = "lost"  # the machine went away or forgot it; nobody's fault
    INTERRUPTED = "interrupted"  # stopped by us, or refused by the machine before it began


class Cause(StrEnum):
    """Why an attempt ended without its frames: who has to do something about it."""

    SCENE = "scene"  # the project is wrong: no camera, a script that raises, a corrupt file
    ASSET_MISSING = "asset_missing"  # a file that the project links to is not there
    MACHINE = "machine"  # this machine cannot: crash, out of memory, disk full, no renderer
    LOST = "lost"  # the machine went away
    INTERRUPTED = "interrupted"  # stopped on purpose
    TIMEOUT = "timeout"  # it took longer than its limits allow


class Reason(StrEnum):
    """What a machine failed of, where that decides who should try next."""

    OUT_OF_MEMORY = "out_of_memory"  # a machine with more memory may have room
    DISK_FULL = "disk_full"  # this machine's disk
    GPU = "gpu"  # the device is gone, or its driver gave up
    CRASH = "crash"  # the renderer was killed by a fault of its own


# --------------------------------------------------------------------------- errors


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
    eta_seconds: int | None = None
    cause: str | None = None  # a sentence, once the task has failed
    priority: int = 50
    tags: list[str] = []
    notes: str | None = None
    after: list[int] = []
    start_at: str | None = None  # UTC, with Z
    frames: str | None = None
    frames_left: str | None = None  # that nobody works on; None: the task is one piece
    frames_given_up: str | None = None


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


class Limits(Message):
    """When a render counts as hung, in seconds; None: no such limit. The node ends it then."""

    start_seconds: float | None = None  # from the start to the first sign of rendering
    silence_seconds: float | None = None  # between two lines of its output
    progress_seconds: float | None = None  # without a frame saved or a fraction gained
    frame_seconds: float | None = None  # between two frames saved
    memory_bytes: int | None = None  # resident, the whole process tree


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


class EnqueueRequest(Message):
    engine_id: str = ""  # a string in the original; compared with the numeric engine_id
    arguments: list[ArgumentValue] = []
    frames: str | None = None  # "1-250x2,300"; else the start_frame and end_frame arguments
    priority: int | None = None  # 0-100, 50 if not given
    chunk_frames: int | None = None  # 0: one piece; not given: as many as suits
    machine_limit: int | None = None  # most machines at once
    engine_version: str | None = None  # "4.5"
    tags: list[str] = []  # a machine must have all of them
    after: list[int] = []  # tasks that must have succeeded before
    start_at: str | None = None  # ISO 8601; without an offset UTC
    preview_first: bool = False  # first, middle and last frame before the rest
    notes: str | None = None
    limits: Limits | None = None
    variants: list[Variant] = []


class EnqueueResponse(Message):
    is_added: bool
    error_message: str
    task_id: int | None = None


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


# --------------------------------------------------------------------------- ours, for clients


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


class TaskDetail(Message):
    task: Task
    render: Render
    engine: Engine
    chunks: list[Chunk]
    warnings: list[str]


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


class FramesResponse(Message):
    frames: list[Frame]
    next: int | None = None  # pass as `from` for the next page


class PauseRequest(Message):
    now: bool = False  # do not wait for the frames that machines are at


class RequeueRequest(Message):
    frames: str = "failed"  # or "all", or a range


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
    limits: Limits | msgspec.UnsetType | None = msgspec.UNSET


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


class Machine(Message):
    machine_id: int
    name: str
    address: str | None  # host:port; only for admins
    state: str  # enabled, draining, disabled, benched; or unreachable, of one that is enabled
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


class MachinesResponse(Message):
    machines: list[Machine]


class MachineChange(Message):
    """What is to be different about a machine. A field that is not there stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    tags: list[str] | msgspec.UnsetType = msgspec.UNSET
    only_engines: list[str] | msgspec.UnsetType = msgspec.UNSET


class HealthResponse(Message):
    name: str
    version: str


# --------------------------------------------------------------------------- /hpc, the node


class Owes(Message):
    """What an attempt must have produced to count as a success, besides exit code 0."""

    frames: str | None = None  # every one of these frames saved ("1-250"); None: not known
    movie: bool = False  # one file for the whole range, by the arguments
    pattern: str | None = None  # file-name patterns (fnmatch, separated by spaces) that must match
    files: int = 1  # at least so many files written below OutputDir


class Vitals(Message):
    """How a machine feels just now."""

    load: float | None = None  # runnable processes per core, the last minute's mean
    memory_free_bytes: int | None = None  # available without swapping
    disk_free_bytes: int | None = None  # where the node keeps its data


class EngineInfo(Message):
    """One engine of a machine."""

    engine_id: str
    adapter: str = ""
    version: str | None = None  # "4.5.1"; None where it cannot be told


class HpcTask(Message):
    """The machine's current or last render. The first four fields are the original's."""

    task_id: int = 0
    is_success: bool = False
    is_running: bool = False
    total_seconds: int = 0
    attempt_id: int | None = None  # None: started without one, by an original RenderAPI
    # SHA-256 of the start's report key: another database's attempt may have the same number.
    key_digest: str | None = None
    progress: float = 0.0
    frames_done: int = 0
    exit_code: int | None = None
    cause: Cause | None = None
    message: str | None = None
    is_waiting: bool = False  # handed over ahead of time; begins when the running one is over
    frames: str | None = None  # saved and checked so far ("1-5,7"); None: not known
    reason: Reason | None = None
    startup_seconds: float | None = None  # start to the first sign of rendering
    render_seconds: float | None = None  # from there to the last frame saved
    memory_bytes: int | None = None  # the largest that its process tree has been
    warm: bool = False  # its renderer stays open for the task's next chunk


class HpcStatus(Message):
    engine_ids: list[str] = []
    task: HpcTask | None = None
    protocol: int | None = None  # None: the original's HPCServer
    version: str | None = None
    boot: str | None = None  # random, new at each start of the node
    slots: int = 1
    # Every attempt that this node holds: running, waiting behind it, or over and not yet
    # acknowledged by its api.
    tasks: list[HpcTask] = []
    engines: list[EngineInfo] = []
    platform: str | None = None  # "linux", "win32", "darwin"
    cores: int | None = None
    memory_bytes: int | None = None
    tags: list[str] = []
    vitals: Vitals | None = None


class HpcStart(Message):
    """`attempt_id` and all below it are ours; without it this is the original's start."""

    engine_id: str = ""
    task_id: int = 0
    arguments: str = ""  # one command line, by .NET's quoting rules
    attempt_id: int | None = None
    argv: list[str] | None = None  # the same, as a list
    frames: str | None = None
    task_dir: str | None = None  # working directory; storage both sides can see
    output_dir: str | None = None  # what is written there are the results
    owes: Owes | None = None
    api_url: str | None = None  # where reports go; None: the api will ask
    report_key: str | None = None  # X-Attempt-Key of the reports; good for this attempt only
    limits: Limits | None = None
    # Handed over ahead of time: begin when the attempt of this number is over, or at once if it
    # is. None: now, or refuse.
    after: int | None = None


class HpcStop(Message):
    task_id: int = 0
    attempt_id: int | None = None
    reason: str | None = None
    after_frame: bool = False  # let it finish the frame it is at


class HpcAnswer(Message):
    """The answer to start and stop."""

    is_success: bool
    message: str


# --------------------------------------------------------------------------- node to api


class EventType(StrEnum):
    STARTED = "started"
    PROGRESS = "progress"
    WARNING = "warning"
    ENDED = "ended"


class NodeEvent(Message):
    """One thing that happened to an attempt. Which fields count depends on `type`."""

    type: EventType
    progress: float | None = None  # progress: 0-1 of this attempt
    frames_done: int | None = None  # progress, ended
    message: str | None = None  # warning, ended: a sentence
    is_success: bool | None = None  # ended
    exit_code: int | None = None  # ended
    cause: Cause | None = None  # ended without success
    # As in HpcTask: progress (frames) and ended (all of them).
    frames: str | None = None
    reason: Reason | None = None
    startup_seconds: float | None = None
    render_seconds: float | None = None
    memory_bytes: int | None = None
    warm: bool = False


class NodeReport(Message):
    """Events of one attempt. A report whose sequence is not above the last one is a repetition.

    One without events says that the attempt is alive.
    """

    sequence: int = 0
    events: list[NodeEvent] = []
    vitals: Vitals | None = None


class ReportAnswer(Message):
    accepted: bool  # False: the attempt is not current any more; stop it
    message: str = ""
    next: HpcStart | None = None  # the machine's next chunk, handed over with the answer


class NodeHello(Message):
    """A node says that it is there. It is only a hint: the api then asks the machine itself."""

    port: int = 0
    boot: str = ""


# --------------------------------------------------------------------------- in and out

T = TypeVar("T", bound=Message)


def encode(message: Message) -> bytes:
    """The JSON bytes of a message."""
    return msgspec.json.encode(message)


def decode(body: bytes, shape: type[T]) -> T:
    """Read a JSON body as `shape`.

    Names match in any case, numbers may come as strings, unknown fields are ignored and missing
    ones take their default. Raises WireError with a sentence for the sender.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")  # a byte order mark, as Windows' tools put there
    if not body.strip():
        raise WireError("The body is empty; it should be a JSON object.")
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"The body is not valid JSON: {error}.") from None
    _check_depth(raw)
    return convert(raw, shape)


def convert(raw: object, shape: type[T]) -> T:
    """`decode` for JSON that has been parsed already. Raises WireError."""
    if not isinstance(raw, dict):
        raise WireError("The body should be a JSON object, in braces.")
    try:
        return msgspec.convert(_canonical(raw, shape), shape, strict=False)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise WireError(f"The body does not fit: {error}.") from None


def _check_depth(raw: object) -> None:
    level: list[object] = [raw]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise WireError(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _canonical(raw: Any, shape: Any) -> Any:
    """`raw` with the names of `shape`'s fields in their canonical case, recursively.

    Directed by the type, so that the keys of a free mapping (an environment, say) stay as they are.
    A null where the original's types have a default (a string, a list) takes that default.
    """
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        if not isinstance(raw, dict):
            return raw
        fields = {f.encode_name.lower(): f for f in msgspec.structs.fields(shape)}
        known = {}
        for name, value in raw.items():
            field = fields.get(str(name).lower())
            if field is None or (value is None and not _takes_none(field.type)):
                continue
            known[field.encode_name] = _canonical(value, field.type)
        return known
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if origin is list and isinstance(raw, list):
        return [_canonical(item, arguments[0]) for item in raw]
    if origin in (typing.Union, types.UnionType):
        for option in arguments:
            if isinstance(option, type) and issubclass(option, msgspec.Struct):
                return _canonical(raw, option)
    if shape is str and isinstance(raw, int | float) and not isinstance(raw, bool):
        return str(raw)
    return raw


def _takes_none(shape: Any) -> bool:
    return shape is type(None) or type(None) in typing.get_args(shape)
