"""`renderonline download`: a task's results into a folder, or its whole folder as a ZIP."""

from __future__ import annotations

import argparse
from pathlib import Path

from renderonline.client import Client
from renderonline.commands import output, signin
from renderonline.commands.progress import transfer


def run(args: argparse.Namespace) -> int:
    target: Path = args.target.absolute()
    with signin.connect(args) as client:
        files = _fetch(client, args.task, target, args.whole)
    if args.json:
        output.emit({"TaskId": args.task, "Files": [str(file) for file in files]})
        return 0
    for file in files:
        output.result(str(file))
    if not files:
        output.say(f"Task {args.task} has no results yet.")
    return 0


def _fetch(client: Client, task_id: int, target: Path, whole: bool) -> list[Path]:
    with transfer(f"downloading task {task_id}") as progress:
        if target.suffix.lower() == ".zip" and not target.is_dir():
            client.download(task_id, target, progress)
            return [target]
        return client.results(task_id, target, progress, whole)
