"""Takes a submission in: the original's checks in the original's order, then all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path

from renderonline import blendfile, wire
from renderonline.api.db import catalog, tasks
from renderonline.api.db.connection import DatabaseFull, Transaction
from renderonline.api.domain.arguments import BadArgument
from renderonline.api.domain.model import Engine, Role, User
from renderonline.api.domain.names import usable_name
from renderonline.api.services import projects, variants
from renderonline.api.services.context import Context, Refused, whole_seconds
from renderonline.api.services.projects import Project
from renderonline.api.services.variants import Offer, Row
from renderonline.api.storage.folders import DiskFull, is_disk_full
from renderonline.manifests import BadManifest
from renderonline.names import BadName

NO_FILE = "No file was sent: the body needs a part with a file name."


QUICKLY_READ_BYTES = 100 << 20
"""A .blend up to this size is read in some 0.05 s, compressed or not."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What a submission's body held. The file is in `incoming` and stays the receiver's."""

    file: Path | None
    sent_name: str
    size_bytes: int
    file_count: int
    request: bytes | None
    sha256: str = ""  # of the file


def enqueue(ctx: Context, user: User, upload: Upload) -> int:
    """A new task in the queue; its id. Raises Refused, having left nothing behind."""
    if upload.file is None and upload.request is None:
        raise _bad(NO_FILE)
    if upload.request is None:
        raise _bad("No request was sent: the body needs a part named request, with JSON in it.")
    try:
        request = wire.decode(upload.request, wire.EnqueueRequest)
    except wire.WireError as error:
        raise _bad(f"The request part cannot be read. {error}") from None
    if upload.file is None:
        if request.manifest is None:
            raise _bad(NO_FILE)
        return submit(ctx, user, request)
    if upload.file_count > 1:
        raise _bad("More than one file was sent; a task takes one project file.")
    if request.manifest is not None:
        raise _bad("A file and a Manifest were sent; a task takes one of them.")
    file, sha256, size_bytes = upload.file, upload.sha256, upload.size_bytes
    return _take(
        ctx,
        user,
        request,
        upload.sent_name,
        lambda name: projects.of_upload(name, sha256, size_bytes, file),
    )


def submit(ctx: Context, user: User, request: wire.EnqueueRequest) -> int:
    """The same, of a project whose files are in the store already."""
    manifest = request.manifest
    if manifest is None:
        raise _bad("The request has no Manifest, which says what the project is made of.")
    name = manifest.main.rpartition("/")[2]
    return _take(ctx, user, request, name, lambda _name: projects.of_manifest(manifest))


def _take(
    ctx: Context,
    user: User,
    request: wire.EnqueueRequest,
    sent_name: str,
    project_of: Callable[[str], Project],
) -> int:
    """The checks, in the original's order. `project_of` makes the project of its file's name."""
    _check_limit(ctx, user)
    try:
        with ctx.database.reading():
            engines, argtypes = catalog.engines(), catalog.argtypes()
        engine = _engine(engines, request.engine_id.strip(), sent_name)
        name = usable_name(sent_name)
        variants.check_takes(engine, name)
        project = project_of(name)
        if project.main.size == 0:
            raise _bad(f"{name[:80]} is empty. Was it saved?")
        projects.check_files(ctx, project)
        ctx.room.check_project(user, project.ref.sha256, project.hashes)
        moment = ctx.local_now()
        folder = ctx.folders.plan(engine.download_path, user.user_id, moment)
        main = folder.joinpath(*project.manifest.main.split("/"))
        facts = cache(
            partial(blendfile.read, source := projects.source(ctx, project, project.main))
        )
        offer = Offer(
            engines,
            argtypes,
            folder,
            main,
            is_own=partial(_is_own, ctx, user),
            scene_of=lambda name: facts().scene(name),
            is_quickly_read=project.main.size <= QUICKLY_READ_BYTES,
            lacks=lambda view: blendfile.complaint(view, facts(), _choices(source)),
        )
        rows = variants.rows(request, engine, offer)
    except (BadName, BadArgument, BadManifest) as error:
        raise _bad(str(error)) from None
    add = partial(_add, user, moment, offer, project, rows)
    return _store(ctx, user, folder, project, add)


def _choices(project: Path) -> blendfile.Choices | None:
    try:
        with project.open("rb") as file:
            return blendfile.choices_in(file, project.stat().st_size)
    except OSError:
        return None


def _add(
    user: User, moment: datetime, offer: Offer, project: Project, rows: Sequence[Row]
) -> list[int]:
    """Write the rows: the first is the task that the user sees, the others its variants."""
    is_flat = offer.project.parent == offer.folder
    task_ids: list[int] = []
    for row in rows:
        render = {
            "file_name": offer.project.name,
            "file_path": str(offer.project),
            "file_size": project.main.size,
            "arguments": row.command.arguments,
            "engine_id": row.engine.engine_id,
            "manifest": project.ref.sha256,
            "folder": None if is_flat else str(offer.folder),
        }
        frames = None if row.command.frames is None else str(row.command.frames)
        parent = {"parent_id": task_ids[0]} if task_ids else {}
        columns = {**row.columns, **parent}
        added = tasks.add(user.user_id, whole_seconds(moment), render, frames, **columns)
        task_ids.append(added)
    return task_ids


def _store(
    ctx: Context, user: User, folder: Path, project: Project, add: Callable[[], list[int]]
) -> int:
    """Make the project's folder, and write the tasks that `add` writes; the id of the first.

    Raises Refused 403, 409, 507, having left nothing behind.
    """
    try:
        with projects.written(ctx, project) as whole:
            ctx.folders.create(folder, partial(projects.fill, ctx, whole))
            return _commit(ctx, user, folder, whole, add)
    except DiskFull:
        raise _full() from None
    except OSError as error:
        if is_disk_full(error):
            raise _full() from None
        raise Refused(
            507,
            "storage",
            f"The server cannot write the project into {folder.parent}: {error.strerror}.",
        ) from None


def _commit(
    ctx: Context, user: User, folder: Path, project: Project, add: Callable[[], list[int]]
) -> int:
    """Write the rows; if that fails, `folder` goes, and what came with the project."""

    def write(tx: Transaction) -> int:
        tasks.lock_user(user.user_id)
        _within_limit(user)
        projects.write(ctx, project, user.user_id)
        task_ids = add()
        for task_id in task_ids:
            tx.after_commit(partial(ctx.changed, task_id))
        return task_ids[0]

    try:
        task_id = ctx.database.transact(write)
    except BaseException as error:
        ctx.folders.discard(folder)
        ctx.contents.abandon(project.arrivals)
        if isinstance(error, DatabaseFull):
            raise _full() from None
        raise
    ctx.contents.store.secure(project.arrivals)
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


def _engine(engines: Sequence[Engine], wanted: str, sent_name: str) -> Engine:
    """The engine that was asked for. Raises Refused.

    The original's client always asks for 0, the index of a list with one entry; where there is no
    such engine, the file's extension decides.
    """
    for engine in engines:
        if str(engine.engine_id) == wanted:
            return engine
    if wanted not in ("", "0"):
        raise _bad(f"There is no engine {wanted[:20]!r}.")
    suffix = Path(usable_name(sent_name)).suffix.lower()
    for engine in engines:
        if engine.extension.lower() == suffix:
            return engine
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
