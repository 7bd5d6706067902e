"""What api and node say to each other: /hpc, and /renderapi/v1/node."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from renderonline.wire.message import Message
from renderonline.wire.projects import ProjectRef
from renderonline.wire.states import Cause, Reason


class Limits(Message):
    """When a render counts as hung, in seconds; None: no such limit. The node ends it then."""

    start_seconds: float | None = None  # from the start to the first sign of rendering
    silence_seconds: float | None = None  # between two lines of its output
    progress_seconds: float | None = None  # without a frame saved or a fraction gained
    frame_seconds: float | None = None  # between two frames saved
    memory_bytes: int | None = None  # resident, the whole process tree


class LimitsChange(Message):
    """What is to be different about a task's limits. One that is not there stays; null: none."""

    start_seconds: float | msgspec.UnsetType | None = msgspec.UNSET
    silence_seconds: float | msgspec.UnsetType | None = msgspec.UNSET
    progress_seconds: float | msgspec.UnsetType | None = msgspec.UNSET
    frame_seconds: float | msgspec.UnsetType | None = msgspec.UNSET
    memory_bytes: int | msgspec.UnsetType | None = msgspec.UNSET


class Owes(Message):
    """What an attempt must have produced to count as a success, besides exit code 0."""

    frames: str | None = None  # every one of these frames saved ("1-250"); None: not known
    movie: bool = False  # one file for the whole range, by the arguments
    pattern: str | None = None  # file-name patterns (fnmatch, separated by spaces) that must match
    files: int = 1  # at least so many files written below OutputDir
    # Of each frame; one of another size is told to the task's owner. None: not known.
    width_px: int | None = None
    height_px: int | None = None


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


class Beacon(Message):
    """A file that only a machine which sees the api's disk can read: it proves that `TaskDir` means
    the same folder here."""

    path: str = ""
    word: str = ""  # what stands in it


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
    # SHA-256 of the api's certificate, where its address is https: what the node trusts.
    fingerprint: str | None = None
    # The project, to be fetched by its hashes, and the results to be sent back, where the folders
    # are not on a disk that both see. None: they are.
    manifest: ProjectRef | None = None
    beacon: Beacon | None = None  # by which the node finds out; None: it takes TaskDir's word
    limits: Limits | None = None
    # Handed over ahead of time: begin when the attempt of this number is over, or at once if it
    # is. None: now, or refuse.
    after: int | None = None


API_URL, API_FINGERPRINT = "X-Api-Url", "X-Api-Fingerprint"
"""Headers by which an api says where it is and how it is known, when it asks what a node does: its
certificate may be another one than its starts have said."""


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
    RENDERED = "rendered"  # the renderer has ended; results are still on their way
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
    then: HpcStart | None = None  # the one behind it, where `next` will be over at once
    every_seconds: float | None = None  # of this attempt's progress no report sooner than that


class NodeHello(Message):
    """A node says that it is there. It is only a hint: the api then asks the machine itself."""

    port: int = 0
    boot: str = ""
