"""Which frames a command line renders: of a submission as a whole, and of each of its chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from renderonline.api.domain.arguments import BadArgument
from renderonline.api.domain.model import ArgType, Engine, Job, Render, Task
from renderonline.api.services import commands, options
from renderonline.api.services.commands import Command, Place
from renderonline.frames import FrameSet
from renderonline.wire import EnqueueRequest, TaskState

S, E, J = (f"$RENDERONLINE:{name}" for name in ("start_frame", "end_frame", "frame_step"))
BLENDER = Engine(
    1, "blender", ".blend", "", f"blender -b a.blend -Y -o /o/f_ -s {S} -e {E} -a", "blender", None
)
LISTED = replace(BLENDER, render_argument=f"blender -b a.blend -Y -o /o/f_ -f {S}..{E}")
SINGLE = replace(BLENDER, render_argument=f"blender -b a.blend -Y -o /o/f_ -f {S}")
STEPPED = replace(
    BLENDER, render_argument=f"blender -b a.blend -Y -o /o/f_ -s {S} -e {E} -j {J} -a"
)
MOVIE = replace(
    BLENDER, render_argument=f"blender -b a.blend -Y -o /o/f_ -F FFMPEG -s {S} -e {E} -a"
)
ANY = replace(BLENDER, adapter="generic", render_argument=f"any {S} {E}")
ANY_STEPPED = replace(ANY, render_argument=f"any {S} {E} {J}")

NAMES = ("start_frame", "end_frame", "frame_step")
TYPES = [ArgType(name, "natural", None, None) for name in NAMES]
INTEGERS = [ArgType(name, "integer", None, None) for name in NAMES]
"""What an admin makes of the types for an engine that takes negative frames, too."""

PLACE = Place(Path("/task/a.blend"), Path("/task"), Path("/o"))


def build(
    engine: Engine, frames: str | None, types: Sequence[ArgType] = TYPES, **values: str
) -> Command:
    """What a submission of these frames becomes."""
    wanted = commands.add_frames(values, frames, engine, types)
    return commands.build(engine, values, types, PLACE, wanted)


def chunk(engine: Engine, command: Command, frames: str) -> tuple[str, str | None]:
    """The options of a chunk's command line behind its output folder, and the frames that it owes."""
    task = Task(
        1, 1, datetime(2026, 1, 1), None, None, False, False, 1, None, TaskState.QUEUED, 0, frames,
        None, None, todo=command.frames, command=command.recipe,
    )  # fmt: skip
    job = Job(task, Render(1, "a.blend", "/task/a.blend", 1, "", 1), engine)
    argv, owes = commands.chunk_command(job, FrameSet.parse(frames))
    return " ".join(argv).rpartition("/o/f_ ")[2], owes.frames


@pytest.mark.parametrize(
    ("engine", "frames", "expected"),
    [
        (BLENDER, "3-5", "-s 3 -e 5 -j 1 -a"),
        (BLENDER, "1-9x2", "-s 1 -e 9 -j 2 -a"),
        (BLENDER, "4,9", "-s 4 -e 9 -j 5 -a"),
        (BLENDER, "-4-8x4", "-s 0 -s -4 -e 8 -j 4 -a"),
        (BLENDER, "-7", "-s 0 -s -7 -e 0 -e -7 -j 1 -a"),
        (STEPPED, "1-9x2", "-s 1 -e 9 -j 2 -a"),
        (STEPPED, "7", "-s 7 -e 7 -j 1 -a"),
        (LISTED, "3-5", "-f 3..5"),
        (LISTED, "1-9x2", "-f 1,3,5,7,9"),
        (ANY, "-9--5", "any -9 -5"),
        (ANY_STEPPED, "-9--5x2", "any -9 -5 2"),
        (ANY_STEPPED, "3-5", "any 3 5 1"),
    ],
)
def test_chunk(engine: Engine, frames: str, expected: str) -> None:
    """Whatever else the task has, a chunk is those frames and no other."""
    command = build(engine, f"{frames},100-103", TYPES if engine.adapter == "blender" else INTEGERS)
    argv, owed = chunk(engine, command, frames)
    assert argv == expected
    assert owed == (None if engine.adapter == "generic" else frames)


