"""The command line of a submission: the engine's template, the user's values, the task's paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from renderonline import engines, wire
from renderonline.api.domain.arguments import BadArgument, check_value
from renderonline.api.domain.model import OUTPUT_FOLDER, ArgType, Engine
from renderonline.engines.base import Adapter, CommandError
from renderonline.engines.commandline import join
from renderonline.engines.template import TemplateError, expand, placeholders
from renderonline.frames import FrameError, FrameSet

MAX_COMMAND_BYTES = 60_000
"""Longest command line; `renders.arguments` is a MySQL TEXT, 65,535 bytes."""

START, END = "start_frame", "end_frame"


@dataclass(frozen=True, slots=True)
class Command:
    """What `renders.arguments` and `tasks.frames` get."""

    arguments: str
    frames: str | None  # None where they are not known


def adapter_of(engine: Engine) -> Adapter:
    """The engine row's adapter."""
    if engine.adapter:
        return engines.by_name(engine.adapter)
    return engines.for_engine(engine.name, engine.render_argument)


def checked_values(request: wire.EnqueueRequest, argtypes: Sequence[ArgType]) -> dict[str, str]:
    """The request's arguments by lower-case id, each of which fits. Raises BadArgument."""
    known = {argtype.argtype_id.lower(): argtype for argtype in argtypes}
    values: dict[str, str] = {}
    for argument in request.arguments:
        name = argument.arg_type_id.lower()
        if name not in known:
            raise BadArgument(f"There is no argument type {argument.arg_type_id[:50]!r}.")
        if name in values:
            raise BadArgument(f"The argument {argument.arg_type_id} is given twice.")
        check_value(known[name], argument.value)
        values[name] = argument.value
    return values


def add_frames(
    values: dict[str, str], frames: str | None, engine: Engine, argtypes: Sequence[ArgType]
) -> None:
    """Put the request's `Frames` into start_frame and end_frame. Raises BadArgument."""
    if frames is None:
        return
    try:
        wanted = FrameSet.parse(frames)
    except FrameError as error:
        raise BadArgument(str(error)) from None
    if not {START, END} <= placeholders(engine.render_argument):
        raise BadArgument(
            f"The engine {engine.name} takes no frame range: its template lacks start_frame and "
            "end_frame. Submit without frames."
        )
    if not wanted.is_contiguous:
        raise BadArgument(
            f'Frames "{frames[:80]}" is not one range from first to last, such as 1-250.'
        )
    known = {argtype.argtype_id.lower(): argtype for argtype in argtypes}
    for name, frame in ((START, wanted.first), (END, wanted.last)):
        if values.get(name, str(frame)) != str(frame):
            raise BadArgument(
                f'Frames "{frames[:80]}" and the argument {name} contradict each other.'
            )
        if name in known:
            check_value(known[name], str(frame))
        values[name] = str(frame)


def build(
    engine: Engine, values: dict[str, str], argtypes: Sequence[ArgType], project: Path
) -> Command:
    """Expand and complete the engine's command line for a project file at its final path.

    Raises BadArgument with a sentence for the submitter.
    """
    wanted = placeholders(engine.render_argument)
    defaults = {}
    for argtype in argtypes:
        name = argtype.argtype_id.lower()
        if argtype.default_value is not None and name in wanted and name not in values:
            check_value(argtype, argtype.default_value)
            defaults[name] = argtype.default_value
    output_dir = project.parent / OUTPUT_FOLDER
    specials = {
        "@uploaded_file": str(project),
        "@output_dir": str(output_dir),
        "@task_dir": str(project.parent),
    }
    adapter = adapter_of(engine)
    try:
        argv = expand(engine.render_argument, defaults | values, specials)
        argv = adapter.complete(argv, str(output_dir))
        owes = adapter.owes(argv, engine.file_pattern)
        arguments = join(argv)
    except (TemplateError, CommandError, ValueError) as error:
        raise BadArgument(str(error)) from None
    if len(arguments.encode()) > MAX_COMMAND_BYTES:
        raise BadArgument("The command line gets too long; shorten the values or the file's name.")
    return Command(arguments, owes.frames or _range(defaults | values))


def _range(values: dict[str, str]) -> str | None:
    """The frames by the arguments, for an engine of which nothing else is known."""
    try:
        first, last = int(values[START]), int(values[END])
    except (KeyError, ValueError):
        return None
    try:
        return str(FrameSet.parse(f"{first}-{last}"))
    except FrameError as error:
        raise BadArgument(str(error)) from None
