"""What a user does to a task while it waits, runs or is over: pause, resume, cancel, requeue, change.

All may be called again: what is so already stays so. Somebody else's task is not there (404), what
a task's state does not allow is 409; both, and bad values, are raised as Refused. What is done to a
task with variants is done to each of them that it is possible with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from renderonline import wire
from renderonline.api.db import catalog, chunks, tasks
from renderonline.api.db.connection import Stale, Transaction
from renderonline.api.domain import changes
from renderonline.api.domain.arguments import BadArgument
from renderonline.api.domain.changes import Again
from renderonline.api.domain.ledger import Settlement
from renderonline.api.domain.model import Chunk, Job, Task, User
from renderonline.api.domain.transitions import QUEUED_TASK, TaskEvent, next_task
from renderonline.api.services import commands, options, states, variants
from renderonline.api.services.context import Context, Refused
from renderonline.api.services.tasks import detail, own
from renderonline.frames import FrameSet
from renderonline.wire import ChunkState, TaskState

PAUSED = "The task was paused."
CANCELLED = "Taken out of the queue by its owner."
NOT_WANTED = "Its frames were taken out of the task."


def pause(ctx: Context, user: User, task_id: int, now: bool) -> wire.TaskDetail:
    """No machine gets the task until it is resumed.

    Those at work end the frame they are at; of a task in one piece they go on to its end. `now`:
    they stop at once, and what they have not saved is owed again.
    """

    def write(tx: Transaction) -> None:
        for job in _live(user, task_id, "paused"):
            is_paused = job.task.state is TaskState.PAUSED
            if now:
                task = states.take_back(ctx, tx, job.task, PAUSED, _stop(ctx))
            else:
                task = _wind_down(ctx, tx, job)
            _move(ctx, tx, task, TaskEvent.CHANGE if is_paused else TaskEvent.PAUSE)

    ctx.database.transact(write)
    return detail(ctx, user, task_id)


def resume(ctx: Context, user: User, task_id: int) -> wire.TaskDetail:
    """Machines get the task again."""

    def write(tx: Transaction) -> None:
        for job in _live(user, task_id, "resumed"):
            if job.task.state is not TaskState.PAUSED:
                continue
            task = _move(ctx, tx, job.task, TaskEvent.RESUME)
            if chunks.active(task_id=task.task_id):
                _move(ctx, tx, task, TaskEvent.CLAIM)  # machines are still at it

    ctx.database.transact(write)
    return detail(ctx, user, task_id)


def cancel(ctx: Context, user: User, task_id: int) -> wire.TaskDetail:
    """Take a task out of the queue, and stop it where it is rendered."""
    with ctx.database.reading():
        own(user, task_id)
    if not states.cancel(ctx, task_id, CANCELLED):
        with ctx.database.reading():
            task = own(user, task_id).task
        if task.state is not TaskState.CANCELLED:
            raise _over(task, "cancelled")
    return detail(ctx, user, task_id)


def requeue(ctx: Context, user: User, task_id: int, frames: str) -> wire.TaskDetail:
    """Render frames again: "all", "failed" (and what is missing), or a range, done or not.

    Failures so far are forgotten. A task in one piece is rendered again as a whole.
    """
    has_project = _has_project(ctx, user, task_id)

    def write(tx: Transaction) -> None:
        jobs = _parts(user, task_id)
        wanted = [_again(task_id, job.task, frames) for job in jobs]
        results = [
            _requeue(ctx, tx, job.task, again, has_project)
            for job, again in zip(jobs, wanted, strict=True)
        ]
        if not any(results):
            raise Refused(
                409,
                "nothing_missing",
                f"Nothing of task {task_id} is missing.",
                'To render it again, requeue "all" its frames, or some of them.',
            )

    ctx.database.transact(write)
    return detail(ctx, user, task_id)


def forgive(ctx: Context, user: User, task_id: int, machine_id: int | None) -> wire.TaskDetail:
    """Let a machine try the task again at once, and before others, that has failed it; without one
    every machine, and then what has failed does not count as tried either."""

    def write(tx: Transaction) -> None:
        live = _live(user, task_id, "tried again")
        if machine_id is not None and catalog.machine(machine_id) is None:
            raise Refused(404, "no_such_machine", f"There is no machine {machine_id}.")
        for job in live:
            task = job.task
            columns = {"forgiven": task.forgiven}
            if machine_id is None:
                columns = _forgiving(task.task_id)
            else:
                chunks.forgive(task_id=task.task_id, machine_id=machine_id)
            _set(ctx, tx, task, columns)  # also where nothing is new: every api reads it again

    ctx.database.transact(write)
    return detail(ctx, user, task_id)


def change(ctx: Context, user: User, task_id: int, wanted: wire.TaskChange) -> wire.TaskDetail:
    """Change what was asked for. Frames that are new are rendered, those left out are not any more;
    an ended task whose frames grow comes back to the queue."""
    has_project = _has_project(ctx, user, task_id)
    with ctx.database.reading():
        job = own(user, task_id)
        try:
            columns = options.changed(wanted, partial(_is_own, user))
            options.changed_limits(wanted, job.task.limits)
            frames = _wanted_frames(job, wanted)
        except BadArgument as error:
            raise Refused(400, "bad_request", str(error)) from None
        _check_no_circle(task_id, columns.get("after_tasks") or "")

    def write(tx: Transaction) -> None:
        for job in _parts(user, task_id):
            _check_pieces(task_id, job.task, columns, frames)
            its = columns | options.changed_limits(wanted, job.task.limits)
            if frames is None or str(frames) == job.task.frames:
                _set(ctx, tx, job.task, its)
            else:
                task = _set(ctx, tx, job.task, its | {"frames": str(frames)})
                _cut(ctx, tx, replace(job, task=task), frames, has_project)
        whole = tasks.locked(task_id)
        if whole is not None and whole.task.has_variants:
            limits = options.changed_limits(wanted, whole.task.limits)
            _set(ctx, tx, whole.task, columns | limits)

    ctx.database.transact(write)
    return detail(ctx, user, task_id)


# --------------------------------------------------------------------------- what is asked for


def _again(task_id: int, task: Task, text: str) -> Again | FrameSet:
    """What is to be rendered again of `task`, which is that one or a variant of it.

    Raises Refused.
    """
    word = text.strip().lower()
    if word in list(Again):
        return Again(word)
    try:
        wanted = commands.parse_frames(text)
    except BadArgument as error:
        hint = 'Frames takes "all", "failed", or a range such as 1-9.'
        raise Refused(400, "bad_request", str(error), hint) from None
    if task.task_id != task_id:
        raise _ambiguous(task_id)
    others = wanted - changes.all_frames(task)
    if others.runs and task.frames is not None:
        raise Refused(
            400,
            "bad_request",
            f"Task {task.task_id} has no frame {others.first}; its frames are {task.frames:.80}.",
            "To have more frames rendered, change its frames.",
        )
    return wanted


def _owed_again(task: Task, wanted: Again | FrameSet) -> Task | None:
    """The task with what it owes then; None: it is one piece, and that is done."""
    if task.is_split:
        return changes.requeued(task, chunks.active(task_id=task.task_id), wanted)
    is_done = task.state is TaskState.SUCCEEDED and wanted is Again.FAILED
    return None if is_done else task


def _wanted_frames(job: Job, wanted: wire.TaskChange) -> FrameSet | None:
    """Inside a reading. Raises BadArgument."""
    if isinstance(wanted.frames, msgspec.UnsetType):
        return None
    frames = commands.add_frames({}, wanted.frames, job.engine, catalog.argtypes())
    if frames is not None and job.task.command is not None:
        for end in (frames.first, frames.last):  # what the engine refuses of them, it refuses now
            commands.chunk_command(job, FrameSet.between(end, end))
    return frames


def _check_pieces(
    task_id: int, task: Task, columns: dict[str, Any], frames: FrameSet | None
) -> None:
    """Whether a task is split is settled by its submission. Raises Refused."""
    if frames is not None and task.task_id != task_id:
        raise _ambiguous(task_id)
    size, number = columns.get("chunk_frames"), task.task_id
    if task.is_split and size == 0:
        raise Refused(409, "split", f"Task {number} is split into chunks and cannot be one piece.")
    if not task.is_split and size:
        raise Refused(409, "one_piece", f"Task {number} is one piece and cannot be split any more.")
    if not task.is_split and frames is not None and str(frames) != task.frames:
        raise Refused(
            409,
            "one_piece",
            f"Task {number} is rendered in one piece, and its frames cannot be changed.",
            "Submit it again with other frames.",
        )


def _ambiguous(task_id: int) -> Refused:
    return Refused(
        409,
        "variants",
        f"Task {task_id} has variants, each with frames of its own.",
        "Name the variant's own task.",
    )


def _check_no_circle(task_id: int, after: str) -> None:
    """Inside a reading. Raises Refused."""
    waiting_for, seen = [int(word) for word in after.split()], set[int]()
    waiting = {task_id, *variants.parts(task_id)}
    while waiting_for:
        number = waiting_for.pop()
        if number in waiting:
            raise Refused(400, "bad_request", f"After: task {task_id} would wait for itself.")
        job = None if number in seen else tasks.job(number)
        seen.add(number)
        if job is not None:
            parts = variants.parts(number) if job.task.has_variants else []
            waiting_for += [*job.task.after_tasks, *parts]


def _is_own(user: User, task_id: int) -> bool:
    try:
        own(user, task_id)
    except Refused:
        return False
    return True


def _has_project(ctx: Context, user: User, task_id: int) -> bool:
    """Whether there is still something to render."""
    with ctx.database.reading():
        job = own(user, task_id)
    return Path(job.render.file_path).is_file()


# --------------------------------------------------------------------------- inside a transaction


def _parts(user: User, task_id: int) -> list[Job]:
    """What is rendered for the user's task, which nobody else changes now. Raises Refused."""
    own(user, task_id)
    jobs = [tasks.locked(number) for number in variants.parts(task_id)]
    return [job for job in jobs if job is not None]


