"""Reads and writes of what an admin sets up: users, subscriptions, engines, argument types, machines.

Every function runs inside the caller's `Database.reading` or `Database.transact`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import peewee

from renderonline.api.db import rows, statements, tables
from renderonline.api.db.connection import is_mysql
from renderonline.api.domain import model

KINDS: dict[str, type[tables.Table]] = {
    "user": tables.User,
    "subscription": tables.Subscription,
    "engine": tables.Engine,
    "argtype": tables.ArgType,
    "machine": tables.Machine,
}


def user_by_email(email: str) -> tuple[model.User, str] | None:
    """The user and their verbatim token (empty for users of ours), or None."""
    row = tables.User.get_or_none(tables.User.email == email)
    return None if row is None else (rows.user(row), row.token or "")


def token_hashes(user_id: int) -> list[str]:
    """The digests of the user's tokens."""
    query = tables.Token.select(tables.Token.hash).where(tables.Token.user_id == user_id)
    return [row.hash for row in query]


def add_token(user_id: int, name: str, digest: str, now: datetime) -> None:
    tables.Token.insert(user_id=user_id, name=name, hash=digest, created_at=now).execute()


def revoke_tokens(user_id: int) -> None:
    """No token of this user works any more, the original's verbatim one included."""
    tables.Token.delete().where(tables.Token.user_id == user_id).execute()
    tables.User.update(token="").where(tables.User.user_id == user_id).execute()


def has_users() -> bool:
    return bool(tables.User.select().exists())


def queue_limit(subscription_id: int) -> int:
    """How many tasks the subscription lets wait; 0 if there is no such subscription."""
    row = tables.Subscription.get_or_none(tables.Subscription.subscription_id == subscription_id)
    return 0 if row is None else int(row.queue_limit)


def engine(engine_id: int) -> model.Engine | None:
    row = tables.Engine.get_or_none(tables.Engine.engine_id == engine_id)
    return None if row is None else rows.engine(row)


def engines() -> list[model.Engine]:
    return [rows.engine(row) for row in tables.Engine.select().order_by(tables.Engine.engine_id)]


def argtypes() -> list[model.ArgType]:
    return [
        rows.argtype(row) for row in tables.ArgType.select().order_by(tables.ArgType.argtype_id)
    ]


def machine(machine_id: int) -> model.Machine | None:
    for row in statements.select(tables.Machine, "WHERE `machine_id` = ?", machine_id):
        return rows.machine(row)
    return None


def lock_machine(machine_id: int) -> None:
    """Make two claims of one machine wait for each other; see `tasks.lock_user`."""
    if is_mysql():
        statements.lock(tables.Machine, "machine_id", machine_id)


def machines() -> list[model.Machine]:
    return [
        rows.machine(row) for row in tables.Machine.select().order_by(tables.Machine.machine_id)
    ]


def set_machine_state(machine_id: int, state: model.MachineState, reason: str | None) -> None:
    tables.Machine.update(state=state.value, reason=reason).where(
        tables.Machine.machine_id == machine_id
    ).execute()


# --------------------------------------------------------------------------- any row, by name


class AlreadyThere(Exception):
    """A row with that key exists."""


def key(kind: str) -> str:
    """The name of a kind's id column."""
    primary: Any = KINDS[kind]._meta.primary_key
    return str(primary.column_name)


def all_rows(kind: str) -> list[dict[str, Any]]:
    table = KINDS[kind]
    query: Any = table.select().order_by(table._meta.primary_key).dicts()
    return list(query)


def find_row(kind: str, column: str, value: object) -> dict[str, Any] | None:
    table = KINDS[kind]
    found = table.select().where(getattr(table, column) == value).dicts().first()
    return None if found is None else dict(found)


def insert_row(kind: str, values: Mapping[str, object]) -> object:
    """The new row's id. Raises AlreadyThere if a given id is taken."""
    table = KINDS[kind]
    given = values.get(key(kind))
    if given is not None and find_row(kind, key(kind), given) is not None:
        raise AlreadyThere(f"There is a {kind} {given} already.")
    new_id = table.insert(**values).execute()
    return given if given is not None else new_id


def update_row(kind: str, row_id: object, values: Mapping[str, object]) -> None:
    table = KINDS[kind]
    table.update(**values).where(table._meta.primary_key == row_id).execute()


def delete_row(kind: str, row_id: object) -> None:
    table = KINDS[kind]
    table.delete().where(table._meta.primary_key == row_id).execute()


def count_tasks(column: str, value: object) -> int:
    """How many tasks there are whose `user_id`, `machine_id` or engine (`engine_id`) is `value`."""
    query = tables.Task.select(peewee.fn.COUNT(tables.Task.task_id))
    if column == "engine_id":
        query = query.join(
            tables.Render, on=(tables.Render.render_id == tables.Task.render_id)
        ).where(tables.Render.engine_id == value)
    else:
        query = query.where(getattr(tables.Task, column) == value)
    return int(query.scalar() or 0)
