"""Variants: one submission with several outputs of one project.

The task that the user sees has no chunks and is never planned; each of its variants is a task of
its own, with a folder of its own among the results. Owns what rows a submission becomes, and that
the row of the whole follows those of its variants.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from renderonline import wire
from renderonline.api.db import tasks
from renderonline.api.db.connection import Stale, Transaction
from renderonline.api.domain import rollup
from renderonline.api.domain.arguments import BadArgument
from renderonline.api.domain.model import OUTPUT_FOLDER, ArgType, Engine, Task
from renderonline.api.domain.transitions import QUEUED_TASK
from renderonline.api.services import commands, options
from renderonline.api.services.commands import END, START, STEP, Command, Place
from renderonline.api.services.context import Context
from renderonline.blendfile import View
from renderonline.engines.blender_scene import SceneOf
from renderonline.names import BadName, checked

MAX_VARIANTS = 20
MAX_NAME = 50

MAX_ID_BYTES = 255
"""Of a name in a .blend, in UTF-8: 63 up to Blender 4, 255 in Blender 5."""

_NO_COMMAND = Command(arguments="", frames=None, recipe=None)


# --------------------------------------------------------------------------- what is submitted


@dataclass(frozen=True, slots=True)
class Row:
    """A task that is to be written, with its render. `columns`: more of `tasks`."""

    engine: Engine
    command: Command
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a submission is checked against. `project`: where its main file will lie, in `folder` or
    below it."""

    engines: Sequence[Engine]
    argtypes: Sequence[ArgType]
    folder: Path
    project: Path
    is_own: Callable[[int], bool]  # whether the submitter has that task
    scene_of: SceneOf
    is_quickly_read: bool  # the project, for what is merely good to know
    lacks: Callable[[View], str | None]  # what the project has not that is chosen, as a sentence


def rows(request: wire.EnqueueRequest, engine: Engine, offer: Offer) -> list[Row]:
    """The tasks that a submission becomes: the one that the user sees, then its variants.

    Raises BadArgument with a sentence for the submitter.
    """
    values = commands.checked_values(request.arguments, engine, offer.argtypes)
    if not request.variants:
        return [_row(request, engine, values, offer)]
    names = _names(request.variants)
    whole = options.columns(request, engine, _NO_COMMAND, offer.is_own) | {"variant": ""}
    found = [Row(engine, _NO_COMMAND, whole)]
    for name, variant in zip(names, request.variants, strict=True):
        try:
            found.append(_variant(name, variant, request, engine, values, offer))
        except BadArgument as error:
            raise BadArgument(f"Variant {name}: {error}") from None
    return found


def _row(
    request: wire.EnqueueRequest,
    engine: Engine,
    values: dict[str, str],
    offer: Offer,
    variant: str | None = None,
) -> Row:
    output_dir = offer.folder / OUTPUT_FOLDER
    if variant:
        output_dir /= variant
    wanted = commands.add_frames(values, request.frames, engine, offer.argtypes)
    place = Place(offer.project, offer.folder, output_dir)
    view = _view(request, offer)
    command = commands.build(
        engine, values, offer.argtypes, place, wanted, offer.scene_of, offer.is_quickly_read, view
    )
    columns = options.columns(request, engine, command, offer.is_own)
    return Row(engine, command, columns | ({"variant": variant} if variant else {}))


def _view(request: wire.EnqueueRequest, offer: Offer) -> View:
    """What is chosen of the project. Raises BadArgument for a name that is none, or not in there."""
    chosen = {"scene": request.scene, "camera": request.camera, "view layer": request.view_layer}
    for what, name in chosen.items():
        if name and (len(name.encode()) > MAX_ID_BYTES or not name.isprintable()):
            raise BadArgument(f"{name[:60]!r} cannot be the name of a {what}.")
    view = View(request.scene or None, request.camera or None, request.view_layer or None)
    if view and (lacking := offer.lacks(view)) is not None:
        raise BadArgument(lacking)
    return view