def _live(user: User, task_id: int, verb: str) -> list[Job]:
    """The same, but for what has ended; at least one. Raises Refused."""
    live = [job for job in _parts(user, task_id) if job.task.state in QUEUED_TASK]
    if not live:
        raise _over(own(user, task_id).task, verb)
    return live


def _over(task: Task, verb: str) -> Refused:
    said = "was cancelled" if task.state is TaskState.CANCELLED else f"has {task.state}"
    return Refused(
        409,
        "over",
        f"Task {task.task_id} {said}; it cannot be {verb}.",
        "Requeue it to have it rendered again.",
    )


def _stop(ctx: Context) -> Any:
    return partial(ctx.background, ctx.stop_render)


def _set(ctx: Context, tx: Transaction, task: Task, columns: dict[str, Any]) -> Task:
    """Write columns; the task to go on with, which knows only that it was written. Raises Stale."""
    if not columns:
        return task
    if not tasks.set_task(task.task_id, task.version, **columns):
        raise Stale
    tx.after_commit(lambda: ctx.changed(task.task_id))
    return replace(task, version=task.version + 1)


def _move(ctx: Context, tx: Transaction, task: Task, event: TaskEvent) -> Task:
    """The task after `event`, with its frames written as they are in `task`. Raises Stale."""
    states.move(ctx, tx, task, Settlement(event, task.todo, task.done, task.failed))
    return replace(task, state=next_task(task.state, event), version=task.version + 1)


