"""The options that say how a task is to be rendered, for `submit` and `set`, and what they mean.

Read without the client: `renderonline --help` loads little.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from renderonline import amounts
from renderonline.wire import MAX_ID, Limits, LimitsChange, TaskChange

NOTHING = ("", "none")


def add_common(parser: argparse.ArgumentParser) -> None:
    """What can be said at the submission, and changed later; only what is given is in the result."""
    add = parser.add_argument
    _add(add, "--priority", number(0, 100), "N", "0 to 100; 50 is the usual one")
    _add(add, "--chunk-frames", chunk_frames, "N|auto|all", "frames that a machine gets at once")
    _add(add, "--machines", or_none(number(1, 10_000)), "N|none", "most machines at once")
    add(
        "--tags",
        "--pool",
        type=words,
        default=argparse.SUPPRESS,
        metavar="TAG,…",
        help="only machines that have all of these",
    )
    _add(add, "--after", task_ids, "TASK,…", "not before these tasks of yours have succeeded")
    _add(
        add,
        "--start-at",
        or_none(moment),
        "TIME|none",
        "not before this moment, as 2026-01-31T20:00 (local time)",
    )
    _add(add, "--notes", str, "TEXT", "whatever you want to remember of it")
    for option, (_, read, metavar, text) in LIMITS.items():
        _add(add, f"--{option.replace('_', '-')}", or_none(read), metavar, text)


def add_submission(parser: argparse.ArgumentParser) -> None:
    """What is settled by the submission."""
    parser.add_argument(
        "--preview-first", action="store_true", help="first, middle and last frame before the rest"
    )
    parser.add_argument("--engine-version", metavar="X.Y", help="the engine's version, as 4.5")
    for what in ("scene", "camera", "view-layer"):
        parser.add_argument(
            f"--{what}",
            metavar="NAME",
            help=f"the {what.replace('-', ' ')} of the .blend to render",
        )


def given(args: argparse.Namespace) -> dict[str, Any]:
    """What was said of TaskChange's fields."""
    named = {"machines": "machine_limit"}
    found = {named.get(name, name): value for name, value in vars(args).items()}
    if limits := _limits(args):
        found["limits"] = LimitsChange(**limits)
    return {name: found[name] for name in TaskChange.__struct_fields__ if name in found}


def submitted(args: argparse.Namespace) -> dict[str, Any]:
    """The same of a new task, which has no limits yet that could be taken away."""
    found = given(args)
    return found | {"limits": Limits(**_limits(args))} if "limits" in found else found


def _limits(args: argparse.Namespace) -> dict[str, Any]:
    """Those that were given, None taking one away, by their names in wire.Limits."""
    return {
        field: getattr(args, option)
        for option, (field, *_) in LIMITS.items()
        if hasattr(args, option)
    }


def _add(
    add: Callable[..., Any], flag: str, read: Callable[[str], Any], metavar: str, text: str
) -> None:
    add(flag, type=read, default=argparse.SUPPRESS, metavar=metavar, help=text)


# --------------------------------------------------------------------------- what a word means


def number(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number."""

    def read(text: str) -> int:
        digits = text.removeprefix("-")
        is_number = digits.isascii() and digits.isdigit() and len(digits) < 10
        if not is_number or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return int(text)

    return read


def or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Reads the same, or that there is to be none."""
    return lambda text: None if text.strip().lower() in NOTHING else read(text)


def chunk_frames(text: str) -> int | None:
    """A number; None for automatic, 0 for all in one piece."""
    word = text.strip().lower()
    if word in ("auto", "all"):
        return None if word == "auto" else 0
    try:
        return number(1, 1_000_000)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number, auto nor all") from None


def _amount(read: Callable[[str], int], example: str) -> Callable[[str], int]:
    """Reads a time or a size with its unit."""

    def checked(text: str) -> int:
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not an amount; it takes {example}, or none"
            ) from None

    return checked


def words(text: str) -> list[str]:
    """Words with commas between them; none where it is empty."""
    return (
        [] if text.strip().lower() in NOTHING else [w.strip() for w in text.split(",") if w.strip()]
    )


def task_id(text: str) -> int:
    """The number of a task."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= MAX_ID:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a task")
    return int(text)


def task_ids(text: str) -> list[int]:
    """The numbers of tasks, with commas between them."""
    return [task_id(word) for word in words(text)]


def moment(text: str) -> str:
    """A moment, without an offset this machine's local time, as the wire has it."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a moment such as 2026-01-31T20:00"
        ) from None


_time, _size = _amount(amounts.seconds, amounts.TIMES), _amount(amounts.size_bytes, amounts.SIZES)

LIMITS: dict[str, tuple[str, Callable[[str], int], str, str]] = {
    "start_limit": (
        "start_seconds",
        _time,
        "TIME|none",
        "a render is hung that has not begun after it",
    ),
    "silence_limit": (
        "silence_seconds",
        _time,
        "TIME|none",
        "or that has printed nothing for so long",
    ),
    "progress_limit": ("progress_seconds", _time, "TIME|none", "or has got no further"),
    "frame_limit": ("frame_seconds", _time, "TIME|none", "or has saved no frame"),
    "memory_limit": (
        "memory_bytes",
        _size,
        "SIZE|none",
        "a render is ended that takes more, such as 8G",
    ),
}
"""When a render of the task counts as hung, named as an engine's limits are: the field of
wire.Limits, how it is read, what stands in the help."""