def _variant(
    name: str,
    variant: wire.Variant,
    request: wire.EnqueueRequest,
    engine: Engine,
    values: dict[str, str],
    offer: Offer,
) -> Row:
    """The row of one variant: what it does not say is the submission's. Raises BadArgument."""
    chosen = _engine(variant, engine, offer)
    own = commands.checked_values(variant.arguments, chosen, offer.argtypes)
    frames = variant.frames
    if frames is not None:
        # Its frames are its own, however the submission says which ones it has.
        values = {key: value for key, value in values.items() if key not in (START, END, STEP)}
    elif not own.keys() & {START, END}:
        frames = request.frames
    asked = msgspec.structs.replace(
        request,
        frames=frames,
        engine_version=variant.engine_version or request.engine_version,
        scene=variant.scene or request.scene,
        camera=variant.camera or request.camera,
        view_layer=variant.view_layer or request.view_layer,
    )
    return _row(asked, chosen, values | own, offer, name)


def _engine(variant: wire.Variant, default: Engine, offer: Offer) -> Engine:
    wanted = variant.engine_id.strip()
    if not wanted:
        return default
    for engine in offer.engines:
        if str(engine.engine_id) == wanted:
            check_takes(engine, offer.project.name)
            return engine
    raise BadArgument(f"There is no engine {wanted[:20]!r}.")


def check_takes(engine: Engine, name: str) -> None:
    """Raises BadArgument if the engine is for other projects than one of this name."""
    if Path(name).suffix.lower() != engine.extension.lower():
        raise BadArgument(f"{engine.name} takes {engine.extension} files; {name[:80]} is not one.")


def _names(variants: Sequence[wire.Variant]) -> list[str]:
    """Their names, each good for a folder on every platform. Raises BadArgument."""
    if len(variants) > MAX_VARIANTS:
        raise BadArgument(f"These are {len(variants)} variants; a submission takes {MAX_VARIANTS}.")
    names = [_name(variant.name) for variant in variants]
    seen: set[str] = set()
    for name in names:
        same = unicodedata.normalize("NFC", name.casefold())
        if same in seen:
            raise BadArgument(f"Two variants are named {name}, perhaps in other letters.")
        seen.add(same)
    return names


def _name(text: str) -> str:
    name = text.strip()
    if not name:
        raise BadArgument("A variant has no name. It names the folder of its results.")
    if len(name) > MAX_NAME or set(name) & set("/\\#"):
        raise BadArgument(
            f"A variant cannot be named {name[:60]!r}: the name of its folder has up to {MAX_NAME} "
            "characters, and none of / \\ #."
        )
    try:
        return checked(name, "variant")
    except BadName as error:
        raise BadArgument(str(error)) from None


# --------------------------------------------------------------------------- what is there


def parts(task_id: int) -> list[int]:
    """The tasks that are rendered for this one: its variants in order, or itself. Inside a reading."""
    return [part.task_id for part in tasks.variants(task_id)] or [task_id]


def left(ctx: Context, tx: Transaction, parent_id: int) -> bool:
    """A variant has been deleted: the whole follows the others, or goes with the last; whether it
    has gone. Raises Stale."""
    job = tasks.locked(parent_id)
    if job is None or tasks.variants(parent_id):
        roll_up(ctx, tx, parent_id)
        return False
    tasks.delete(parent_id, job.render.render_id)
    tx.after_commit(lambda: ctx.changed(parent_id))
    return True


def roll_up(ctx: Context, tx: Transaction, parent_id: int) -> None:
    """Bring the row of a task with variants up to date with theirs.

    Called behind every change of a variant's state, in the same transaction, with that variant's
    row locked: variants are locked before the whole, here as everywhere. Raises Stale.
    """
    job = tasks.locked(parent_id)
    found = tasks.variants(parent_id)
    if job is None or not found:
        return
    before, after = job.task, rollup.rolled_up(job.task, found)
    if after == before:
        return
    is_live = after.state in QUEUED_TASK
    if is_live and before.state not in QUEUED_TASK:
        tasks.enqueue(parent_id)
    elif not is_live:
        tasks.unqueue(parent_id)
    if not tasks.set_task(parent_id, before.version, **_columns(after)):
        raise Stale
    tx.after_commit(lambda: ctx.changed(parent_id))


def _columns(task: Task) -> dict[str, Any]:
    return {
        "state": task.state.value,
        "is_running": task.is_running,
        "is_success": task.is_success,
        "start_time": task.start_time,
        "end_time": task.end_time,
        "machine_id": task.machine_id,
        "cause": None if task.cause is None else task.cause.value,
        "message": task.message,
    }
