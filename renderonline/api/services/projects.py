"""A submission's project: its manifest, its files in the store, and the task's folder made of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from renderonline import manifests
from renderonline.api.db import contents, tasks
from renderonline.api.domain.model import OUTPUT_FOLDER, Render
from renderonline.api.services.context import Context, Refused
from renderonline.api.storage import durable
from renderonline.api.storage.links import Linker
from renderonline.api.storage.plain_file import PlainFile
from renderonline.api.storage.trees import Entry
from renderonline.manifests import BadManifest
from renderonline.wire import Manifest, ManifestFile, ProjectRef

_adopting = threading.Lock()


@dataclass(frozen=True, slots=True)
class Project:
    """What a task is to render. `arrivals`: files in `incoming` that come with it, by their hash;
    all others are in the store, or it cannot be taken."""

    manifest: Manifest
    ref: ProjectRef
    arrivals: dict[str, Path] = field(default_factory=dict)

    @property
    def main(self) -> ManifestFile:
        return next(file for file in self.manifest.files if file.path == self.manifest.main)

    @property
    def hashes(self) -> list[str]:
        """Of its files, each once."""
        return list(dict.fromkeys(file.sha256 for file in self.manifest.files))


# --------------------------------------------------------------------------- what is submitted


def of_upload(name: str, sha256: str, size_bytes: int, file: Path) -> Project:
    """A project of one file, which has just been received."""
    manifest = Manifest(main=name, files=[ManifestFile(path=name, sha256=sha256, size=size_bytes)])
    return Project(manifest, manifests.ref(manifest), {sha256: file})


def of_manifest(manifest: Manifest) -> Project:
    """A project whose files are there. Raises BadManifest."""
    manifests.check(manifest)
    for file in manifest.files:
        if file.path.split("/")[0].casefold() == OUTPUT_FOLDER:
            raise BadManifest(
                f"The project has a file in {OUTPUT_FOLDER}: {file.path[:80]!r}. That is where its "
                "results go. Rename that folder."
            )
    return Project(manifest, manifests.ref(manifest))


def check_files(ctx: Context, project: Project) -> None:
    """Raises Refused 409 naming a file that is not in the store."""
    expected = ctx.contents.stamps(project.hashes)
    for file in project.manifest.files:
        known = expected.get(file.sha256)
        if file.sha256 not in project.arrivals and known is None:
            raise missing(file.path)
        if known is not None and known.size_bytes != file.size:
            raise Refused(
                400,
                "bad_request",
                f"{file.path[:200]!r} has {known.size_bytes} bytes by its Sha256, not {file.size}.",
            )


def missing(path: str) -> Refused:
    return Refused(
        409,
        "missing_files",
        f"The project's file {path[:200]!r} is not on the server.",
        "Ask files/missing what has to be sent, send it, and submit again.",
    )


@contextmanager
def written(ctx: Context, project: Project) -> Iterator[Project]:
    """The project, with its manifest's JSON as a file in `incoming` that goes with the block."""
    file = ctx.folders.incoming_file()
    try:
        durable.write_new(file, manifests.encode(project.manifest))
        arrivals = {**project.arrivals, project.ref.sha256: file}
        yield Project(project.manifest, project.ref, arrivals)
    finally:
        file.unlink(missing_ok=True)


def source(ctx: Context, project: Project, file: ManifestFile) -> Path:
    """Where the file's bytes can be read just now."""
    arrival = project.arrivals.get(file.sha256)
    return ctx.contents.store.place(file.sha256) if arrival is None else arrival


def fill(ctx: Context, project: Project, folder: Path) -> None:
    """Make the project's tree in `folder`, which is there and empty. Raises Refused 409, OSError."""
    expected = ctx.contents.stamps(project.hashes)
    linker = Linker(folder)
    for file in project.manifest.files:
        arrival = project.arrivals.get(file.sha256)
        try:
            if file.sha256 in expected:
                place = ctx.contents.store.place(file.sha256)
                if linker.put(place, file.path, file.executable) == expected[file.sha256]:
                    continue
        except FileNotFoundError:
            pass
        if file.sha256 in expected:
            ctx.contents.drop_if_changed(file.sha256)
            folder.joinpath(file.path).unlink(missing_ok=True)
        if arrival is None:
            raise missing(file.path)
        linker.put(arrival, file.path, file.executable)
    linker.settle()


def write(ctx: Context, project: Project, user_id: int | None) -> None:
    """Inside the transaction that adds the tasks: what the project needs is there, and stays.

    Raises Refused 409.
    """
    for sha256 in sorted(project.arrivals):
        ctx.contents.put(sha256, project.arrivals[sha256], user_id)
    there = contents.known(project.hashes, lock=True)
    for file in project.manifest.files:
        if file.sha256 not in there:
            raise missing(file.path)
    contents.add_manifest(project.ref, project.hashes, ctx.clock.now())


# --------------------------------------------------------------------------- what a render has


def ref_of(ctx: Context, render: Render) -> ProjectRef | None:
    """The project of a task, to be fetched by its hashes; None if its files are gone.

    A task of an older database gets its manifest now, which reads its file: call this only for a
    machine that cannot see the task's folder. Raises DatabaseError, OSError.
    """
    with ctx.database.reading():
        found = contents.manifest(render.manifest) if render.manifest else None
    return found or _adopted(ctx, render)


def is_part(ctx: Context, manifest_sha256: str, sha256: str) -> bool:
    """Whether a content is the manifest or of its project."""
    with ctx.database.reading():
        return contents.is_part(manifest_sha256, sha256)


def content_for(ctx: Context, task_id: int, sha256: str) -> PlainFile | None:
    """A file of a task's project (its manifest is one), as bytes; None if it has no such file."""
    with ctx.database.reading():
        job = tasks.job(task_id)
        manifest = None if job is None else job.render.manifest
        is_its_own = manifest is not None and contents.is_part(manifest, sha256)
    path = ctx.contents.path(sha256) if is_its_own else None
    if path is None:
        return None
    status = path.stat()
    entry = Entry(path.parent, sha256, str(path), status.st_size, status.st_mtime_ns)
    return PlainFile(entry, etag=sha256)


def _adopted(ctx: Context, render: Render) -> ProjectRef | None:
    """The project of a render that has no manifest: a copy of its one file, taken into the store.

    A copy, since what a renderer may still write into must not be hashed in its place.
    """
    file = Path(render.file_path)
    # A renderer may have put a link in its place, to have others' files handed out.
    if render.manifest is not None or file.is_symlink() or not file.is_file():
        return None
    taken = durable.HashedFile(ctx.folders.incoming_file())
    with _adopting:
        try:
            with file.open("rb") as reader:
                while block := reader.read(durable.READ_BYTES):
                    taken.write(block)
            project = of_upload(file.name, taken.finish(), taken.size_bytes, taken.path)
            with written(ctx, project) as whole:
                _keep_adopted(ctx, whole, render)
        finally:
            taken.close()
            taken.path.unlink(missing_ok=True)
    return project.ref


def _keep_adopted(ctx: Context, project: Project, render: Render) -> None:
    def write_all(_tx: object) -> None:
        write(ctx, project, None)
        contents.set_manifest(render.file_path, project.ref.sha256)

    try:
        ctx.database.transact(write_all)
    except BaseException:
        ctx.contents.abandon(project.arrivals)
        raise
    ctx.contents.store.secure(project.arrivals)
