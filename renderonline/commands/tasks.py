"""`renderonline tasks` and `delete`: what the farm has of ours, and being rid of it."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timedelta

from renderonline import sizes, wire
from renderonline.commands import output, signin, waiting
from renderonline.commands.edge import UsageError
from renderonline.commands.table import Cell, bar, print_table

COLUMNS = (
    "task", "state", "project", "progress", "frames", "left", "priority", "machine", "queued", "took",
)  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """One task, or a list of them."""
    with signin.connect(args) as client:
        if args.task is not None:
            _one(client.task(args.task), args.json)
            return 0
        page = client.tasks(limit=args.limit, state=args.state)
    if args.json:
        output.emit(page)
        return 0
    print_table(
        COLUMNS,
        (_row(item) for item in page.tasks),
    )
    if page.next is not None:
        output.say(f"These are the newest {len(page.tasks)}; `--limit` shows more.")
    return 0


def delete(args: argparse.Namespace) -> int:
    with signin.connect(args) as client:
        if not args.yes:
            _confirm(client.task(args.task))
        client.delete(args.task)
    if args.json:
        output.emit({"TaskId": args.task, "IsDeleted": True})
    else:
        output.result(f"Task {args.task} is deleted, with its project and its results.")
    return 0


def _confirm(detail: wire.TaskDetail) -> None:
    """Ask on a terminal. Raises UsageError where nobody can answer, or the answer is not yes."""
    task = f"task {detail.task.task_id} ({detail.render.file_name})"
    if not sys.stdin.isatty():
        raise UsageError(f"Deleting {task} is final.", "Confirm it with `--yes`.")
    print(
        output.plain(f"Delete {task}, its project and its results? [y/N] "),
        end="",
        file=sys.stderr,
        flush=True,
    )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("Nothing was deleted.")


# --------------------------------------------------------------------------- showing


def _one(detail: wire.TaskDetail, as_json: bool) -> None:
    if as_json:
        output.emit(detail)
        return
    item = wire.TaskInfo(task=detail.task, render=detail.render, engine=detail.engine)
    lines = [*zip(COLUMNS, _row(item), strict=True), *_details(detail)]
    lines += [("warning", warning) for warning in detail.warnings]
    print_table(("", ""), lines)
    if detail.variants:
        print_table(
            ("variant", "task", "state", "progress", "frames", "range", "cause"),
            (_variant_row(variant) for variant in detail.variants),
        )
    if detail.machines:
        print_table(
            ("machine", "kept from it", "failed", "cause", "message"),
            (_machine_row(machine) for machine in detail.machines),
        )
    if detail.chunks:
        print_table(
            ("attempt", "state", "frames", "machine", "done", "exit code", "message"),
            (_chunk_row(chunk) for chunk in detail.chunks),
        )


def _details(detail: wire.TaskDetail) -> list[tuple[str, Cell]]:
    """What a list has no room for, as far as there is something to say."""
    task = detail.task
    lines = [
        ("engine", detail.engine.name),
        ("at work", ", ".join(map(str, waiting.at_work(detail)))),
        ("end", end_text(task)),
        ("range", task.frames or ""),
        ("variant", f"{task.variant}, of task {task.parent_id}" if task.parent_id else ""),
        ("given up", task.frames_given_up or ""),
        ("tags", ", ".join(task.tags)),
        ("after", ", ".join(map(str, task.after))),
        ("not before", task.start_at or ""),
        ("limits", limits_text(task.limits)),
        ("notes", task.notes or ""),
        ("cause", task.cause or ""),
    ]
    return [(name, text) for name, text in lines if text]


def end_text(task: wire.Task) -> str:
    """When it will be done by this machine's clock, or why that is not known."""
    if task.eta_seconds is None:
        return task.eta_unknown or ""
    moment = datetime.now().astimezone() + timedelta(seconds=task.eta_seconds)
    return f"about {moment:%Y-%m-%d %H:%M}"


def limits_text(limits: wire.Limits | None) -> str:
    """What a render of the task is ended for, besides what its engine says."""
    if limits is None:
        return ""
    times = [
        f"{what} {waiting.span_text(seconds)}"
        for what, seconds in (
            ("start", limits.start_seconds),
            ("silence", limits.silence_seconds),
            ("progress", limits.progress_seconds),
            ("frame", limits.frame_seconds),
        )
        if seconds is not None
    ]
    memory = limits.memory_bytes
    return ", ".join([*times, *([] if memory is None else [f"memory {sizes.text(memory)}"])])


def _row(item: wire.TaskInfo) -> tuple[Cell, ...]:
    task = item.task
    return (
        str(task.task_id),
        task.state,
        item.render.file_name,
        bar(task.progress),
        waiting.frames_text(task),
        waiting.left_text(task),
        str(task.priority),
        "" if task.machine_id is None else str(task.machine_id),
        (task.queue_time or "").split(".")[0].replace("T", " "),
        took_text(task.start_time, task.end_time),
    )


def _variant_row(variant: wire.VariantTask) -> tuple[Cell, ...]:
    return (
        variant.name,
        str(variant.task_id),
        variant.state,
        bar(variant.progress),
        waiting.frames_text(variant),
        variant.frames or "",
        variant.cause or "",
    )


def _machine_row(machine: wire.TaskMachine) -> tuple[str, ...]:
    unnamed = f"machine {machine.machine_id}"
    name = machine.name if machine.name == unnamed else f"{machine.name} ({machine.machine_id})"
    return (
        f"{machine.variant}: {name}" if machine.variant else name,
        kept_text(machine),
        f"{machine.failures} times" if machine.failures > 1 else "once",
        machine.cause or "",
        machine.message or "",
    )


def kept_text(kept: wire.TaskMachine | wire.KeptFrom) -> str:
    """How long a machine gets nothing of a task, as people say it."""
    moment = local_text(kept.not_before)
    ends = [f"until {moment}"] if moment else []
    if kept.is_avoided:
        ends.append("while another can do it")
    return ", and ".join(ends) or "no"


def local_text(moment: str | None) -> str:
    """A moment of the wire as this machine's clock shows it."""
    if moment is None:
        return ""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def _chunk_row(chunk: wire.Chunk) -> tuple[str, ...]:
    frames = chunk.frames or ""
    return (
        str(chunk.attempt_id),
        chunk.state,
        f"{chunk.variant}: {frames}" if chunk.variant else frames,
        str(chunk.machine_id),
        f"{chunk.progress:.0%}",
        "" if chunk.exit_code is None else str(chunk.exit_code),
        chunk.message or "",
    )


def took_text(start: str | None, end: str | None) -> str:
    """The time between two of the server's times as h:mm:ss; empty while one is missing."""
    try:
        span = datetime.fromisoformat(end or "") - datetime.fromisoformat(start or "")
    except ValueError:
        return ""
    return waiting.span_text(span.total_seconds())
