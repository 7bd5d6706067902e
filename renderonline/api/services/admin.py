"""What an admin does to the farm's tables, with the api running or not.

`add`, `change`, `remove` and `rows` work on the five kinds that an admin sets up (`KINDS`), column
by column as in the tables; what a column may hold is checked in `columns`, so that neither the CLI
nor a route can write a row that breaks the farm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from renderonline import security, wire
from renderonline.api.db import catalog, machines
from renderonline.api.db.catalog import KINDS
from renderonline.api.db.connection import Database, Transaction
from renderonline.api.domain.arguments import BadArgument, check_value
from renderonline.api.domain.model import ArgType, MachineState
from renderonline.api.services import options
from renderonline.api.services.columns import (
    COLUMNS,
    DEFAULTS,
    LIMITS,
    REQUIRED,
    UNIQUE,
    AdminError,
)
from renderonline.engines.template import placeholders

__all__ = [
    "COLUMNS",
    "KINDS",
    "MACHINE_VERBS",
    "AdminError",
    "NoSuchRow",
    "add",
    "change",
    "issue_token",
    "remove",
    "rows",
    "set_machine",
]

Row = dict[str, Any]

MACHINE_VERBS: dict[str, tuple[MachineState, str | None]] = {
    "drain": (MachineState.DRAINING, "An admin is taking it out of the farm."),
    "disable": (MachineState.DISABLED, "An admin has taken it out of the farm."),
    "enable": (MachineState.ENABLED, None),
    "forgive": (MachineState.ENABLED, None),
}
"""What can be done to a machine: its state after it, and the reason that everybody sees."""

MOST_USERS = 20
"""That a machine may be kept for."""

ONLY_SHOWN = {"machine": ("state", "reason")}


class NoSuchRow(AdminError):
    """There is no such thing to change or remove."""


# --------------------------------------------------------------------------- the four verbs


def rows(database: Database, kind: str) -> list[Row]:
    """All rows of a kind, without tokens."""
    with database.reading():
        return [_shown(kind, row) for row in catalog.all_rows(kind)]


def add(database: Database, kind: str, values: Mapping[str, Any]) -> Row:
    """A new row, as `rows` shows it. Raises AdminError."""
    given = DEFAULTS[kind] | _checked(kind, values)
    for column in REQUIRED[kind]:
        if column not in given:
            raise AdminError(f"A new {kind} needs {column}.")

    def write(_tx: Transaction) -> Row:
        columns = dict(given)
        if kind == "user":
            columns = _new_user(columns)
        _check_references(kind, columns)
        columns |= _user_ids(columns)
        _check_unique(kind, columns, None)
        try:
            row_id = catalog.insert_row(kind, _stored(kind, columns, {}))
        except catalog.AlreadyThere as error:
            raise AdminError(str(error)) from None
        _check_whole(kind, row_id)
        return _row(kind, row_id)

    return database.transact(write)


def change(database: Database, kind: str, row_id: object, values: Mapping[str, Any]) -> Row:
    """Set columns of one row; the row, as `rows` shows it. Raises AdminError, NoSuchRow.

    `row_id` is the row's id, or a user's email, an engine's or a subscription's name.
    """
    columns = _checked(kind, values)
    if not columns:
        raise AdminError("Nothing to set: name at least one column.")
    if catalog.key(kind) in columns:
        raise AdminError(f"{catalog.key(kind)} cannot be changed.")

    def write(_tx: Transaction) -> Row:
        found = _find(kind, row_id)
        key = found[catalog.key(kind)]
        _check_references(kind, columns)
        _check_unique(kind, columns, key)
        catalog.update_row(kind, key, _stored(kind, columns | _user_ids(columns), found))
        _check_whole(kind, key)
        return _row(kind, key)

    return database.transact(write)


def remove(database: Database, kind: str, row_id: object) -> Row:
    """Remove a row that nothing needs any more; what it was. Raises AdminError, NoSuchRow."""

    def write(_tx: Transaction) -> Row:
        found = _find(kind, row_id)
        key = found[catalog.key(kind)]
        _check_unused(kind, key)
        if kind == "user":
            catalog.revoke_tokens(key)
        catalog.delete_row(kind, key)
        return _shown(kind, found)

    return database.transact(write)


def issue_token(
    database: Database, row_id: object, name: str = "admin", revoke: bool = False
) -> tuple[Row, str]:
    """A fresh token for a user, to be shown once; `revoke` ends all earlier ones.

    Raises NoSuchRow.
    """
    token = security.new_token()

    def write(_tx: Transaction) -> Row:
        found = _find("user", row_id)
        if revoke:
            catalog.revoke_tokens(found["user_id"])
        catalog.add_token(found["user_id"], name[:50], security.digest(token), datetime.now(UTC))
        return _shown("user", found)

    return database.transact(write), token


def set_machine(database: Database, row_id: object, verb: str) -> Row:
    """Do one of MACHINE_VERBS to a machine, named by its id or name. Raises NoSuchRow.

    Running apis see it within a second or two. `forgive` also forgets all that it has failed.
    """
    state, reason = MACHINE_VERBS[verb]

    def write(_tx: Transaction) -> Row:
        key = _find("machine", row_id)["machine_id"]
        catalog.lock_machine(key)
        catalog.set_machine_state(key, state, reason)
        if verb == "forgive":
            machines.forgive(key)
        return _row("machine", key)

    return database.transact(write)


# --------------------------------------------------------------------------- inside a transaction


def _checked(kind: str, values: Mapping[str, Any]) -> Row:
    known = COLUMNS[kind]
    unknown = set(values) - set(known)
    if unknown:
        raise AdminError(f"A {kind} has no {sorted(unknown)[0]}; it has {', '.join(known)}.")
    return {column: known[column](column, value) for column, value in values.items()}


def _new_user(columns: Row) -> Row:
    if "subscription_id" not in columns:
        subscriptions = catalog.all_rows("subscription")
        if not subscriptions:
            raise AdminError("There is no subscription yet: `admin subscription add` first.")
        columns["subscription_id"] = subscriptions[0]["subscription_id"]
    # Ours are kept hashed, in `tokens`; an empty verbatim token opens nothing.
    return columns | {"token": ""}


def _check_references(kind: str, columns: Row) -> None:
    wanted = columns.get("subscription_id") if kind == "user" else None
    if wanted is not None and catalog.find_row("subscription", "subscription_id", wanted) is None:
        raise AdminError(f"There is no subscription {wanted}.")
    named = set(str(columns.get("only_engines") or "").split())
    unknown = named - {engine.name.lower() for engine in catalog.engines()} if named else set()
    if unknown:
        raise AdminError(f"There is no engine {min(unknown)[:60]}.")


def _user_ids(columns: Row) -> Row:
    """Users that are named, by their ids: those stay when an email address changes."""
    if columns.get("only_users") is None:
        return {}
    named = [word for word in str(columns["only_users"]).split() if word.lower() != "none"]
    try:
        ids = sorted({int(_find("user", word)["user_id"]) for word in named})
    except NoSuchRow as error:
        raise AdminError(f"only_users: {error}") from None
    if len(ids) > MOST_USERS:
        raise AdminError(f"only_users takes up to {MOST_USERS} users.")
    return {"only_users": " ".join(map(str, ids))}


def emails(user_ids: Iterable[int]) -> list[str]:
    """Users for people. One who was removed is shown as the number. Inside a reading."""
    known = {number: catalog.find_row("user", "user_id", number) for number in sorted(user_ids)}
    return [str((row or {}).get("email", number)) for number, row in known.items()]


def _check_unique(kind: str, columns: Row, key: object) -> None:
    column = UNIQUE.get(kind)
    if column is None or not columns.get(column):
        return
    other = catalog.find_row(kind, column, columns[column])
    if other is not None and other[catalog.key(kind)] != key:
        raise AdminError(f"There is a {kind} with the {column} {columns[column]} already.")


def _check_whole(kind: str, key: object) -> None:
    """What holds between the columns of a row as it is now written, or between two rows."""
    row = _row(kind, key)
    if kind == "argtype" and row["default_value"] is not None:
        argtype = ArgType(row["argtype_id"], row["type"], row["regex"], None)
        try:
            check_value(argtype, row["default_value"])
        except BadArgument as error:
            raise AdminError(f"That default cannot be. {error}") from None
    if kind == "machine":
        place = (row["ip_address"].lower(), row["port"])
        for other in catalog.machines():
            if other.machine_id != key and (other.ip_address.lower(), other.port) == place:
                raise AdminError(f"Machine {other.machine_id} is at {place[0]}:{place[1]} already.")


def _check_unused(kind: str, key: object) -> None:
    column = {"user": "user_id", "engine": "engine_id"}.get(kind)
    count = catalog.count_tasks(column, key) if column else 0
    if count:
        raise AdminError(
            f"{count} tasks belong to this {kind}; delete them first"
            + (", or set is_active to no." if kind == "user" else ".")
        )
    kept = [m.machine_id for m in catalog.machines() if key in m.only_users and kind == "user"]
    if kept:
        raise AdminError(f"Machine {kept[0]} is kept for this user; change its only_users first.")
    if kind == "argtype":
        users = [
            e.name for e in catalog.engines() if str(key).lower() in placeholders(e.render_argument)
        ]
        if users:
            raise AdminError(f"The template of {', '.join(users)} needs {key}; change that first.")
    if kind == "subscription" and catalog.find_row("user", "subscription_id", key):
        raise AdminError("Users have this subscription; give them another one first.")


def _find(kind: str, row_id: object) -> Row:
    """By id, else by the kind's unique name. Raises NoSuchRow."""
    text = str(row_id).strip()
    found = None
    if kind == "argtype":
        found = catalog.find_row(kind, "argtype_id", text)
    elif re.fullmatch(r"[0-9]{1,10}", text):
        found = catalog.find_row(kind, catalog.key(kind), int(text))
    if found is None and kind in UNIQUE and text:
        found = catalog.find_row(kind, UNIQUE[kind], text)
    if found is None:
        raise NoSuchRow(f"There is no {kind} {text[:60]}.")
    return found


