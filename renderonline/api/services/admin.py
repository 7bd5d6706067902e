"""What an admin does to the farm's tables, with the api running or not.

`add`, `change`, `remove` and `rows` work on the five kinds that an admin sets up (`KINDS`), column
by column as in the tables; what a column may hold is checked here, so that neither the CLI nor a
route can write a row that breaks the farm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from renderonline import security
from renderonline.api.db import catalog
from renderonline.api.db.catalog import KINDS
from renderonline.api.db.connection import Database, Transaction
from renderonline.api.domain.arguments import PATTERNS, BadArgument, check_value
from renderonline.api.domain.model import ArgType, Role
from renderonline.config import ADAPTERS
from renderonline.engines.commandline import split
from renderonline.engines.template import TemplateError, placeholders

__all__ = ["KINDS", "AdminError", "NoSuchRow", "add", "change", "issue_token", "remove", "rows"]

Row = dict[str, Any]

MAX_BYTE = 255


class AdminError(Exception):
    """Something that cannot be set so. Its text is a sentence."""


class NoSuchRow(AdminError):
    """There is no such thing to change or remove."""


# --------------------------------------------------------------------------- what a column may hold
# Each takes the value as it came (text, or a JSON value) and returns what is stored, or raises
# AdminError.


def _text(limit: int, empty: bool = True) -> Callable[[str, Any], Any]:
    def check(column: str, value: Any) -> str:
        text = str(value)
        if not text.strip() and not empty:
            raise AdminError(f"{column} cannot be empty.")
        if len(text) > limit:
            raise AdminError(f"{column} is longer than {limit} characters.")
        if "\0" in text or (limit <= MAX_BYTE and any(ord(c) < 32 for c in text)):
            raise AdminError(f"{column} has control characters in it.")
        return text

    return check


def _optional_text(limit: int) -> Callable[[str, Any], Any]:
    check = _text(limit)
    return lambda column, value: None if value in (None, "") else check(column, value)


def _number(low: int, high: int) -> Callable[[str, Any], Any]:
    def check(column: str, value: Any) -> int:
        text = str(value).strip()
        if not re.fullmatch(r"-?[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise AdminError(f"{column} takes a whole number from {low} to {high}.")
        return int(text)

    return check


def _flag(column: str, value: Any) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    if str(value).lower() not in words:
        raise AdminError(f"{column} takes yes or no.")
    return words[str(value).lower()]


def _one_of(*choices: str) -> Callable[[str, Any], Any]:
    def check(column: str, value: Any) -> str:
        if str(value).lower() not in choices:
            named = ", ".join(choice or '""' for choice in choices)
            raise AdminError(f"{column} takes one of {named}.")
        return str(value).lower()

    return check


def _email(column: str, value: Any) -> str:
    text = str(_text(255, empty=False)(column, value)).strip()
    if not re.fullmatch(r"[^\s@]+@[^\s@]+", text):
        raise AdminError(f"{text[:60]!r} is not an email address.")
    return text


def _extension(column: str, value: Any) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"\.[^\s./\\:*?\"<>|]{1,49}", text):
        raise AdminError(f"{column} takes a file extension with its dot, such as .blend.")
    return text


def _host(column: str, value: Any) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"[A-Za-z0-9_.:%-]{1,45}", text):
        raise AdminError("--host takes an IP address or a host name of at most 45 characters.")
    return text


def _template(column: str, value: Any) -> str:
    text = str(_text(20_000, empty=False)(column, value))
    try:
        placeholders(text)
        words = split(text)
    except (TemplateError, ValueError) as error:
        raise AdminError(f"{column} is not a command line: {error}") from None
    if not words:
        raise AdminError(f"{column} cannot be empty.")
    return text


def _regex(column: str, value: Any) -> str | None:
    if value in (None, ""):
        return None
    text = str(_text(2000)(column, value))
    try:
        re.compile(text)
    except re.error as error:
        raise AdminError(f"{column} is not a regular expression that works: {error}.") from None
    return text


def _argtype_id(column: str, value: Any) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,50}", text):
        raise AdminError(f"{column} takes letters, digits, _ . and -, at most 50 of them.")
    return text


_ID = _number(0, 2**32 - 1)

COLUMNS: dict[str, dict[str, Callable[[str, Any], Any]]] = {
    "user": {
        "user_id": _ID,
        "first_name": _text(50),
        "last_name": _text(50),
        "email": _email,
        "subscription_id": _ID,
        "is_active": _flag,
        "role": _one_of(*Role),
    },
    "subscription": {
        "subscription_id": _ID,
        "name": _text(50, empty=False),
        "queue_limit": _number(0, MAX_BYTE),
    },
    "engine": {
        "engine_id": _ID,
        "name": _text(50, empty=False),
        "extension": _extension,
        "download_path": _text(4000),
        "render_argument": _template,
        "adapter": _one_of("", *ADAPTERS),
        "file_pattern": _optional_text(255),
    },
    "argtype": {
        "argtype_id": _argtype_id,
        "type": _one_of(*PATTERNS),
        "regex": _regex,
        "default_value": _optional_text(255),
    },
    "machine": {
        "machine_id": _ID,
        "ip_address": _host,
        "port": _number(1, 65535),
    },
}
"""What can be set, by kind; the names are the tables' columns."""

_DEFAULTS: dict[str, Row] = {
    "user": {"first_name": "", "last_name": "", "is_active": True, "role": Role.ARTIST.value},
    "engine": {"download_path": "", "adapter": ""},
    "argtype": {"type": "word"},
    "machine": {"port": 5001},
    "subscription": {"queue_limit": 100},
}
_REQUIRED = {
    "user": ("email",),
    "engine": ("name", "extension", "render_argument"),
    "argtype": ("argtype_id",),
    "machine": ("ip_address",),
    "subscription": ("name",),
}
_UNIQUE = {"user": "email", "engine": "name", "subscription": "name"}


# --------------------------------------------------------------------------- the four verbs


def rows(database: Database, kind: str) -> list[Row]:
    """All rows of a kind, without tokens."""
    with database.reading():
        found = catalog.all_rows(kind)
    return [_shown(kind, row) for row in found]


def add(database: Database, kind: str, values: Mapping[str, Any]) -> Row:
    """A new row, as `rows` shows it. Raises AdminError."""
    given = _DEFAULTS[kind] | _checked(kind, values)
    for column in _REQUIRED[kind]:
        if column not in given:
            raise AdminError(f"A new {kind} needs {column}.")

    def write(_tx: Transaction) -> Row:
        columns = dict(given)
        if kind == "user":
            columns = _new_user(columns)
        _check_references(kind, columns)
        _check_unique(kind, columns, None)
        try:
            row_id = catalog.insert_row(kind, columns)
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
        catalog.update_row(kind, key, columns)
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
    subscription_id = columns.get("subscription_id")
    if kind != "user" or subscription_id is None:
        return
    if catalog.find_row("subscription", "subscription_id", subscription_id) is None:
        raise AdminError(f"There is no subscription {subscription_id}.")


def _check_unique(kind: str, columns: Row, key: object) -> None:
    column = _UNIQUE.get(kind)
    if column is None or column not in columns:
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
    if found is None and kind in _UNIQUE:
        found = catalog.find_row(kind, _UNIQUE[kind], text)
    if found is None:
        raise NoSuchRow(f"There is no {kind} {text[:60]}.")
    return found


def _row(kind: str, key: object) -> Row:
    found = catalog.find_row(kind, catalog.key(kind), key)
    assert found is not None
    return _shown(kind, found)


def _shown(kind: str, row: Row) -> Row:
    return {column: row[column] for column in COLUMNS[kind]}
