"""What is submitted, checked before it is sent: the file, the engine it is for, arguments, frames.

No network here: an upload that the farm would refuse is found in the first second, not after it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from renderonline import blendfile, wire
from renderonline.blendfile import WHOLE, View
from renderonline.client import bundle as bundles
from renderonline.client.bundle import Bundle
from renderonline.client.errors import Unusable
from renderonline.frames import FrameSet

RANGE_ARGUMENTS = ("start_frame", "end_frame")
"""How the original knows frames: two arguments of an engine."""

STEP_ARGUMENT = "frame_step"
"""Where the engine has a place for it, the farm fills it in: from the frames, else with 1."""

FORMAT_ARGUMENT = "output_format"
"""What the original calls the format of a frame, or of a movie."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a task is to be rendered. What is None is the farm's to decide."""

    priority: int | None = None  # 0 to 100
    chunk_frames: int | None = None  # frames that a machine gets at once; 0: all in one piece
    machine_limit: int | None = None  # most machines at once
    engine_version: str | None = None  # "4.5"
    tags: Sequence[str] = ()  # a machine must have all of them
    after: Sequence[int] = ()  # tasks that must have succeeded before
    start_at: str | None = None  # ISO 8601; without an offset UTC
    preview_first: bool = False  # first, middle and last frame before the rest
    notes: str | None = None
    limits: wire.Limits | None = None  # when a render counts as hung; what is None the engine says


@dataclass(frozen=True, slots=True)
class Submission:
    """A project that is ready to be sent. Made by `prepare`."""

    bundle: Bundle
    engine: wire.EngineDetail
    arguments: dict[str, str] = field(default_factory=dict)
    frames: FrameSet | None = None
    wishes: Wishes = Wishes()
    variants: tuple[wire.Variant, ...] = ()
    view: View = WHOLE

    @property
    def file(self) -> Path:
        """What was named: a file, a folder, a ZIP."""
        return self.bundle.origin

    @property
    def format(self) -> str | None:
        """The output format that is asked for; None: the engine's own, or it has none."""
        values = {name.lower(): value for name, value in self.arguments.items()}
        return values.get(FORMAT_ARGUMENT)

    def request(self) -> wire.EnqueueRequest:
        """The message that goes with the file."""
        return wire.EnqueueRequest(
            engine_id=str(self.engine.engine_id),
            arguments=[
                wire.ArgumentValue(arg_type_id=name, value=value)
                for name, value in self.arguments.items()
            ],
            frames=None if self.frames is None else str(self.frames),
            priority=self.wishes.priority,
            chunk_frames=self.wishes.chunk_frames,
            machine_limit=self.wishes.machine_limit,
            engine_version=self.wishes.engine_version,
            scene=self.view.scene,
            camera=self.view.camera,
            view_layer=self.view.view_layer,
            tags=list(self.wishes.tags),
            after=list(self.wishes.after),
            start_at=self.wishes.start_at,
            preview_first=self.wishes.preview_first,
            notes=self.wishes.notes,
            limits=self.wishes.limits,
            variants=list(self.variants),
        )


def choose_engine(
    engines: Sequence[wire.EngineDetail], file: PurePath, wanted: str | None = None
) -> wire.EngineDetail:
    """The engine for a project's main file: the one that is `wanted` by name or id, else by the file's extension.

    Raises Unusable where there is none, more than one, or one that does not take the file.
    """
    offer = "Its engines: " + (", ".join(f"{e.name} ({e.extension})" for e in engines) or "none.")
    if wanted is not None:
        named = [e for e in engines if wanted.lower() in (e.name.lower(), str(e.engine_id))]
        if not named:
            raise Unusable(f"The farm has no engine {wanted!r}.", offer)
        if not _takes(named[0], file):
            raise Unusable(f"{named[0].name} takes {named[0].extension} files, not {file.name}.")
        return named[0]
    fitting = [engine for engine in engines if _takes(engine, file)]
    if not fitting:
        raise Unusable(f"No engine of this farm takes a file like {file.name}.", offer)
    if len(fitting) > 1:
        names = ", ".join(engine.name for engine in fitting)
        raise Unusable(
            f"More than one engine takes {fitting[0].extension} files: {names}.",
            "Say which one (`--engine`).",
        )
    return fitting[0]


def _takes(engine: wire.EngineDetail, file: PurePath) -> bool:
    return file.name.lower().endswith(engine.extension.lower())


