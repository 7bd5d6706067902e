"""What an engine adapter is: argv in, argv and parsed lines out.

An adapter is stateless and pure but for `find` and `version`. The api asks it to complete an
expanded command line and what that will owe; the node asks it for the process to start, feeds it
the output line by line, and lets it judge the end. It never starts a render, opens a socket or
touches a database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from renderonline.engines.session import Session
from renderonline.wire import Cause, Owes, Reason


class CommandError(ValueError):
    """A command line that the engine would refuse, or misread. Its text is for the submitter."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`fraction` of the whole attempt, 0-1. `frame` is the one being rendered, if known."""

    fraction: float
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class FrameSaved:
    """The engine says that a file is written. `frame` is the one that is complete with it, all of
    whose other files are written, too; None where it completes none."""

    path: Path
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A line the submitter should see: a missing library, a fallback to the CPU."""

    text: str


EngineEvent = Progress | FrameSaved | Notice


@dataclass(frozen=True, slots=True)
class Ending:
    """How the process ended and what lies in its output folder; what `judge` decides on.

    `files` are paths relative to the output folder, of the files that were created or changed by
    this attempt. `exit_code` is negative for a signal (-9), as `subprocess` has it. `output_dir`
    is what they are relative to; None where there is no such folder (a start by the original).
    """

    exit_code: int
    files: Sequence[Path] = ()
    output_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an attempt has succeeded; if not, whose fault it is and a sentence saying so."""

    is_success: bool
    cause: Cause | None = None
    message: str | None = None
    reason: Reason | None = None  # of the cause machine: what it failed of, if that can be told


@dataclass(slots=True)
class Reading:
    """What has been read off an attempt's output so far; kept by a reader, looked at by the node."""

    fraction: float = 0.0
    frames_done: set[int] = field(default_factory=set)
    files_saved: int = 0


class Reader(Protocol):
    """Follows one attempt's output. Not shared between threads: the node's reading thread owns it."""

    reading: Reading

    def feed(self, line: str) -> list[EngineEvent]:
        """Take one line of stdout or stderr (no newline) and say what it tells."""
        ...

    def rest(self) -> list[EngineEvent]:
        """What is certain only now: the engine has ended by itself, with exit code 0. Called once,
        after the last line."""
        ...

    def judge(self, ending: Ending) -> Verdict:
        """Decide at the end. Called once, after the last line."""
        ...


class Adapter(Protocol):
    """One kind of renderer."""

    name: str  # as in the `Adapter` setting: "generic", "blender", "bpy"
    tells_frames: bool  # its renderers say which frame they are at, and when one is saved
    takes_step: bool  # `complete` can make any command line of a range render every nth frame

    def complete(self, argv: Sequence[str], output_dir: str, step: int | None = None) -> list[str]:
        """Add what the template left out so that results land in `output_dir`; translate values.

        `step`: of the range in `argv` every so many-th frame is wanted, whatever else it says; None:
        what it says. Without a meaning where the adapter takes no step.
        `argv` may begin with the engine's name, as the original's templates do; it stays.
        Raises CommandError for a command line that the engine would refuse or misread.
        """
        ...

    def owes(self, argv: Sequence[str], file_pattern: str | None) -> Owes:
        """What a completed command line must produce. `file_pattern` is the engine row's."""
        ...

    def command(self, executable: str, argv: Sequence[str]) -> list[str]:
        """The argv of the process: `argv` without the engine's name in front. Node side."""
        ...

    def session(self, command: Sequence[str]) -> Session | None:
        """The chunk as a process that stays open could render it; `command` is what `command` made.

        None: it has to be rendered by a process of its own.
        """
        ...

    def reader(self, owes: Owes, command: Sequence[str] = ()) -> Reader:
        """A fresh reader for one attempt. `command`: what `command` made, where that is known."""
        ...

    def find(self) -> list[Path]:
        """Executables of this engine on this machine, best first; empty if there are none."""
        ...

    def version(self, executable: str) -> str | None:
        """The engine's version ("4.5.1"), or None if it cannot be told. May take seconds."""
        ...