def _row(kind: str, key: object) -> Row:
    found = catalog.find_row(kind, catalog.key(kind), key)
    assert found is not None
    return _shown(kind, found)


def _shown(kind: str, row: Row) -> Row:
    told = row | (_limits(row) if kind == "engine" else {})
    if kind == "machine" and row["path_map"]:
        told["path_map"] = json.loads(row["path_map"])
    if kind == "machine":
        told["only_users"] = emails(map(int, (row["only_users"] or "").split()))
    return {column: told[column] for column in (*COLUMNS[kind], *ONLY_SHOWN.get(kind, ()))}


def _stored(kind: str, columns: Row, before: Row) -> Row:
    """The columns to write: an engine's limits are one, and those that are not given stay."""
    given = {name: columns[name] for name in columns if kind == "engine" and name in LIMITS}
    if not given:
        return columns
    wanted = _limits(before) | given
    limits = wire.Limits(**{LIMITS[name][0]: value for name, value in wanted.items()})
    stored = {name: value for name, value in columns.items() if name not in LIMITS}
    return stored | {"limits": options.limits(limits)}


def _limits(row: Row) -> Row:
    """An engine's limits, each as a column of its own."""
    known = options.merged_limits(row.get("limits")) or wire.Limits()
    values = msgspec.structs.asdict(known)
    return {name: _whole(values[field]) for name, (field, _) in LIMITS.items()}


def _whole(number: float | None) -> float | None:
    return int(number) if number is not None and number == int(number) else number
