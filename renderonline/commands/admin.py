"""`renderonline admin`: users, engines, machines, subscriptions and argument types.

Works on the database itself, whether the api is running or not; an empty one is set up first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from renderonline import config, paths
from renderonline.api.app import open_database
from renderonline.api.db.connection import Database, DatabaseError
from renderonline.api.services import admin
from renderonline.commands import output
from renderonline.commands.admin_options import KINDS, PREFIX
from renderonline.commands.edge import CommandError, Exit, UsageError
from renderonline.commands.table import print_table


def show(args: argparse.Namespace) -> int:
    """`admin KIND list`"""
    with _database(args) as database:
        rows = admin.rows(database, args.kind)
    if args.json:
        output.emit([as_json(row) for row in rows])
        return 0
    columns = shown_columns(args.kind, rows)
    print_table(columns, ([_cell(row[column]) for column in columns] for row in rows))
    return 0


def add(args: argparse.Namespace) -> int:
    """`admin KIND add`; a new user comes with a token, shown this once."""
    with _database(args) as database:
        row = admin.add(database, args.kind, given_columns(args))
        if args.kind == "user":
            row, token = admin.issue_token(database, row["user_id"])
            return _tell_token(args, row, token)
    return _tell(args, row, "added")


def change(args: argparse.Namespace) -> int:
    """`admin KIND set`"""
    row_id, values = identify(args.kind, args.row, given_columns(args))
    with _database(args) as database:
        row = admin.change(database, args.kind, row_id, values)
    return _tell(args, row, "changed")


def remove(args: argparse.Namespace) -> int:
    """`admin KIND remove`"""
    row_id, _ = identify(args.kind, args.row, given_columns(args))
    with _database(args) as database:
        row = admin.remove(database, args.kind, row_id)
    return _tell(args, row, "removed")


def token(args: argparse.Namespace) -> int:
    """`admin user token`"""
    row_id, _ = identify(args.kind, args.row, given_columns(args))
    with _database(args) as database:
        row, issued = admin.issue_token(database, row_id, args.label, args.revoke)
    return _tell_token(args, row, issued)


def machine(args: argparse.Namespace) -> int:
    """`admin machine drain|disable|enable|forgive`"""
    row_id, _ = identify(args.kind, args.row, given_columns(args))
    with _database(args) as database:
        row = admin.set_machine(database, row_id, args.verb)
    return _tell(args, row, row["state"])


# --------------------------------------------------------------------------- decisions


def shown_columns(kind: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that a list of rows is worth: without those that nothing is set in."""
    if not rows:
        return [option.column for option in KINDS[kind].options]
    return [column for column in rows[0] if any(row[column] not in (None, "") for row in rows)]


def given_columns(args: argparse.Namespace) -> dict[str, Any]:
    """The columns that options were given for."""
    return {
        name.removeprefix(PREFIX): value
        for name, value in vars(args).items()
        if name.startswith(PREFIX)
    }


def identify(kind: str, row: str | None, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Which row is meant, and the columns that are left to set. Raises UsageError.

    The row is named by itself (`engine set blender --extension .blend`), else by its id
    (`--engine-id 1`), else by its name (`--name blender`). What names it is not set.
    """
    values = dict(given)
    if row is not None:
        return row, values
    by = [KINDS[kind].options[0].column, KINDS[kind].name]
    for column in by:
        if column is not None and column in values:
            return values.pop(column), values
    ways = " or ".join(f"--{column.replace('_', '-')}" for column in by if column)
    raise UsageError(f"Which {kind}? It takes {ways}.")


def as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the names that JSON has: user_id → UserId."""
    return {_pascal(column): value for column, value in row.items()}


def _pascal(column: str) -> str:
    if column == "argtype_id":
        return "ArgTypeId"  # as the original's messages spell it
    return "".join(word.capitalize() for word in column.split("_"))


# --------------------------------------------------------------------------- effects


@contextmanager
def _database(args: argparse.Namespace) -> Iterator[Database]:
    with opened(args) as (_settings, database):
        yield database


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[tuple[config.ApiSettings, Database]]:
    """The api's settings and database, as its configuration names it; our errors for what may go
    wrong."""
    settings, loaded = config.load(config.ApiSettings, args.config)
    for warning in loaded.warnings:
        output.say(f"Warning: {warning}")
    try:
        paths.private_dir(settings.data_path)
    except OSError as error:
        message = f"DataPath: {settings.data_path} cannot be used: {error.strerror}."
        raise CommandError(message, "", Exit.USAGE, "data_path") from None
    try:
        database = open_database(settings)
        try:
            yield settings, database
        finally:
            database.close()
    except admin.NoSuchRow as error:
        raise CommandError(str(error), "", Exit.NOT_FOUND, "not_found") from None
    except admin.AdminError as error:
        raise UsageError(str(error)) from None
    except DatabaseError as error:
        raise CommandError(str(error), "", Exit.USAGE, "database") from None


def _tell(args: argparse.Namespace, row: Mapping[str, Any], done: str) -> int:
    if args.json:
        output.emit(as_json(row))
        return 0
    output.result(f"The {args.kind} is {done}.")
    print_table(("", ""), ((column, _cell(value)) for column, value in row.items()))
    return 0


def _tell_token(args: argparse.Namespace, row: Mapping[str, Any], issued: str) -> int:
    if args.json:
        output.emit(as_json(row) | {"Token": issued})
        return 0
    output.result(f"A token for {row['email']} (user {row['user_id']}), shown only now:")
    output.result(issued)
    return 0


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