def prepare(
    project: Path | Bundle,
    engine: wire.EngineDetail,
    arguments: Mapping[str, str],
    frames: FrameSet | None = None,
    wishes: Wishes | None = None,
    view: View = WHOLE,
) -> Submission:
    """Check a project and what is to be done with it. Raises Unusable.

    A path is a project of that one file. Without frames it is those of the scene, where the engine
    takes a range and the file tells one, and without an output format likewise the scene's: the one
    that `view` names, else the active one. The first and the last frame are also given as the
    engine's `start_frame` and `end_frame`.
    """
    bundle = bundles.of(project, follow_links=False) if isinstance(project, Path) else project
    _check_view(bundle, view)
    if frames is None and not {name.lower() for name in arguments} & set(RANGE_ARGUMENTS):
        frames = scene_frames(bundle, engine, view.scene)
    spelled = {a.arg_type_id.lower(): a.arg_type_id for a in engine.arguments}
    values = {
        **scene_format(bundle, engine, view.scene),
        **{n.lower(): v for n, v in arguments.items()},
    }
    for name in values.keys() - spelled.keys():
        raise Unusable(
            f"{engine.name} has no argument {name!r}.",
            f"Its arguments: {', '.join(spelled.values()) or 'none'}.",
        )
    if frames:
        _check_range(engine, frames)
    implied = set(RANGE_ARGUMENTS) if frames else set()
    for name in values.keys() & ({*implied, STEP_ARGUMENT} if frames else set()):
        raise Unusable(f"The frames are given twice: as a range and as {name}.", "Leave one out.")
    _check_complete(engine, values.keys() | implied | {STEP_ARGUMENT})
    if frames:
        values |= zip(RANGE_ARGUMENTS, (str(frames.first), str(frames.last)), strict=True)
    named = {spelled[name]: value for name, value in values.items()}
    return Submission(bundle, engine, named, frames, wishes or Wishes(), view=view)


def _check_view(bundle: Bundle, view: View) -> None:
    """Raise Unusable for a scene, camera or view layer that the project is known not to have."""
    if not view:
        return
    choices = bundle.choices() if view.camera or view.view_layer else None
    lacking = blendfile.complaint(view, bundle.facts, choices)
    if lacking is not None:
        raise Unusable(f"{bundle.main}: {lacking}", "Names are compared to the letter.")


def scene_frames(
    bundle: Bundle, engine: wire.EngineDetail, name: str | None = None
) -> FrameSet | None:
    """The frames that a scene (by default the active one) says, if the engine has a use for them."""
    scene = bundle.facts.scene(name)
    takes = {argument.arg_type_id.lower() for argument in engine.arguments}
    if scene is None or scene.frame_start is None or scene.frame_end is None:
        return None
    if not takes.issuperset(RANGE_ARGUMENTS) or scene.frame_end < scene.frame_start:
        return None
    step = 1 if scene.is_movie else max(1, scene.frame_step or 1)  # a movie is one range
    return FrameSet.between(scene.frame_start, scene.frame_end, step)


def scene_format(
    bundle: Bundle, engine: wire.EngineDetail, name: str | None = None
) -> dict[str, str]:
    """The value for the engine's `output_format` that the scene says, if it takes such names: none
    where it has a rule that allows for extensions alone, as the original's has."""
    scene = bundle.facts.scene(name)
    takes = next((a for a in engine.arguments if a.arg_type_id.lower() == FORMAT_ARGUMENT), None)
    if scene is None or scene.file_format is None or takes is None or not takes.regex:
        return {}
    try:
        fits = re.fullmatch(takes.regex, scene.file_format) is not None
    except re.error:
        fits = False
    return {FORMAT_ARGUMENT: scene.file_format} if fits else {}


def _check_range(engine: wire.EngineDetail, frames: FrameSet) -> None:
    """Raise Unusable unless the engine takes a first and a last frame, and these for them."""
    ends = [a for a in engine.arguments if a.arg_type_id.lower() in RANGE_ARGUMENTS]
    if len(ends) < len(RANGE_ARGUMENTS):
        raise Unusable(f"{engine.name} takes no range of frames.", "Leave the frames out.")
    if frames.first < 0 and any(end.type.lower() == "natural" and not end.regex for end in ends):
        raise Unusable(
            f"{engine.name} takes no negative frames, as in {frames!s:.80}.",
            f"An admin can make {' and '.join(RANGE_ARGUMENTS)} of type integer.",
        )


def _check_complete(engine: wire.EngineDetail, given: Set[str]) -> None:
    """Raise Unusable if an argument without a default is not given."""
    missing = [
        argument.arg_type_id
        for argument in engine.arguments
        if argument.default is None and argument.arg_type_id.lower() not in given
    ]
    if any(name.lower() in RANGE_ARGUMENTS for name in missing):
        raise Unusable(
            f"{engine.name} needs to know which frames to render.",
            "Give a range, such as 1-250 (`--frames 1-250`).",
        )
    if missing:
        raise Unusable(
            f"{engine.name} needs a value for {', '.join(missing)}.",
            f"Give it (`--arg {missing[0]}=VALUE`).",
        )
