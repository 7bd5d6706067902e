"""Who uses what of the disk, what may go, and whose time is over: the queries of the storekeeping.

Every function runs inside the caller's `Database.reading` or `Database.transact`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import peewee

from renderonline.api.db import rows, statements, tables
from renderonline.api.db.connection import is_mysql, proxy
from renderonline.api.domain.model import Render
from renderonline.api.domain.transitions import QUEUED_TASK

_LIVE = [state.value for state in QUEUED_TASK]

_UNUSED = (
    "NOT EXISTS (SELECT 1 FROM `manifest_files` WHERE `manifest_files`.`sha256` = `contents`.`sha256`)"
    " AND NOT EXISTS (SELECT 1 FROM `manifests` WHERE `manifests`.`sha256` = `contents`.`sha256`)"
)
_PROJECTS_OF = (
    "SELECT `renders`.`manifest` FROM `renders` JOIN `tasks`"
    " ON `tasks`.`render_id` = `renders`.`render_id`"
    " WHERE `tasks`.`user_id` = ? AND `renders`.`manifest` IS NOT NULL"
)
_CONTENTS_OF = f"SELECT `sha256` FROM `manifest_files` WHERE `manifest` IN ({_PROJECTS_OF})"


@dataclass(frozen=True, slots=True)
class Folder:
    """A task's folder on the disk. Several variants share one."""

    user_id: int
    render: Render
    version: int
    is_live: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that is over, with what its owner's subscription says of its files."""

    task_id: int
    ended_at: datetime  # the server's local time
    render: Render
    days_results: int | None
    days_projects: int | None
    subscription: str


# --------------------------------------------------------------------------- who uses what


def quota_of(user_id: int) -> int | None:
    """What the user's files may take, in bytes; None: no limit."""
    query: Any = (
        tables.User.select(tables.Subscription.quota_bytes)
        .join(
            tables.Subscription,
            on=(tables.Subscription.subscription_id == tables.User.subscription_id),
        )
        .where(tables.User.user_id == user_id)
        .tuples()
    )
    row = query.first()
    return None if row is None or row[0] is None else int(row[0])


def project_bytes(user_id: int) -> int:
    """All contents of the user's projects, each once; of projects without a manifest their file."""
    kept = f"SELECT SUM(`size_bytes`) FROM `contents` WHERE `sha256` IN ({_CONTENTS_OF})"
    older = (
        "SELECT SUM(`file_size`) FROM (SELECT DISTINCT `file_path`, `file_size` FROM `renders`"
        " JOIN `tasks` ON `tasks`.`render_id` = `renders`.`render_id`"
        " WHERE `tasks`.`user_id` = ? AND `renders`.`manifest` IS NULL) AS `older`"
    )
    return _number(kept, user_id) + _number(older, user_id)


def sent_bytes(user_id: int) -> int:
    """What the user has sent and no project has yet."""
    text = f"SELECT SUM(`size_bytes`) FROM `contents` WHERE `stored_by` = ? AND {_UNUSED}"
    return _number(text, user_id)


def counted(user_id: int, hashes: Sequence[str]) -> set[str]:
    """Those of these contents that are in `project_bytes` or `sent_bytes` of this user already."""
    found: set[str] = set()
    for batch in statements.batches(hashes):
        places = ", ".join("?" * len(batch))
        text = (
            f"SELECT `sha256` FROM `contents` WHERE `sha256` IN ({places})"
            f" AND ((`stored_by` = ? AND {_UNUSED}) OR `sha256` IN ({_CONTENTS_OF}))"
        )
        found |= {sha256 for (sha256,) in _rows(text, *batch, user_id, user_id)}
    return found


def has_project(user_id: int, manifest: str) -> bool:
    """Whether a task of the user has this project."""
    return bool(_rows(f"{_PROJECTS_OF} AND `renders`.`manifest` = ? LIMIT 1", user_id, manifest))


def folders(user_id: int | None = None) -> list[Folder]:
    """The folder of each task that the user sees (None: of everybody's)."""
    query: Any = (
        tables.Task.select(tables.Task, tables.Render)
        .join(tables.Render, on=(tables.Render.render_id == tables.Task.render_id), attr="render")
        .where(tables.Task.parent_id.is_null())
    )
    if user_id is not None:
        query = query.where(tables.Task.user_id == user_id)
    return [
        Folder(row.user_id, rows.render(row.render), row.version, row.state in _LIVE)
        for row in query
    ]


