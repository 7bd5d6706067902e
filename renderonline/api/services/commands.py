"""The command line of a submission: the engine's template, the user's values, the task's paths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec

from renderonline import engines, wire
from renderonline.api.domain import path_map
from renderonline.api.domain.arguments import BadArgument, check_value
from renderonline.api.domain.model import ArgType, Engine, Job
from renderonline.blendfile import WHOLE, View
from renderonline.engines.base import Adapter, CommandError
from renderonline.engines.blender_scene import (
    SceneOf,
    frame_size,
    with_movie,
    with_scene,
    with_view,
)
from renderonline.engines.commandline import join
from renderonline.engines.template import (
    END_FRAME,
    FRAME_STEP,
    START_FRAME,
    TemplateError,
    expand,
    has_step,
    is_splittable,
    placeholders,
)
from renderonline.frames import FrameError, FrameSet
from renderonline.wire import Owes

MAX_COMMAND_BYTES = 60_000
"""Longest command line; `renders.arguments` is a MySQL TEXT, 65,535 bytes."""

START, END, STEP = START_FRAME, END_FRAME, FRAME_STEP

BLENDERS = ("blender", "bpy")
"""The adapters whose projects are .blend files."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task is rendered: its main file, the folder of all its files, that of its results."""

    project: Path
    task_dir: Path
    output_dir: Path


@dataclass(frozen=True, slots=True)
class Command:
    """What `renders.arguments`, and of `tasks` the columns `frames` and `command`, get."""

    arguments: str
    frames: FrameSet | None  # None where they are not known
    recipe: str | None  # how to make a chunk's command line; None: the task is one piece
    wanted: FrameSet | None = None  # the frames that were asked for one by one
    is_exact: bool = True  # `arguments` render these and no others


def adapter_of(engine: Engine) -> Adapter:
    """The engine row's adapter."""
    if engine.adapter:
        return engines.by_name(engine.adapter)
    return engines.for_engine(engine.name, engine.render_argument)


def takes_step(engine: Engine) -> bool:
    """Whether its command line can render every nth frame of a range."""
    return adapter_of(engine).takes_step or has_step(engine.render_argument)


def types_of(engine: Engine, argtypes: Sequence[ArgType]) -> list[ArgType]:
    """The argument types as this engine takes them.

    Frames are `natural` in the original's database and in ours. A Blender renders those below 0 all
    the same; of any other engine nothing is known, and POV-Ray for one renders others without a
    word: it takes them when an admin has made the types integers. A regex is the admin's, too.
    """
    if adapter_of(engine).name not in BLENDERS:
        return list(argtypes)
    return [
        replace(argtype, type="integer")
        if argtype.argtype_id.lower() in (START, END)
        and (argtype.type.lower(), argtype.regex or None) == ("natural", None)
        else argtype
        for argtype in argtypes
    ]


def checked_values(
    arguments: Sequence[wire.ArgumentValue], engine: Engine, argtypes: Sequence[ArgType]
) -> dict[str, str]:
    """A request's arguments by lower-case id, each of which fits. Raises BadArgument."""
    known = {argtype.argtype_id.lower(): argtype for argtype in types_of(engine, argtypes)}
    values: dict[str, str] = {}
    for argument in arguments:
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
) -> FrameSet | None:
    """Put the request's `Frames` into start_frame and end_frame, and return them.

    Raises BadArgument.
    """
    if frames is None:
        return None
    wanted = parse_frames(frames)
    if not is_splittable(engine.render_argument):
        raise BadArgument(
            f"The engine {engine.name} takes no frame range: its template lacks start_frame and "
            "end_frame. Submit without frames."
        )
    known = {argtype.argtype_id.lower(): argtype for argtype in types_of(engine, argtypes)}
    numbers = {START: wanted.first, END: wanted.last}
    if has_step(engine.render_argument):
        numbers[STEP] = wanted.step or 1
    for name, number in numbers.items():
        if values.get(name, str(number)) != str(number):
            raise BadArgument(
                f'Frames "{frames[:80]}" and the argument {name} contradict each other.'
            )
        if name in known:
            check_value(known[name], str(number))
        values[name] = str(number)
    return wanted


def parse_frames(text: str) -> FrameSet:
    """The frames that a user wrote. Raises BadArgument."""
    try:
        return FrameSet.parse(text.replace(" ", ""))
    except FrameError as error:
        raise BadArgument(str(error)) from None


def build(
    engine: Engine,
    values: dict[str, str],
    argtypes: Sequence[ArgType],
    place: Place,
    wanted: FrameSet | None = None,
    scene_of: SceneOf | None = None,
    is_quickly_read: bool = False,
    view: View = WHOLE,
) -> Command:
    """Expand and complete the engine's command line for a project at its final place.

    `wanted`: the frames that were asked for one by one. `scene_of`: asks the project, `is_quickly_read`: also for
    what is merely good to know. Raises
    BadArgument with a sentence for the submitter.
    """
    values = {STEP: "1"} | _defaults(engine, values, argtypes) | values
    _check_ends(engine, values, argtypes)
    step = wanted.step if wanted is not None else None
    template = engine.render_argument
    argv = _expanded(engine, template, values, place, view, scene_of)
    size_px = _size_px(engine, argv, scene_of if is_quickly_read else None)
    argv, owes = _completed(engine, argv, place, view, step)
    arguments = join(argv)
    if len(arguments.encode()) > MAX_COMMAND_BYTES:
        raise BadArgument("The command line gets too long; shorten the values or the file's name.")
    _check_below_zero(engine, values, owes)
    frames = wanted or (FrameSet.parse(owes.frames) if owes.frames else _range(engine, values))
    is_split = frames is not None and not owes.movie and is_splittable(template)
    recipe = {"template": template, "values": values, "size_px": size_px}
    if view:
        recipe["view"] = asdict(view)
    is_exact = step == 1 or wanted is None or (step is not None and takes_step(engine))
    return Command(arguments, frames, json.dumps(recipe) if is_split else None, wanted, is_exact)


