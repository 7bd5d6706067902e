"""Which Blender command lines can be carried out chunk after chunk in one process, and how. Pure.

The template's arguments stay in their order. What differs from chunk to chunk (-s, -e, -j) is
taken out, and in the place of the render call stands `blender_session`, which gets it as requests.
A command line whose chunks could differ in anything else is left as it is: it is rendered cold.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from renderonline import paths
from renderonline.engines import blender_command
from renderonline.engines.blender_command import FrameRange, absolute
from renderonline.engines.blender_options import (
    ACTIONS,
    SCRIPTS,
    CommandLine,
    Option,
    option,
    parse,
    unparse,
)
from renderonline.engines.session import FrameSpan, Session

SESSION_FAILED = 71
"""Exit code of a Blender in which `blender_session` itself fails. EX_OSERR of sysexits.h."""

MAX_SPANS = 50
"""Longest frame list that is sent as a request: it must fit into the pipe at once, 4 KiB on Windows."""

RANGE = {"-s", "-e", "-j"}

TAKE_STDIN = (
    "import os, sys; sys.renderonline_requests = open(os.dup(0), 'rb'); "
    "os.dup2(os.open(os.devnull, os.O_RDONLY), 0)"
)
"""Run before all else: a script, or a program that it starts, would read the requests away."""

SERVE = paths.bundled("engines", "blender_session.py")


def session(program: Sequence[str], arguments: Sequence[str]) -> Session | None:
    """The session that renders what `program` would with Blender's `arguments`; None if none can.

    Raises nothing: what Blender would refuse is left to it.
    """
    try:
        line = parse(arguments)
        spans = _spans(line.options) if _is_repeatable(line.options) else ()
    except ValueError:
        return None
    if not spans or len(spans) > MAX_SPANS or _is_batch_file(program[0]):
        return None
    if blender_command.owes(arguments, None).movie:
        return None  # one chunk for the whole range: there is no next one
    return Session(
        command=(*program, *_warm_arguments(line)),
        files=tuple(given.value for given in line.options if given.name in ("", "-P")),
        spans=spans,
    )


def _is_batch_file(executable: str) -> bool:
    """Whether Windows' command processor would read the arguments; it ends them at a line's end."""
    return executable.lower().endswith((".bat", ".cmd"))


def _is_repeatable(options: Sequence[Option]) -> bool:
    """Whether nothing but the render call at the end knows the frames."""
    names = [given.name for given in options]
    actions = [name for name in names if name in ACTIONS]
    if len(actions) != 1 or names[-1] not in ACTIONS or names.count("") != 1 or "-b" not in names:
        return False
    # A script behind -s or -e could make something of them, and would run in the first chunk only.
    first_range = next((at for at, name in enumerate(names) if name in RANGE), len(names))
    return not SCRIPTS.intersection(names[first_range:])


def _spans(options: Sequence[Option]) -> tuple[FrameSpan, ...]:
    """What the action at the end renders; () where the scene has a say in it. Raises ValueError."""
    if options[-1].name == "-f":
        items = [item.partition("..") for item in options[-1].value.split(",")]
        spans = [_span(absolute(first), absolute(last or first), 1) for first, _, last in items]
    else:
        asked = FrameRange()
        for given in options:
            asked = asked.after(given)
        spans = [_span(asked.first, asked.last, asked.step)]
    known = tuple(span for span in spans if span is not None)
    return known if len(known) == len(spans) else ()


def _span(first: int | None, last: int | None, step: int | None) -> FrameSpan | None:
    if first is None or last is None or first > last:
        return None
    return FrameSpan(first, last, step)


@cache
def _serve_source() -> str:
    return SERVE.read_text(encoding="utf-8")


def _warm_arguments(line: CommandLine) -> list[str]:
    kept = [given for given in line.options[:-1] if given.name not in RANGE]
    serve = [
        option("--python-exit-code", str(SESSION_FAILED)),
        option("--python-expr", _serve_source()),
    ]
    return unparse(line, [option("--python-expr", TAKE_STDIN), *kept, *serve])