def users() -> list[tuple[int, str, int | None]]:
    """Everybody: id, email, quota."""
    query: Any = (
        tables.User.select(tables.User.user_id, tables.User.email, tables.Subscription.quota_bytes)
        .join(
            tables.Subscription,
            peewee.JOIN.LEFT_OUTER,
            on=(tables.Subscription.subscription_id == tables.User.subscription_id),
        )
        .order_by(tables.User.user_id)
        .tuples()
    )
    return [(int(number), email, quota) for number, email, quota in query]


def totals() -> tuple[int, int, int]:
    """The contents: how many, their bytes, and the bytes of those that no project needs."""
    ((count, size),) = _rows("SELECT COUNT(*), SUM(`size_bytes`) FROM `contents`")
    unused = _number(f"SELECT SUM(`size_bytes`) FROM `contents` WHERE {_UNUSED}")
    return int(count), int(size or 0), unused


# --------------------------------------------------------------------------- what may go


def unused_manifests(limit: int) -> list[str]:
    """Projects that no task has any more."""
    text = (
        "SELECT `sha256` FROM `manifests` WHERE NOT EXISTS"
        " (SELECT 1 FROM `renders` WHERE `renders`.`manifest` = `manifests`.`sha256`) LIMIT ?"
    )
    return [sha256 for (sha256,) in _rows(text, limit)]


def take_manifest(sha256: str) -> list[str] | None:
    """Forget the project, if still no task has it; its contents and its own. In a transaction."""
    if is_mysql():
        statements.lock(tables.Manifest, "sha256", sha256)
    if statements.values(tables.Render, "render_id", "WHERE `manifest` = ? LIMIT 1", sha256):
        return None
    needed = statements.values(tables.ManifestFile, "sha256", "WHERE `manifest` = ?", sha256)
    statements.delete(tables.ManifestFile, "`manifest` = ?", sha256)
    statements.delete(tables.Manifest, "`sha256` = ?", sha256)
    return [*needed, sha256]


def unused_contents(
    stored_before: datetime, unwanted_since: datetime, after: str, limit: int
) -> list[str]:
    """Contents that no project needs, stored before that, and that nobody has counted on since
    then; behind `after`, in order."""
    moments = [tables.Content.stored_at.db_value(m) for m in (stored_before, unwanted_since)]
    text = (
        f"SELECT `sha256` FROM `contents` WHERE `sha256` > ? AND `stored_at` < ?"
        f" AND (`wanted_until` IS NULL OR `wanted_until` < ?) AND {_UNUSED}"
        " ORDER BY `sha256` LIMIT ?"
    )
    return [sha256 for (sha256,) in _rows(text, after, *moments, limit)]


def is_unused(sha256: str, stored_before: datetime, unwanted_since: datetime) -> bool:
    """Whether that is so still, of a content whose row is locked. In a transaction."""
    moments = [tables.Content.stored_at.db_value(m) for m in (stored_before, unwanted_since)]
    text = (
        f"SELECT 1 FROM `contents` WHERE `sha256` = ? AND `stored_at` < ?"
        f" AND (`wanted_until` IS NULL OR `wanted_until` < ?) AND {_UNUSED}"
    )
    return bool(_rows(text, sha256, *moments))


def ended() -> list[Ended]:
    """The tasks that users see and that are over, of subscriptions which do not keep everything."""
    query: Any = (
        tables.Task.select(tables.Task, tables.Render, tables.Subscription)
        .join(tables.Render, on=(tables.Render.render_id == tables.Task.render_id), attr="render")
        .switch(tables.Task)
        .join(tables.User, on=(tables.User.user_id == tables.Task.user_id), attr="user")
        .join(
            tables.Subscription,
            on=(tables.Subscription.subscription_id == tables.User.subscription_id),
            attr="subscription",
        )
        .where(
            tables.Task.parent_id.is_null(),
            tables.Task.state.not_in(_LIVE),
            (tables.Subscription.retention_days_results.is_null(False))
            | (tables.Subscription.retention_days_projects.is_null(False)),
        )
    )
    return [_ended(row) for row in query]


def _ended(row: Any) -> Ended:
    task, subscription = rows.task(row), row.user.subscription
    return Ended(
        task_id=task.task_id,
        ended_at=task.end_time or task.queue_time,
        render=rows.render(row.render),
        days_results=subscription.retention_days_results,
        days_projects=subscription.retention_days_projects,
        subscription=subscription.name,
    )


def forget_project(file_path: str) -> None:
    """The files of this project are deleted. In a transaction."""
    statements.update(tables.Render, {"manifest": ""}, "`file_path` = ?", file_path)


def _rows(text: str, *values: object) -> list[tuple[Any, ...]]:
    return list(proxy.obj.execute_sql(statements.with_places(text), values).fetchall())


def _number(text: str, *values: object) -> int:
    ((found,),) = _rows(text, *values)
    return int(found or 0)
