"""What has been rendered: the files of a task, one by one or as a ZIP, and whose frames they are."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from renderonline import wire
from renderonline.api.db import contents, tasks
from renderonline.api.domain import model
from renderonline.api.domain.arguments import BadArgument
from renderonline.api.domain.changes import all_frames
from renderonline.api.domain.transitions import QUEUED_TASK
from renderonline.api.services.commands import parse_frames
from renderonline.api.services.context import Context, Refused
from renderonline.api.services.tasks import own
from renderonline.api.storage import archive, trees
from renderonline.api.storage.archive import Archive
from renderonline.api.storage.plain_file import PlainFile
from renderonline.api.storage.trees import Entry
from renderonline.frames import FrameSet, frame_of, heads_of

RESULTS, ALL = "results", "all"
"""What an archive may hold: what has been rendered, or that and the project."""

MAX_PAGE = 10_000
NO_HEADS: frozenset[str] = frozenset()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task's files are, and what is known of them without looking."""

    job: model.Job
    root: Path  # the task's folder
    inside: str  # where the results are in it; "": beside the project
    frames: Mapping[str, FrameSet]  # of each variant, by its name; of a single task by ""
    is_final: bool  # whether nothing writes into it any more
    others: frozenset[Path]  # folders of other variants

    def entries(self, only: str = RESULTS) -> list[Entry]:
        """The files; of ALL with their names in the task's folder."""
        if only == ALL:
            return trees.entries(self.root, but=self.others)
        found = trees.entries(self.root, self.inside)
        project = self.job.render.file_name
        return found if self.inside else [entry for entry in found if entry.name != project]

    def of_frames(self, frames: FrameSet) -> list[Entry]:
        """The results of these frames."""
        return [entry for entry, frame in self.with_frames() if frame in frames]

    def with_frames(self) -> list[tuple[Entry, int | None]]:
        """The results, and the frame that each is of, or one of: by its name."""
        entries = self.entries()
        heads = heads_of(entry.file_name for entry in entries) if self.has_negative else NO_HEADS
        return [(entry, self._frame(entry, heads)) for entry in entries]

    def is_of(self, wanted: Entry, frame: int) -> bool:
        """Whether a result is of this frame. The others tell what a hyphen in its name means."""
        if not self.has_negative:
            return self._frame(wanted, NO_HEADS) == frame
        return any(entry.name == wanted.name for entry in self.of_frames(FrameSet.of([frame])))

    @property
    def has_negative(self) -> bool:
        return any(frames.runs and frames.first < 0 for frames in self.frames.values())

    def _frame(self, entry: Entry, heads: frozenset[str]) -> int | None:
        variant = entry.name.partition("/")[0]
        owed = self.frames.get(variant) or self.frames.get("") or FrameSet()
        return frame_of(entry.file_name, owed, None, heads)


def files(
    ctx: Context, user: model.User, task_id: int, frames: str | None, after: str, limit: int
) -> wire.FilesResponse:
    """A page of what has been rendered, by path, from behind the path `after` on. Raises Refused."""
    place = _place(ctx, user, task_id)
    entries = place.entries() if frames is None else place.of_frames(_frames(frames))
    first = bisect_right(entries, after, key=lambda entry: entry.name) if after else 0
    shown = entries[first : first + max(1, min(limit, MAX_PAGE))]
    is_more = first + len(shown) < len(entries)
    return wire.FilesResponse(
        files=[_file(entry) for entry in shown], next=shown[-1].name if is_more else None
    )


def file(ctx: Context, user: model.User, task_id: int, name: str) -> PlainFile:
    """One result. Raises Refused."""
    place = _place(ctx, user, task_id)
    is_project = not place.inside and name == place.job.render.file_name
    entry = None if is_project else trees.find(place.root, place.inside, name)
    if entry is None:
        raise Refused(404, "no_such_file", f"Task {task_id} has no result {name[:200]!r}.")
    return PlainFile(entry)


