"""`renderonline admin storage`: who uses what of the farm's disk, and a clean-up.

Works on the database and the files themselves, whether the api is running or not.
"""

from __future__ import annotations

import argparse
from contextlib import closing

from renderonline import sizes
from renderonline.api.services.storekeeping import Storekeeper
from renderonline.api.services.stores import open_stores
from renderonline.commands import output
from renderonline.commands.admin import opened
from renderonline.commands.table import Cell, bar, print_table
from renderonline.lifecycle import SystemClock
from renderonline.wire import CleanResponse, StorageResponse, UserStorage


def run(args: argparse.Namespace) -> int:
    """`admin storage [clean]`"""
    clock = SystemClock()
    with (
        opened(args) as (settings, database),
        closing(open_stores(settings, database, clock)) as stores,
    ):
        keeper = Storekeeper(stores)
        answer = keeper.clean(clock.now()) if args.verb == "clean" else keeper.report()
    if args.json:
        output.emit(answer)
    elif isinstance(answer, CleanResponse):
        _tell_cleaned(answer)
    else:
        _tell(answer)
    return 0


def _tell(report: StorageResponse) -> None:
    names = ("User", "Tasks", "Projects", "Results", "Uploads", "Used", "Of quota")
    rows = [
        _row(user) for user in report.users if user.used_bytes or user.tasks or user.quota_bytes
    ]
    if rows:
        print_table(names, rows)
        output.result("")
    for line in summary(report):
        output.result(line)


def _row(user: UserStorage) -> tuple[Cell, ...]:
    quota: Cell = ""
    if user.quota_bytes is not None:
        quota = bar(user.used_bytes / user.quota_bytes) if user.quota_bytes else "none allowed"
    measured = (user.projects_bytes, user.results_bytes, user.uploads_bytes, user.used_bytes)
    return (user.email, str(user.tasks), *(size(number) for number in measured), quota)


def size(size_bytes: int) -> str:
    """Nothing is said of nothing: a table of zeros hides the rest."""
    return sizes.text(size_bytes) if size_bytes else "-"


def summary(report: StorageResponse) -> list[str]:
    """What is true of all of it together, in sentences."""
    text = sizes.text
    lines = [
        f"Contents: {report.contents:,} files of projects, each kept once, {text(report.contents_bytes)}"
        f" in all. Results: {text(report.results_bytes)}. Uploads on their way: "
        f"{text(report.uploads_bytes)}.",
        f"Disk: {text(report.disk_free_bytes)} of {text(report.disk_total_bytes)} are free; "
        f"{text(report.disk_floor_bytes)} have to stay so (DiskFloorBytes).",
    ]
    if report.unused_bytes:
        lines.append(
            f"{text(report.unused_bytes)} of the contents are needed by no task. They go by themselves "
            "after a day, or, an hour after they were last sent, with: renderonline admin storage clean"
        )
    return lines


def _tell_cleaned(done: CleanResponse) -> None:
    removed = [
        f"{number:,} {thing}"
        for number, thing in (
            (done.contents, "files that no task needs"),
            (done.uploads, "abandoned uploads"),
            (done.results, "tasks' results"),
            (done.projects, "tasks' projects"),
        )
        if number
    ]
    if not removed:
        output.result("There was nothing to remove.")
        return
    output.result(f"Removed {', '.join(removed)}: {sizes.text(done.freed_bytes)} are free again.")