def _with_frames(task: Task, moved: Task) -> Task:
    return replace(task, todo=moved.todo, done=moved.done, failed=moved.failed)


def _forgiving(task_id: int) -> dict[str, Any]:
    """Forget the failures so far; the columns of the task that say so. Inside a transaction."""
    chunks.forgive(task_id=task_id)
    return {"forgiven": chunks.last_attempt_id()}


def _requeue(
    ctx: Context, tx: Transaction, task: Task, again: Again | FrameSet, has_project: bool
) -> bool:
    """Whether there is anything to render again. Raises Refused."""
    moved = _owed_again(task, again)
    if task.state in QUEUED_TASK:
        task = _set(ctx, tx, task, _forgiving(task.task_id))
        _move(ctx, tx, _with_frames(task, moved or task), TaskEvent.CHANGE)
    elif moved is None or (moved.todo is not None and not moved.todo.runs):
        return False
    else:
        _put_back(ctx, tx, task, moved, has_project)
    return True


def _put_back(ctx: Context, tx: Transaction, task: Task, moved: Task, has_project: bool) -> Task:
    """The ended task in the queue again, with the frames of `moved`. Raises Refused."""
    if not has_project:
        raise Refused(
            409, "no_files", f"The project of task {task.task_id} is not there any more; submit it."
        )
    _check_queue(task)
    # As the original has a waiting task, so that its own queries read the same.
    gone = ("start_time", "end_time", "machine_id", "cause", "message")
    task = _set(ctx, tx, task, _forgiving(task.task_id) | dict.fromkeys(gone))
    task = _move(ctx, tx, _with_frames(task, moved), TaskEvent.REQUEUE)
    if not tasks.is_queued(task.task_id):
        tasks.enqueue(task.task_id)
    return task


