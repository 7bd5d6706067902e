"""The edge of the command line: whatever ends a command becomes a sentence and an exit code.

The exit codes are those of docs/api.md. No traceback reaches a user who has not asked for one.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from renderonline.commands import output
from renderonline.config import ConfigError


class Exit(IntEnum):
    """What a command's exit code says."""

    DONE = 0
    FAILED = 1  # the thing asked for failed: a task, a disk, ourselves
    USAGE = 2  # the command line or a configuration is wrong; nothing was done
    UNREACHABLE = 3
    NOT_ALLOWED = 4
    NOT_FOUND = 5
    INTERRUPTED = 130  # as a shell reports a program that Ctrl-C ended
    BROKEN_PIPE = 141  # as a shell reports a program whose reader went away (`… | head -1`)


class CommandError(Exception):
    """Ends a command. The text says what happened, `hint` what to do now, `code` is for programs."""

    def __init__(
        self, message: str, hint: str = "", exit_code: Exit = Exit.FAILED, code: str = "failed"
    ) -> None:
        super().__init__(message)
        self.hint, self.exit_code, self.code = hint, exit_code, code


class UsageError(CommandError):
    """The command line cannot be meant as it is written."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint, Exit.USAGE, "usage")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is told to a person (the sentences) and to a program (the codes)."""

    exit_code: Exit
    code: str
    message: str
    hint: str = ""

    def as_json(self) -> dict[str, str]:
        return {"Error": self.code, "ErrorMessage": self.message, "Hint": self.hint}


def at_edge(command: Callable[[], int], *, as_json: bool, verbose: bool) -> int:
    """Run a command to its exit code. With `as_json` a failure is the JSON value on stdout."""
    try:
        exit_code = command()
        sys.stdout.flush()
        return exit_code
    except BrokenPipeError:
        _let_go_of_stdout()
        return Exit.BROKEN_PIPE
    except KeyboardInterrupt:
        failure = Failure(Exit.INTERRUPTED, "interrupted", "Interrupted.")
    except Exception as error:  # noqa: BLE001 - the edge: all that is left is to tell
        if verbose:
            traceback.print_exc()
        failure = explain(error)
    tell(failure)
    if as_json:
        output.emit(failure.as_json())
    return failure.exit_code


def tell(failure: Failure) -> None:
    """Say a failure to a person."""
    output.say(f"renderonline: {failure.message}")
    if failure.hint:
        output.say(failure.hint)


def explain(error: Exception) -> Failure:
    """What to say about an error."""
    if isinstance(error, CommandError):
        return Failure(error.exit_code, error.code, str(error), error.hint)
    if isinstance(error, ConfigError):
        return Failure(Exit.USAGE, "configuration", str(error))
    # Imported here, where it is loaded already or the error is another: it brings `requests`.
    from renderonline import client
    from renderonline.frames import FrameError

    if isinstance(error, FrameError):
        return Failure(Exit.USAGE, "frames", str(error))
    if isinstance(error, client.ClientError):
        exits = {
            client.Unusable: Exit.USAGE,
            client.Unreachable: Exit.UNREACHABLE,
            client.NotAllowed: Exit.NOT_ALLOWED,
            client.NotFound: Exit.NOT_FOUND,
        }
        return Failure(exits.get(type(error), Exit.FAILED), error.code, str(error), error.hint)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return Failure(Exit.FAILED, "failed", f"{place}{error.strerror or error}.")
    return Failure(
        Exit.FAILED,
        "internal_error",
        f"This is a mistake in renderonline: {type(error).__name__}: {error}.",
        "The same command with `--verbose` shows where it happened; please report that.",
    )


def _let_go_of_stdout() -> None:
    """Keep the interpreter from writing what is left to a pipe that nobody reads."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
