"""What a user does with tasks that are there: look, take out of the queue, delete."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from renderonline import wire
from renderonline.api.db import catalog, chunks, tasks
from renderonline.api.db.connection import Transaction
from renderonline.api.domain import model, rollup, waiting
from renderonline.api.domain.forecast import Forecast
from renderonline.api.domain.rollup import Sum
from renderonline.api.domain.standing import Standing
from renderonline.api.domain.transitions import QUEUED_TASK
from renderonline.api.services import options, states, troubles, variants
from renderonline.api.services.commands import adapter_of, types_of
from renderonline.api.services.context import Context, Refused
from renderonline.engines.template import placeholders
from renderonline.wire import TaskState

INFO_TASKS = 15
"""How many tasks `info` lists; the original's number."""

OVER = Forecast(None)

MAX_PAGE = 200
CLIENT_MAX_MACHINE_ID = 255
"""The original's client reads a machine id of one byte."""

MAX_CHUNKS = 500
"""How many of a task's attempts are shown, the newest."""


def info(ctx: Context, user: model.User) -> wire.InfoResponse:
    """The user and their newest tasks. As in the original, without the paths on the server."""
    with ctx.database.reading():
        jobs = tasks.jobs(user.user_id, INFO_TASKS, but_variants=True)
        standings = _standings(jobs)
    return wire.InfoResponse(user=_user(user), tasks=_infos(ctx, jobs, standings))


def page(
    ctx: Context, user: model.User, state: str | None, after: int | None, limit: int
) -> wire.TasksResponse:
    """The user's tasks (an admin's: everybody's), newest first, from below id `after`."""
    owner = None if user.role is model.Role.ADMIN else user.user_id
    if state is not None and state not in list(TaskState):
        raise Refused(400, "bad_request", f"A state is one of {', '.join(TaskState)}.")
    limit = max(1, min(limit, MAX_PAGE))
    with ctx.database.reading():
        jobs = tasks.jobs(owner, limit + 1, after, state, but_variants=True)
        standings = _standings(jobs)
    more = len(jobs) > limit
    jobs = jobs[:limit]
    return wire.TasksResponse(
        tasks=_infos(ctx, jobs, standings), next=jobs[-1].task.task_id if more else None
    )


def detail(ctx: Context, user: model.User, task_id: int) -> wire.TaskDetail:
    """Everything about one task, and if it waits, for what. One with variants has what they have."""
    with ctx.database.reading():
        job = own(user, task_id)
        parts = _parts(job)
        attempts = [chunks.of_task(part.task.task_id, MAX_CHUNKS) for part in parts]
        warnings = {
            part.task.variant or "": _warnings(ctx, part, told)
            for part, told in zip(parts, attempts, strict=True)
        }
        standings = _standings([job])
        machines = troubles.of_tasks(ctx, parts)
    summary = _infos(ctx, [job], standings)[0]
    shown = sorted(itertools.chain(*attempts), key=lambda chunk: chunk.attempt_id)
    names = {part.task.task_id: part.task.variant for part in parts}
    return wire.TaskDetail(
        task=summary.task,
        render=summary.render,
        engine=summary.engine,
        chunks=[_chunk(chunk, names[chunk.task_id]) for chunk in shown[-MAX_CHUNKS:]],
        warnings=rollup.warnings(warnings),
        variants=[_variant(part, standings) for part in parts if job.task.has_variants],
        machines=machines,
    )


def engines(ctx: Context) -> wire.EnginesResponse:
    """The engines with the arguments that their templates take."""
    with ctx.database.reading():
        rows, argtypes = catalog.engines(), catalog.argtypes()
    return wire.EnginesResponse(
        engines=[
            wire.EngineDetail(
                engine_id=row.engine_id,
                name=row.name,
                extension=row.extension,
                adapter=adapter_of(row).name,
                arguments=_arguments(row, argtypes),
            )
            for row in rows
        ]
    )


