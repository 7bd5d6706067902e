"""Several outputs of one project: each variant checked as a submission of its own would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from renderonline import wire
from renderonline.client import bundle as bundles
from renderonline.client.bundle import Bundle
from renderonline.client.errors import Unusable
from renderonline.client.submission import (
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


def prepare_variants(
    project: Path | Bundle,
    engines: Sequence[wire.EngineDetail],
    engine: wire.EngineDetail,
    arguments: Mapping[str, str],
    frames: FrameSet | None,
    wishes: Wishes,
    variants: Sequence[Variant],
) -> Submission:
    """As `prepare`, but that each variant must be complete, with what it shares with the others.

    `engines`: all that a variant may name. Raises Unusable.
    """
    bundle = bundles.of(project, follow_links=False) if isinstance(project, Path) else project
    if frames is None and not {name.lower() for name in arguments} & set(RANGE_ARGUMENTS):
        named = (variant.engine for variant in variants if variant.engine)
        used = [engine, *(choose_engine(engines, PurePath(bundle.main), name) for name in named)]
        if all(scene_frames(bundle, each) is not None for each in used):
            frames = scene_frames(bundle, engine)
    base = Submission(bundle, engine, dict(arguments), frames, wishes)
    checked = []
    for variant in variants:
        try:
            checked.append(_checked(engines, base, variant))
        except Unusable as error:
            raise Unusable(f"Variant {variant.name}: {error}", error.hint) from None
    return replace(base, variants=tuple(checked))


def _checked(
    engines: Sequence[wire.EngineDetail], base: Submission, variant: Variant
) -> wire.Variant:
    main = PurePath(base.bundle.main)
    engine = choose_engine(engines, main, variant.engine) if variant.engine else base.engine
    known = {argument.arg_type_id.lower() for argument in engine.arguments}
    own = {name.lower(): value for name, value in variant.arguments.items()}
    inherited = {k.lower(): v for k, v in base.arguments.items() if k.lower() in known}
    frames = variant.frames
    if frames is not None:
        inherited = {k: v for k, v in inherited.items() if k not in RANGE_ARGUMENTS}
    elif not own.keys() & set(RANGE_ARGUMENTS):
        frames = base.frames
    whole = prepare(base.bundle, engine, inherited | own, frames)
    return wire.Variant(
        name=variant.name,
        engine_id=str(engine.engine_id) if variant.engine else "",
        arguments=[
            wire.ArgumentValue(arg_type_id=name, value=value)
            for name, value in whole.arguments.items()
            if name.lower() in own
        ],
        frames=None if variant.frames is None else str(variant.frames),
        engine_version=variant.engine_version,
    )
