"""`renderonline sync`: a task's results in a folder, as they appear, until the task is over."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from renderonline import client as farm
from renderonline import wire
from renderonline.commands import output, signin, waiting
from renderonline.commands.edge import Exit
from renderonline.commands.progress import transfer


def run(args: argparse.Namespace) -> int:
    """Fetch what there is; without `--once`, go on until the task has come to its end."""
    folder: Path = args.folder.absolute()
    with signin.connect(args) as client:
        detail = client.task(args.task)
        follower = Follower(client.mirror(args.task, folder))
        if args.once:
            with transfer(f"fetching task {args.task}") as progress:
                follower.mirror.step(progress)
            return _report(args, detail.task.state, follower, Exit.DONE)
        names = {args.task: detail.render.file_name}
        state = None
        for _, end in waiting.ends(client, names, lambda _id, seen: follower.look(seen)):
            if isinstance(end, farm.NotFound):
                raise end
            state = end.task.state
    has_succeeded = state is wire.TaskState.SUCCEEDED
    return _report(args, state, follower, Exit.DONE if has_succeeded else Exit.FAILED)


class Follower:
    """A mirror that looks now and then: so rarely that looking is little of the time."""

    SHARE = 20
    """Of the time, what it takes to look once."""

    def __init__(self, mirror: farm.Mirror) -> None:
        self.mirror = mirror
        self._next_s = 0.0

    def look(self, seen: wire.TaskDetail) -> None:
        """Fetch what is new, if it is time to, or the task is over: then there is all of it."""
        began_s = time.monotonic()
        if began_s < self._next_s and seen.task.state not in waiting.FINAL:
            return
        fetched = self.mirror.step()
        for file in fetched:
            output.say(f"fetched {file}")
        took_s = 0.0 if fetched else time.monotonic() - began_s
        self._next_s = time.monotonic() + took_s * self.SHARE


def _report(
    args: argparse.Namespace, state: wire.TaskState | None, follower: Follower, code: Exit
) -> int:
    files = [str(file) for file in follower.mirror.files]
    if args.json:
        output.emit({"TaskId": args.task, "State": state, "Files": files})
        return code
    for file in files:
        output.result(file)
    output.say(f"Task {args.task} is {state}; {len(files)} files are in {args.folder}.")
    return code
