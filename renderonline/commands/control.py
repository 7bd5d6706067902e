"""`renderonline pause`, `resume`, `cancel`, `requeue` and `set`: what is done to a task of ours."""

from __future__ import annotations

import argparse

from renderonline import wire
from renderonline.commands import output, signin, task_options, waiting
from renderonline.commands.edge import UsageError


def pause(args: argparse.Namespace) -> int:
    with signin.connect(args) as client:
        detail = client.pause(args.task, args.now)
    _tell(args, detail, "is paused")
    if waiting.at_work(detail):
        where = waiting.where_text(detail)
        output.say(f"Still at work until its frame is finished: {where}. `--now` does not wait.")
    return 0


def resume(args: argparse.Namespace) -> int:
    with signin.connect(args) as client:
        detail = client.resume(args.task)
    return _tell(args, detail, f"is {detail.task.state}")


def cancel(args: argparse.Namespace) -> int:
    with signin.connect(args) as client:
        detail = client.cancel(args.task)
    return _tell(args, detail, "is cancelled")


def requeue(args: argparse.Namespace) -> int:
    with signin.connect(args) as client:
        detail = client.requeue(args.task, args.frames)
    return _tell(args, detail, f"is {detail.task.state}: {waiting.frames_text(detail.task)} done")


def forgive(args: argparse.Namespace) -> int:
    """`renderonline forgive`. Raises UsageError for a machine that has not failed the task."""
    with signin.connect(args) as client:
        machine_id = None
        if args.machine is not None:
            machine_id = _failed_there(client.task(args.task), args.machine)
        detail = client.forgive(args.task, machine_id)
    who = "every machine" if machine_id is None else f"machine {machine_id}"
    return _tell(args, detail, f"may be tried by {who} again; it is {detail.task.state}")


def _failed_there(detail: wire.TaskDetail, named: str) -> int:
    """The machine of that id or name. One by its id need not have failed the task."""
    if named.isascii() and named.isdigit() and int(named) <= wire.MAX_ID:
        return int(named)
    for machine in detail.machines:
        if machine.name.lower() == named.strip().lower():
            return machine.machine_id
    known = ", ".join(dict.fromkeys(machine.name for machine in detail.machines))
    raise UsageError(
        f"No machine {named[:60]!r} has failed task {detail.task.task_id}.",
        f"These have: {known}." if known else "No machine is kept from it.",
    )


def change(args: argparse.Namespace) -> int:
    """`renderonline set`. Raises UsageError where nothing is to be changed."""
    given = task_options.given(args)
    if not given:
        raise UsageError("Nothing to set.", "`renderonline set --help` shows what there is.")
    with signin.connect(args) as client:
        detail = client.change(args.task, wire.TaskChange(**given))
    return _tell(args, detail, f"is changed; it is {detail.task.state}")


def _tell(args: argparse.Namespace, detail: wire.TaskDetail, said: str) -> int:
    if args.json:
        output.emit({"TaskId": detail.task.task_id, "State": detail.task.state})
    else:
        output.result(f"Task {detail.task.task_id} {said}.")
    return 0