def _check_queue(task: Task) -> None:
    """Raises Refused if the owner's queue is full. A task counts once, with all its variants."""
    if task.parent_id is not None and tasks.is_queued(task.parent_id):
        return
    tasks.lock_user(task.user_id)
    user = catalog.find_row("user", "user_id", task.user_id)
    limit = catalog.queue_limit(user["subscription_id"]) if user else 0
    if tasks.queued_count(task.user_id) >= limit:
        raise Refused(
            409,
            "queue_full",
            f"The queue of the task's owner is full: {limit} tasks may wait or run at a time.",
            "Wait for one to end, or cancel one.",
        )


def _wind_down(ctx: Context, tx: Transaction, job: Job) -> Task:
    """Take back what has not begun, and let machines end the frame they are at."""
    active = chunks.active(task_id=job.task.task_id)
    ahead = [chunk for chunk in active if chunk.state is ChunkState.ASSIGNED]
    begun = [chunk for chunk in active if chunk not in ahead]
    for chunk in ahead:
        states.interrupt(ctx, tx, chunk, PAUSED, _stop(ctx))
    _end_with_frame(ctx, tx, job, begun, PAUSED)
    return changes.returned(job.task, ahead, begun)


def _end_with_frame(
    ctx: Context, tx: Transaction, job: Job, begun: Sequence[Chunk], reason: str
) -> None:
    """Let machines stop when the frame they are at is saved.

    Where nobody can tell which one that is (a task in one piece, the generic engine, the original's
    node), stopping would lose all that the chunk has: it goes on to its end.
    """
    if not job.task.is_split or not commands.adapter_of(job.engine).tells_frames:
        return
    ours = [view for view in ctx.fleet.views() if view.status and view.status.protocol is not None]
    able = {view.machine.machine_id for view in ours}
    for chunk in begun:
        if chunk.machine_id in able:
            tx.after_commit(partial(ctx.background, ctx.stop_render, chunk, reason, True))


def _cut(ctx: Context, tx: Transaction, job: Job, frames: FrameSet, has_project: bool) -> None:
    """Give a split task exactly these frames."""
    task = job.task
    active = chunks.active(task_id=task.task_id)
    ahead = [c for c in active if c.state is ChunkState.ASSIGNED and (c.frame_set - frames).runs]
    begun = [chunk for chunk in active if chunk not in ahead]
    cut = changes.cut(task, begun, frames)
    for chunk in (*ahead, *cut.dropped):
        states.interrupt(ctx, tx, chunk, NOT_WANTED, _stop(ctx))
    for chunk in cut.trimmed:
        columns = {"frames": chunk.frames, "done": str(chunk.done)}
        if not chunks.set_(chunk.attempt_id, chunk.state, **columns):
            raise Stale
    _end_with_frame(ctx, tx, job, cut.trimmed, NOT_WANTED)
    moved = _with_frames(task, cut.task)
    if task.state not in QUEUED_TASK:
        if not changes.comes_back(task, cut.task):
            _set(ctx, tx, task, states.frame_columns(moved))
            return
        moved = _put_back(ctx, tx, task, moved, has_project)
    settlement = changes.conclude(moved, [chunk for chunk in begun if chunk not in cut.dropped])
    states.move(ctx, tx, moved, settlement)
