"""Takes in what a node sends back: one file of a result, on the disk before it is acknowledged.

A file belongs to an attempt. While that is current the file is taken, however late and however
often; afterwards it changes nothing, and the node is told to drop it.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from renderonline import manifests
from renderonline.api.db import chunks, tasks
from renderonline.api.domain.model import Chunk, Job
from renderonline.api.domain.transitions import ACTIVE_CHUNK
from renderonline.api.services.context import Context, Refused
from renderonline.api.storage.durable import HashedFile, sync_folder
from renderonline.api.storage.folders import is_disk_full
from renderonline.api.storage.trees import Entry
from renderonline.manifests import BadManifest
from renderonline.paths import UNFINISHED

CHECK_BYTES = 64 << 20
"""How much of a file is taken before it is looked again whether there is still room."""


def is_current(ctx: Context, attempt_id: int) -> bool:
    """Whether the api works with this attempt."""
    with ctx.database.reading():
        chunk = chunks.get(attempt_id)
    return chunk is not None and chunk.state in ACTIVE_CHUNK


def receive(
    ctx: Context, chunk: Chunk, path: str, sha256: str, pieces: Iterator[bytes], size: int | None
) -> bool:
    """Put a file among the results of the attempt's task; False if the attempt is over.

    `path` is relative to the task's output folder; `size` is what was announced, in bytes. Raises
    Refused: 400 for a path or a hash that is not right, 507 where there is no room, or only what the
    database needs. OSError when the connection breaks off.
    """
    try:
        manifests.check_path(path)
    except BadManifest as error:
        raise Refused(400, "bad_request", str(error)) from None
    if any(part.startswith(UNFINISHED) for part in path.split("/")):
        message = f"A name that begins with {UNFINISHED} is for what is not a result yet."
        raise Refused(400, "bad_request", message)
    if not manifests.is_sha256(sha256):
        raise Refused(400, "bad_request", "X-Sha256 is not 64 hexadecimal digits.")
    job = _job(ctx, chunk)
    if job is None or not is_current(ctx, chunk.attempt_id):
        return False
    ctx.room.check_result(size or 0)
    with _disk(path):
        arrived = HashedFile(ctx.folders.incoming_file())
    try:
        crc = _write(ctx, arrived, pieces, path)
        with _disk(path):
            found = arrived.finish()
        if found != sha256 or (size is not None and arrived.size_bytes != size):
            raise Refused(400, "bad_hash", f"{path} came damaged.", "Send it again.")
        # Asked again: the attempt may have been given away while the file was on its way.
        if not is_current(ctx, chunk.attempt_id):
            return False
        _put(ctx, job, path, arrived.path, crc)
        return True
    finally:
        arrived.close()
        arrived.path.unlink(missing_ok=True)


def _job(ctx: Context, chunk: Chunk) -> Job | None:
    with ctx.database.reading():
        return tasks.job(chunk.task_id)


def _write(ctx: Context, arrived: HashedFile, pieces: Iterator[bytes], path: str) -> int:
    """Keep what comes; its CRC-32, which an archive of the results will need."""
    crc = 0
    checked_bytes = 0
    for piece in pieces:
        if arrived.size_bytes - checked_bytes >= CHECK_BYTES:  # others fill the disk as well
            ctx.room.check_result(len(piece))
            checked_bytes = arrived.size_bytes
        with _disk(path):
            arrived.write(piece)
        crc = zlib.crc32(piece, crc)
    return crc


def _put(ctx: Context, job: Job, path: str, file: Path, crc: int) -> None:
    task_dir, target = job.render.task_dir, job.output_dir.joinpath(*path.split("/"))
    with _disk(path):
        _make(task_dir, target.parent, path)
        if target.is_dir():
            raise _no_place(path)
        # By the time that the file brings along: what is at its place later may be another one.
        status = file.stat()
        entry = Entry(task_dir, path, str(target), status.st_size, status.st_mtime_ns)
        ctx.folders.put(file, target)
        sync_folder(target.parent)
        ctx.folders.checksums.book(task_dir).note(entry, status.st_size, crc)


def _make(task_dir: Path, folder: Path, path: str) -> None:
    """Make a folder below the task's. Raises OSError, Refused.

    A task that is being deleted has lost its own: that is not made anew.
    """
    here, real = task_dir, task_dir.resolve()
    for part in folder.relative_to(task_dir).parts:
        here = here / part
        try:
            here.mkdir()
            sync_folder(here.parent)  # its name, too, is acknowledged with the file
        except FileNotFoundError:
            raise Refused(410, "gone", "The task was deleted.") from None
        except FileExistsError:
            if not here.is_dir():
                raise _no_place(path) from None
        # A renderer on this machine may have put a link in the folder's place.
        if not here.resolve().is_relative_to(real):
            raise Refused(400, "bad_request", f"{path} leads out of the task's folder.")


@contextmanager
def _disk(path: str) -> Iterator[None]:
    """What the disk refuses in the block, the node is to send again; but a name that it cannot hold."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            message = "The server's disk is full. The node keeps the file for now."
            raise Refused(507, "disk_full", message) from None
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
            raise _no_place(path) from None
        message = f"The server cannot write {path}: {error.strerror or error}."
        raise Refused(507, "storage", message) from None


def _no_place(path: str) -> Refused:
    message = f"There is no place for a file {path[-200:]} among the results: a folder or another "
    return Refused(400, "bad_request", f"{message}file is in its way, or its name is too long.")