def dequeue(ctx: Context, user: model.User, task_id: int) -> None:
    """Take a task out of the queue, and stop it if it runs. Raises Refused."""
    with ctx.database.reading():
        own(user, task_id, status=400)
        is_queued = tasks.is_queued(task_id)
    if not is_queued or not states.cancel(ctx, task_id, "Taken out of the queue by its owner."):
        raise Refused(400, "not_queued", f"Task {task_id} is not in the queue.")


def delete(ctx: Context, user: model.User, task_id: int) -> None:
    """Stop the task, and remove it with its folder; of one variant among others only what is its
    own. Raises Refused."""
    with ctx.database.reading():
        job = own(user, task_id, status=400)
        parent_id = job.task.parent_id
        is_alone = parent_id is None or len(tasks.variants(parent_id)) == 1
    states.cancel(ctx, task_id, "Deleted by its owner.", wait=True)
    ctx.folders.condemn(job.render.task_dir if is_alone else job.output_dir)

    def write(tx: Transaction) -> None:
        for task in (*tasks.variants(task_id), job.task):
            tasks.delete(task.task_id, task.render_id)
        is_all = parent_id is None or variants.left(ctx, tx, parent_id)
        folder = job.render.task_dir if is_all else job.output_dir
        tx.after_commit(lambda: _remove(ctx, folder))

    ctx.database.transact(write)


def _remove(ctx: Context, folder: Path) -> None:
    ctx.folders.discard(folder)


def own(user: model.User, task_id: int, status: int = 404) -> model.Job:
    """The task, if it is the user's or the user is an admin. Inside a reading. Raises Refused.

    Somebody else's is said not to be there: its existence is nobody's business.
    """
    job = tasks.job(task_id) if 0 <= task_id <= wire.MAX_ID else None
    if job is None or (job.task.user_id != user.user_id and user.role is not model.Role.ADMIN):
        raise Refused(status, "no_such_task", f"You have no task {task_id}.")
    return job


# --------------------------------------------------------------------------- to the wire

NO_ROOM = (
    "The server's disk is full: nothing is begun until an admin has made room (`renderonline admin "
    "storage`)."
)


def _parts(job: model.Job) -> list[model.Job]:
    """What is rendered for a task: its variants, or itself. Inside a reading."""
    if not job.task.has_variants:
        return [job]
    found = [tasks.job(number) for number in variants.parts(job.task.task_id)]
    return [part for part in found if part is not None]


def _warnings(ctx: Context, job: model.Job, attempts: Sequence[model.Chunk]) -> list[str]:
    """What a task's owner should know of it. Inside a reading."""
    warnings = tasks.warnings(job.task.task_id)
    if job.task.state is TaskState.QUEUED:
        refusal = next((c.message for c in reversed(attempts) if c.message), None)
        blocking = tasks.states_of(job.task.after_tasks)
        why = waiting.reason(
            job,
            ctx.fleet.everyone(),
            ctx.fleet.is_empty(),
            blocking,
            ctx.clock.now(),
            max((r.peak_bytes or 0 for r in chunks.records(job.task.task_id).values()), default=0)
            or None,
        )
        full = NO_ROOM if ctx.room.is_short() else None
        warnings += [text for text in (full, why, refusal) if text]
    return warnings


def _standings(jobs: Sequence[model.Job]) -> dict[int, Standing | Sum]:
    """How far each of these tasks is, and each of their variants. Inside a reading."""
    wholes = [job.task.task_id for job in jobs if job.task.has_variants]
    parts = {task_id: tasks.variants(task_id) for task_id in wholes}
    every = [job.task for job in jobs] + [task for found in parts.values() for task in found]
    active = chunks.active_of([task.task_id for task in every])
    single = {task.task_id: _standing(task, active[task.task_id]) for task in every}
    sums = {n: Sum(tuple(single[task.task_id] for task in found)) for n, found in parts.items()}
    return {**single, **sums}


def _standing(task: model.Task, active: Sequence[model.Chunk]) -> Standing:
    told = list(active)
    if not task.is_split and not task.has_variants and not told:
        told = [c for c in [chunks.latest(task.task_id)] if c is not None]
    return Standing(task, tuple(told))


