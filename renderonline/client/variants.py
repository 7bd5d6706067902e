"""Several outputs of one project: each variant checked as a submission of its own would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from renderonline import wire
from renderonline.blendfile import WHOLE, View
from renderonline.client import bundle as bundles
from renderonline.client.bundle import Bundle
from renderonline.client.errors import Unusable
from renderonline.client.submission import (
    FORMAT_ARGUMENT,
    RANGE_ARGUMENTS,
    Submission,
    Wishes,
    choose_engine,
    prepare,
    scene_frames,
)
from renderonline.frames import FrameSet


@dataclass(frozen=True, slots=True)
class Variant:
    """One output, whose folder among the results has its name. What is not given is the submission's."""

    name: str
    engine: str | None = None  # a name or an id
    arguments: Mapping[str, str] = field(default_factory=dict)
    frames: FrameSet | None = None
    engine_version: str | None = None
    view: View = WHOLE


def prepare_variants(
    project: Path | Bundle,
    engines: Sequence[wire.EngineDetail],
    engine: wire.EngineDetail,
    arguments: Mapping[str, str],
    frames: FrameSet | None,
    wishes: Wishes,
    variants: Sequence[Variant],
    view: View = WHOLE,
) -> Submission:
    """As `prepare`, but that each variant must be complete, with what it shares with the others.

    `engines`: all that a variant may name. Raises Unusable.
    """
    bundle = bundles.of(project, follow_links=False) if isinstance(project, Path) else project
    is_up_to_scene = frames is None and not _names(arguments) & set(RANGE_ARGUMENTS)
    if is_up_to_scene:
        named = (variant.engine for variant in variants if variant.engine)
        used = [engine, *(choose_engine(engines, PurePath(bundle.main), name) for name in named)]
        if all(scene_frames(bundle, each, view.scene) is not None for each in used):
            frames = scene_frames(bundle, engine, view.scene)
    base = Submission(bundle, engine, dict(arguments), frames, wishes, view=view)
    checked = []
    for variant in variants:
        try:
            own_range = is_up_to_scene and variant.view.scene is not None
            checked.append(_checked(engines, base, variant, own_range))
        except Unusable as error:
            raise Unusable(f"Variant {variant.name}: {error}", error.hint) from None
    return replace(base, variants=tuple(checked))


def _names(arguments: Mapping[str, str]) -> set[str]:
    return {name.lower() for name in arguments}


def _checked(
    engines: Sequence[wire.EngineDetail], base: Submission, variant: Variant, own_range: bool
) -> wire.Variant:
    """The variant as it is sent. `own_range`: it has a scene of its own, which says the frames."""
    main = PurePath(base.bundle.main)
    engine = choose_engine(engines, main, variant.engine) if variant.engine else base.engine
    view = variant.view.over(base.view)
    known = {argument.arg_type_id.lower() for argument in engine.arguments}
    own = {name.lower(): value for name, value in variant.arguments.items()}
    inherited = {k.lower(): v for k, v in base.arguments.items() if k.lower() in known}
    own_frames = variant.frames
    if own_frames is None and own_range and not own.keys() & set(RANGE_ARGUMENTS):
        own_frames = scene_frames(base.bundle, engine, view.scene)
    frames = own_frames
    if frames is not None:
        inherited = {k: v for k, v in inherited.items() if k not in RANGE_ARGUMENTS}
    elif not own.keys() & set(RANGE_ARGUMENTS):
        frames = base.frames
    whole = prepare(base.bundle, engine, inherited | own, frames, view=view)
    # What the scene says of its format is said for each: the farm would take the engine's default.
    said = own.keys() | ({FORMAT_ARGUMENT} - inherited.keys())
    return wire.Variant(
        name=variant.name,
        engine_id=str(engine.engine_id) if variant.engine else "",
        arguments=[
            wire.ArgumentValue(arg_type_id=name, value=value)
            for name, value in whole.arguments.items()
            if name.lower() in said
        ],
        frames=None if own_frames is None else str(own_frames),
        engine_version=variant.engine_version,
        scene=variant.view.scene,
        camera=variant.view.camera,
        view_layer=variant.view.view_layer,
    )
