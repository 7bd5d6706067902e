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