def _user(user: model.User) -> wire.User:
    return wire.User(
        user_id=user.user_id,
        first_name=user.first_name,
        last_name=user.last_name,
        email=user.email,
        subscription_id=user.subscription_id,
        is_active=user.is_active,
    )


def _infos(
    ctx: Context, jobs: Sequence[model.Job], standings: dict[int, Standing | Sum]
) -> list[wire.TaskInfo]:
    return [
        wire.TaskInfo(
            task=_task(ctx, job.task, standings[job.task.task_id]),
            render=wire.Render(
                render_id=job.render.render_id,
                file_name=job.render.file_name,
                file_path="",
                file_size=job.render.file_size,
                arguments=job.render.arguments,
                engine_id=job.render.engine_id,
            ),
            engine=wire.Engine(
                engine_id=job.engine.engine_id,
                name=job.engine.name,
                extension=job.engine.extension,
                download_path=job.engine.download_path,
                render_argument=job.engine.render_argument,
            ),
        )
        for job in jobs
    ]


def _task(ctx: Context, task: model.Task, standing: Standing | Sum) -> wire.Task:
    left = _left(ctx, standing)
    return wire.Task(
        task_id=task.task_id,
        user_id=task.user_id,
        queue_time=_local(task.queue_time),
        start_time=_local(task.start_time),
        end_time=_local(task.end_time),
        is_running=task.is_running,
        is_success=task.is_success,
        render_id=task.render_id,
        machine_id=task.machine_id if (task.machine_id or 0) <= CLIENT_MAX_MACHINE_ID else None,
        state=task.state,
        progress=standing.progress,
        frames_total=standing.frames_total,
        frames_done=standing.frames_done,
        frames_failed=standing.frames_failed,
        eta_seconds=None if left.seconds is None else round(left.seconds),
        eta_unknown=left.why,
        cause=task.message,
        priority=task.priority,
        tags=sorted(task.tags),
        notes=task.notes,
        after=list(task.after_tasks),
        start_at=_utc(task.start_at),
        frames=task.frames,
        frames_left=None if task.todo is None else str(task.todo),
        frames_given_up=str(task.failed) if task.failed.runs else None,
        parent_id=task.parent_id,
        variant=task.variant or None,
        limits=options.merged_limits(task.limits),
    )


def _left(ctx: Context, standing: Standing | Sum) -> Forecast:
    """How long what is in the queue will take; nothing to say of what is over."""
    parts = standing.parts if isinstance(standing, Sum) else (standing,)
    numbers = [part.task.task_id for part in parts if part.task.state in QUEUED_TASK]
    return rollup.last_of([ctx.forecast(number) for number in numbers]) if numbers else OVER


def _variant(job: model.Job, standings: dict[int, Standing | Sum]) -> wire.VariantTask:
    task, standing = job.task, standings[job.task.task_id]
    return wire.VariantTask(
        name=task.variant or "",
        task_id=task.task_id,
        engine_id=job.engine.engine_id,
        state=task.state,
        progress=standing.progress,
        frames=task.frames,
        frames_total=standing.frames_total,
        frames_done=standing.frames_done,
        frames_failed=standing.frames_failed,
        cause=task.message,
    )


def _chunk(chunk: model.Chunk, variant: str | None) -> wire.Chunk:
    return wire.Chunk(
        attempt_id=chunk.attempt_id,
        machine_id=chunk.machine_id,
        state=chunk.state,
        frames=chunk.frames,
        progress=chunk.progress,
        frames_done=chunk.frames_done,
        started_at=_utc(chunk.started_at),
        ended_at=_utc(chunk.ended_at),
        exit_code=chunk.exit_code,
        cause=chunk.cause,
        message=chunk.message,
        variant=variant,
    )


def _arguments(
    engine: model.Engine, argtypes: Sequence[model.ArgType]
) -> list[wire.EngineArgument]:
    wanted = placeholders(engine.render_argument)
    return [
        wire.EngineArgument(
            arg_type_id=argtype.argtype_id,
            type=argtype.type,
            regex=argtype.regex,
            default=argtype.default_value,
        )
        for argtype in types_of(engine, argtypes)
        if argtype.argtype_id.lower() in wanted
    ]


def _local(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
