"""`renderonline download`: a task's results into a folder, or as a ZIP."""

from __future__ import annotations

import argparse
from pathlib import Path

from renderonline.client import Client
from renderonline.commands import output, signin
from renderonline.commands.edge import UsageError
from renderonline.commands.progress import transfer
from renderonline.frames import FrameSet


def run(args: argparse.Namespace) -> int:
    target: Path = args.target.absolute()
    if args.frames is not None:
        FrameSet.parse(args.frames)
        if args.whole:
            raise UsageError("`--whole` is everything; it cannot be of some frames.")
    with signin.connect(args) as client:
        files = _fetch(client, args, target)
    if args.json:
        output.emit({"TaskId": args.task, "Files": [str(file) for file in files]})
        return 0
    for file in files:
        output.result(str(file))
    if not files:
        what = f"none of the frames {args.frames}" if args.frames else "no results"
        output.say(f"Task {args.task} has {what} yet.")
    return 0


def _fetch(client: Client, args: argparse.Namespace, target: Path) -> list[Path]:
    is_named_zip = target.suffix.lower() == ".zip" and not target.is_dir()
    with transfer(f"downloading task {args.task}") as progress:
        if not args.zip and not is_named_zip:
            return client.results(args.task, target, progress, args.whole, args.frames)
        if not is_named_zip:
            target.mkdir(parents=True, exist_ok=True)
            target = target / f"task-{args.task}.zip"
        # A plain FILE.zip has always been the whole folder.
        is_whole = args.whole or not (args.zip or args.frames)
        only = "all" if is_whole else "results"
        client.download(args.task, target, progress, only, args.frames)
        return [target]