def frame_file(ctx: Context, user: model.User, task_id: int, frame: int, name: str) -> PlainFile:
    """One result of a certain frame. Raises Refused."""
    place = _place(ctx, user, task_id)
    found = file(ctx, user, task_id, name)
    if not place.is_of(found.entry, frame):
        raise Refused(404, "no_such_file", f"{name[:200]!r} is no file of frame {frame}.")
    return found


def entries_of(ctx: Context, user: model.User, task_id: int, frame: int) -> list[Entry]:
    """The results of one frame. Raises Refused."""
    return _place(ctx, user, task_id).of_frames(FrameSet.of([frame]))


def files_of(
    ctx: Context, user: model.User, task_id: int, frames: FrameSet
) -> dict[int, list[str]]:
    """The names of the results of each of these frames that has any. Raises Refused."""
    found: dict[int, list[str]] = defaultdict(list)
    if frames.runs:
        place = _place(ctx, user, task_id)
        for entry, frame in place.with_frames():
            if frame is not None and frame in frames:
                found[frame].append(entry.name)
    return found


def packed(
    ctx: Context,
    user: model.User,
    task_id: int,
    only: str = ALL,
    frames: str | None = None,
    missing: int = 404,
) -> Archive | Iterator[bytes]:
    """A task's files as a ZIP; of a variant without the others' results.

    As long as something may still be written, only a stream of what there is by and by. `frames`:
    the results of these alone. `missing`: the status if there is nothing. Raises Refused.
    """
    if only not in (RESULTS, ALL):
        raise Refused(400, "bad_request", f"`only` is {RESULTS} or {ALL}.")
    place = _place(ctx, user, task_id, missing)
    # A renderer may have put a link in the folder's place, to have others' files handed out.
    if place.root.is_symlink() or not place.root.is_dir():
        raise Refused(missing, "no_files", f"The files of task {task_id} are not there any more.")
    entries = place.entries(only) if frames is None else place.of_frames(_frames(frames))
    if not place.is_final:
        return archive.live(entries)
    return Archive(entries, ctx.folders.checksums.book(place.root))


def _place(ctx: Context, user: model.User, task_id: int, missing: int = 404) -> Place:
    """Raises Refused."""
    with ctx.database.reading():
        job = own(user, task_id, status=missing)
        parent_id = job.task.parent_id
        whole = task_id if parent_id is None else parent_id
        variants = tasks.variants(whole)
        is_single_file = _is_single_file(job.render)
    if job.task.has_variants:
        frames = {task.variant or "": all_frames(task) for task in variants}
        others: list[model.Task] = []
    else:
        frames = {"": all_frames(job.task)}
        others = [task for task in variants if task.task_id != task_id]
    return Place(
        job=job,
        root=job.render.task_dir,
        inside=_inside(job, is_single_file),
        frames=frames,
        is_final=all(task.state not in QUEUED_TASK for task in (job.task, *variants)),
        others=frozenset(replace(job, task=task).output_dir for task in others),
    )


def _inside(job: model.Job, is_single_file: bool) -> str:
    """Where the results are. A task of the original's has them beside its project; and so has one of
    ours whose renderer was told of no other place, and put them there on an original node."""
    if is_single_file and not job.render.output_dir.is_dir():
        return ""
    return job.output_dir.relative_to(job.render.task_dir).as_posix()


def _is_single_file(render: model.Render) -> bool:
    """Whether the project is one file: whatever lies beside it was rendered. Inside a reading."""
    found = contents.manifest(render.manifest) if render.manifest else None
    return found is None or found.files == 1


def _frames(text: str) -> FrameSet:
    try:
        return parse_frames(text)
    except BadArgument as error:
        raise Refused(400, "frames", str(error)) from None


def _file(entry: Entry) -> wire.ResultFile:
    return wire.ResultFile(
        path=entry.name, size=entry.size_bytes, modified=_moment_text(entry.mtime_ns)
    )


def _moment_text(mtime_ns: int) -> str:
    """A renderer may set a file's time to anything."""
    try:
        moment = EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        moment = EPOCH
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