def chunk_command(job: Job, frames: FrameSet) -> tuple[list[str], Owes]:
    """The command line for some of a split task's frames, and what it will owe.

    They are evenly spaced. Raises BadArgument where the engine was changed so that it does not work
    any more.
    """
    recipe = json.loads(job.task.command or "{}")
    step = frames.step or 1
    numbers = {START: str(frames.first), END: str(frames.last), STEP: str(step)}
    values = {**recipe["values"], **numbers}
    place = Place(Path(job.render.file_path), job.render.task_dir, job.output_dir)
    view = View(**recipe.get("view", {}))
    argv = _expanded(job.engine, recipe["template"], values, place, view)
    argv, owes = _completed(job.engine, argv, place, view, step)
    _check_below_zero(job.engine, values, owes)
    owes.width_px, owes.height_px = recipe.get("size_px") or (None, None)
    if owes.frames is not None:
        owes = msgspec.structs.replace(owes, frames=str(FrameSet.parse(owes.frames) & frames))
    return argv, owes


def seen_by(start: wire.HpcStart, mappings: Sequence[str]) -> wire.HpcStart:
    """A start with its paths as a machine has them that knows our folders by other names.

    Raises BadArgument where a mapping, put into the database by hand, is none.
    """
    if not mappings:
        return start
    try:
        paths = path_map.of(mappings)
    except path_map.BadMapping as error:
        raise BadArgument(f"The machine's path map cannot be used. {error}") from None
    argv = [paths.word(word) for word in start.argv or ()]
    return msgspec.structs.replace(
        start,
        argv=argv,
        arguments=start.arguments if argv == start.argv else join(argv),
        task_dir=paths.word(start.task_dir or ""),
        output_dir=paths.word(start.output_dir or ""),
    )


def _expanded(
    engine: Engine,
    template: str,
    values: dict[str, str],
    place: Place,
    view: View,
    scene_of: SceneOf | None = None,
) -> list[str]:
    """The template filled in, with what only the scene and the choice of one say. Raises BadArgument."""
    specials = {
        "@uploaded_file": str(place.project),
        "@output_dir": str(place.output_dir),
        "@task_dir": str(place.task_dir),
    }
    try:
        argv = expand(template, values, specials)
        if adapter_of(engine).name not in BLENDERS:
            return argv
        argv = with_scene(argv, view.scene)
        return argv if scene_of is None else with_movie(argv, scene_of)
    except (TemplateError, CommandError, ValueError) as error:
        raise BadArgument(str(error)) from None


def _completed(
    engine: Engine, argv: list[str], place: Place, view: View, step: int | None
) -> tuple[list[str], Owes]:
    """An expanded command line as it is rendered, and what it will owe. Raises BadArgument."""
    adapter = adapter_of(engine)
    try:
        if adapter.name in BLENDERS:
            argv = with_view(argv, view.camera, view.view_layer)
        elif view:
            raise CommandError(f"{engine.name} lets nobody choose a scene, camera or view layer.")
        argv = adapter.complete(argv, str(place.output_dir), step)
        return argv, adapter.owes(argv, engine.file_pattern)
    except (CommandError, ValueError) as error:
        raise BadArgument(str(error)) from None


def _check_below_zero(engine: Engine, values: dict[str, str], owes: Owes) -> None:
    """Raise BadArgument where Blender would render others in the place of frames below 0."""
    is_blender = adapter_of(engine).name in BLENDERS
    is_below = any(values.get(name, "").startswith("-") for name in (START, END))
    if is_blender and owes.frames is None and is_below:
        raise BadArgument(
            f"The command line of {engine.name} cannot render frames below 0: Blender counts them "
            "from the scene's last one there. It takes them as -s, -e and -a."
        )


def _size_px(
    engine: Engine, argv: Sequence[str], scene_of: SceneOf | None
) -> tuple[int, int] | None:
    """Of each frame; None where that cannot be told."""
    if scene_of is None or adapter_of(engine).name not in BLENDERS:
        return None
    try:
        return frame_size(argv, scene_of)
    except ValueError:
        return None


def _defaults(
    engine: Engine, values: dict[str, str], argtypes: Sequence[ArgType]
) -> dict[str, str]:
    """The template's placeholders that no value was given for, and their argument types know one."""
    wanted = placeholders(engine.render_argument)
    defaults = {}
    for argtype in argtypes:
        name = argtype.argtype_id.lower()
        if argtype.default_value is not None and name in wanted and name not in values:
            check_value(argtype, argtype.default_value)
            defaults[name] = argtype.default_value
    return defaults


def _check_ends(engine: Engine, values: dict[str, str], argtypes: Sequence[ArgType]) -> None:
    """A variant of another engine may have the submission's frames. Raises BadArgument."""
    for argtype in types_of(engine, argtypes):
        name = argtype.argtype_id.lower()
        if name in (START, END) and name in values:
            check_value(argtype, values[name])


def _range(engine: Engine, values: dict[str, str]) -> FrameSet | None:
    """The frames by the arguments, for an engine of which nothing else is known."""
    try:
        first, last = int(values[START]), int(values[END])
        step = int(values[STEP]) if has_step(engine.render_argument) else 1
    except (KeyError, ValueError):
        return None
    return parse_frames(f"{first}-{last}x{step}")
