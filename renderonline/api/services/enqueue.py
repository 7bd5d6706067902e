"""Takes a submission in: the original's checks in the original's order, then all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from renderonline import wire
from renderonline.api.db import catalog, tasks
from renderonline.api.db.connection import DatabaseFull, Transaction
from renderonline.api.domain.arguments import BadArgument
from renderonline.api.domain.model import ArgType, Engine, Role, User
from renderonline.api.domain.names import BadName, usable_name
from renderonline.api.services import commands, options
from renderonline.api.services.context import Context, Refused, whole_seconds
from renderonline.api.storage.folders import DiskFull


@dataclass(frozen=True, slots=True)
class Upload:
    """What a submission's body held. The file is in `incoming` and stays the receiver's."""

    file: Path | None
    sent_name: str
    size_bytes: int
    file_count: int
    request: bytes | None


def enqueue(ctx: Context, user: User, upload: Upload) -> int:
    """A new task in the queue; its id. Raises Refused, having left nothing behind."""
    if upload.file is None:
        raise _bad("No file was sent: the body needs a part with a file name.")
    if upload.request is None:
        raise _bad("No request was sent: the body needs a part named request, with JSON in it.")
    try:
        request = wire.decode(upload.request, wire.EnqueueRequest)
    except wire.WireError as error:
        raise _bad(f"The request part cannot be read. {error}") from None
    if upload.file_count > 1:
        raise _bad("More than one file was sent; a task takes one project file.")
    _check_limit(ctx, user)
    try:
        return _take(ctx, user, upload, request)
    except (BadName, BadArgument) as error:
        raise _bad(str(error)) from None


def _take(ctx: Context, user: User, upload: Upload, request: wire.EnqueueRequest) -> int:
    engine, argtypes = _engine(ctx, request, upload.sent_name)
    name = usable_name(upload.sent_name)
    if Path(name).suffix.lower() != engine.extension.lower():
        raise _bad(f"{engine.name} takes {engine.extension} files; {name[:80]} is not one.")
    if upload.size_bytes == 0:
        raise _bad(f"{name[:80]} is empty. Was it saved?")
    values = commands.checked_values(request.arguments, argtypes)
    wanted = commands.add_frames(values, request.frames, engine, argtypes)
    moment = ctx.local_now()
    folder = ctx.folders.plan(engine.download_path, user.user_id, moment)
    project = folder / name
    command = commands.build(engine, values, argtypes, project, wanted)
    columns = options.columns(request, engine, command, partial(_is_own, ctx, user))
    render = {
        "file_name": name,
        "file_path": str(project),
        "file_size": upload.size_bytes,
        "arguments": command.arguments,
        "engine_id": engine.engine_id,
    }
    assert upload.file is not None
    _store(ctx, folder, upload.file, name)
    frames = None if command.frames is None else str(command.frames)
    add = partial(tasks.add, user.user_id, whole_seconds(moment), render, frames, **columns)
    return _commit(ctx, user, folder, add)


def _store(ctx: Context, folder: Path, file: Path, name: str) -> None:
    """Move the upload into its task's folder. Raises Refused 507, having left nothing behind."""
    try:
        ctx.folders.create(folder, file, name)
    except DiskFull:
        raise _full() from None
    except OSError as error:
        raise Refused(
            507,
            "storage",
            f"The server cannot write the project into {folder.parent}: {error.strerror}.",
        ) from None


def _commit(ctx: Context, user: User, folder: Path, add: Callable[[], int]) -> int:
    """Write the rows that `add` writes; if that fails, `folder` goes. Raises Refused 403, 507."""

    def write(tx: Transaction) -> int:
        tasks.lock_user(user.user_id)
        _within_limit(user)
        task_id = add()
        tx.after_commit(lambda: ctx.changed(task_id))
        return task_id

    try:
        task_id = ctx.database.transact(write)
    except DatabaseFull:
        ctx.folders.discard(folder)
        raise _full() from None
    except BaseException:
        ctx.folders.discard(folder)
        raise
    ctx.folders.settle(folder)
    return task_id


def _check_limit(ctx: Context, user: User) -> None:
    with ctx.database.reading():
        _within_limit(user)


def _within_limit(user: User) -> None:
    """Inside the caller's reading or transaction. Raises Refused 403."""
    limit = catalog.queue_limit(user.subscription_id)
    if tasks.queued_count(user.user_id) >= limit:
        raise Refused(
            403,
            "queue_full",
            f"Your queue is full: your subscription lets {limit} tasks wait or run at a time. "
            "Wait for one to end, or cancel one.",
        )


def _engine(
    ctx: Context, request: wire.EnqueueRequest, sent_name: str
) -> tuple[Engine, list[ArgType]]:
    """The engine that was asked for. Raises Refused.

    The original's client always asks for 0, the index of a list with one entry; where there is no
    such engine, the file's extension decides.
    """
    wanted = request.engine_id.strip()
    with ctx.database.reading():
        argtypes = catalog.argtypes()
        engines = catalog.engines()
    for engine in engines:
        if str(engine.engine_id) == wanted:
            return engine, argtypes
    if wanted not in ("", "0"):
        raise _bad(f"There is no engine {wanted[:20]!r}.")
    suffix = Path(usable_name(sent_name)).suffix.lower()
    for engine in engines:
        if engine.extension.lower() == suffix:
            return engine, argtypes
    takes = ", ".join(sorted({engine.extension for engine in engines})) or "none"
    raise _bad(f"No engine takes {suffix or 'a file without extension'}. This farm takes: {takes}.")


def _is_own(ctx: Context, user: User, task_id: int) -> bool:
    with ctx.database.reading():
        job = tasks.job(task_id) if 0 < task_id <= wire.MAX_ID else None
    return job is not None and (job.task.user_id == user.user_id or user.role is Role.ADMIN)


def _full() -> Refused:
    return Refused(507, "disk_full", "The server's disk is full. Nothing was kept.")


def _bad(message: str) -> Refused:
    return Refused(400, "bad_request", message)