@pytest.mark.parametrize(
    ("engine", "frames", "values", "arguments", "expected"),
    [
        (BLENDER, "1-9x2", {}, "-s 1 -e 9 -j 2 -a", "1-9x2"),
        (BLENDER, "1,5,10-20", {}, "-s 1 -e 20 -j 1 -a", "1,5,10-20"),
        (BLENDER, None, {"start_frame": "-2", "end_frame": "1"}, "-s 0 -s -2 -e 1 -j 1 -a", "-2-1"),
        (STEPPED, None, {"start_frame": "1", "end_frame": "9"}, "-s 1 -e 9 -j 1 -a", "1-9"),
        (
            STEPPED,
            None,
            {"start_frame": "1", "end_frame": "9", "frame_step": "4"},
            "-s 1 -e 9 -j 4 -a",
            "1-9x4",
        ),
        (STEPPED, "1-9x4", {"frame_step": "4"}, "-s 1 -e 9 -j 4 -a", "1-9x4"),
        (ANY_STEPPED, "1-9x2", {}, "any 1 9 2", "1-9x2"),
        (
            ANY_STEPPED,
            None,
            {"start_frame": "1", "end_frame": "9", "frame_step": "4"},
            "any 1 9 4",
            "1-9x4",
        ),
        (ANY, "1-9x2", {}, "any 1 9", "1-9x2"),
    ],
)
def test_submission(
    engine: Engine, frames: str | None, values: dict[str, str], arguments: str, expected: str
) -> None:
    command = build(engine, frames, **values)
    assert command.arguments.rpartition("/o/f_ ")[2] == arguments
    assert str(command.frames) == expected


@pytest.mark.parametrize(
    ("engine", "frames", "values", "says"),
    [
        (LISTED, "-5-3", {}, "would be read as an option"),
        (SINGLE, None, {"start_frame": "-5"}, "Blender counts them from the scene's last one"),
        (ANY, "-5-3", {}, "'-5' is not a value for start_frame: it should be of type natural"),
        (ANY, None, {"start_frame": "-5", "end_frame": "3"}, "should be of type natural"),
        (STEPPED, "1-9x2", {"frame_step": "3"}, "the argument frame_step contradict each other"),
        (STEPPED, "1-9", {"frame_step": "3"}, "the argument frame_step contradict each other"),
        (BLENDER, None, {"start_frame": "-2", "end_frame": "-9"}, "inverted: -2 to -9"),
        (
            ANY_STEPPED,
            None,
            {"start_frame": "1", "end_frame": "9", "frame_step": "0"},
            "a step of 0",
        ),
    ],
)
def test_refuses(engine: Engine, frames: str | None, values: dict[str, str], says: str) -> None:
    with pytest.raises(BadArgument) as raised:
        build(engine, frames, **values)
    assert says in str(raised.value)


@pytest.mark.parametrize("adapter", ["blender", "bpy"])
def test_a_rule_of_the_admins_own_holds(adapter: str) -> None:
    ruled = [replace(kind, regex="[0-9]{1,3}") for kind in TYPES]
    engine = replace(BLENDER, adapter=adapter)
    assert str(build(engine, "-5-3").frames) == "-5-3"
    with pytest.raises(BadArgument, match="should match"):
        build(engine, "-5-3", ruled)
    with pytest.raises(BadArgument, match="of type word"):
        build(engine, "-5-3", [replace(kind, type="word") for kind in TYPES])


@pytest.mark.parametrize(
    ("engine", "frames", "is_taken"),
    [
        (BLENDER, "1-9x2", True),
        (BLENDER, "1,2,9", False),
        (MOVIE, "1-9x2", True),
        (MOVIE, "-4-8x4", True),
        (MOVIE, "1,2,9", False),
        (ANY_STEPPED, "1-9x2", True),
        (ANY, "1-9", True),
        (ANY, "1-9x2", False),
    ],
)
def test_one_piece(engine: Engine, frames: str, is_taken: bool) -> None:
    """A task that is not cut has one command line, which must render its frames and no others."""
    command = build(engine, frames)
    request = EnqueueRequest(chunk_frames=0)
    if is_taken:
        assert options.columns(request, engine, command, lambda _task_id: True)["todo"] is None
        return
    with pytest.raises(BadArgument, match="has gaps, and this task is rendered in one piece"):
        options.columns(request, engine, command, lambda _task_id: True)
