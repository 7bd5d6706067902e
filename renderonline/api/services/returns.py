"""Takes in what a node sends back: one file of a result, on the disk before it is acknowledged.

A file belongs to an attempt. While that is current the file is taken, however late and however
often; afterwards it changes nothing, and the node is told to drop it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
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
    Refused: 400 for a path or a hash that is not right, 507 where there is no room. OSError when the
    connection breaks off.
    """
    try:
        manifests.check_path(path)
    except BadManifest as error:
        raise Refused(400, "bad_request", str(error)) from None
    if not manifests.is_sha256(sha256):
        raise Refused(400, "bad_request", "X-Sha256 is not 64 hexadecimal digits.")
    job = _job(ctx, chunk)
    if job is None or not is_current(ctx, chunk.attempt_id):
        return False
    arrived = HashedFile(ctx.folders.incoming_file())
    try:
        crc = _write(arrived, pieces)
        if arrived.finish() != sha256 or (size is not None and arrived.size_bytes != size):
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


def _write(arrived: HashedFile, pieces: Iterator[bytes]) -> int:
    """Keep what comes; its CRC-32, which an archive of the results will need."""
    crc = 0
    for piece in pieces:
        try:
            arrived.write(piece)
            crc = zlib.crc32(piece, crc)
        except OSError as error:
            if is_disk_full(error):
                raise _full() from None
            raise
    return crc


def _put(ctx: Context, job: Job, path: str, file: Path, crc: int) -> None:
    target = job.output_dir.joinpath(*path.split("/"))
    # A task that is being deleted has lost its folder: nothing is made anew then.
    if not job.render.task_dir.is_dir():
        raise Refused(410, "gone", "The task was deleted.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A renderer on this machine may have put a link in the folder's place.
        if not target.parent.resolve().is_relative_to(job.render.task_dir.resolve()):
            raise Refused(400, "bad_request", f"{path} leads out of the task's folder.")
        # By the time that the file brings along: what is at its place later may be another one.
        status = file.stat()
        entry = Entry(job.render.task_dir, path, str(target), status.st_size, status.st_mtime_ns)
        ctx.folders.put(file, target)
        sync_folder(target.parent)
        ctx.folders.checksums.book(job.render.task_dir).note(entry, status.st_size, crc)
    except OSError as error:
        if is_disk_full(error):
            raise _full() from None
        raise Refused(
            507, "storage", f"The server cannot write {path}: {error.strerror or error}."
        ) from None


def _full() -> Refused:
    return Refused(507, "disk_full", "The server's disk is full. The node keeps the file for now.")
