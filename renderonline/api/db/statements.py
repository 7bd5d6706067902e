"""Statements of the hot path, whose text is made once.

Making the text of a query costs peewee several times what the database takes to answer it, and a
chunk's claim and end are a dozen of them. The tables stay peewee's: columns, converters and
connections come from there. Inside the caller's `Database.reading` or `Database.transact`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeVar

import peewee

from renderonline.api.db import tables
from renderonline.api.db.connection import is_mysql, proxy

T = TypeVar("T")

_CONVERTED = (tables.Utc, tables.Flag, peewee.DateTimeField)
"""Columns whose values differ between Python and a database; all others pass as they are."""

Converter = Callable[[Any], Any]


def select(table: type[tables.Table], rest: str, *values: object) -> list[SimpleNamespace]:
    """The rows of one table; `rest` is what follows FROM, with a ? for each value."""
    return [parts[0] for parts in select_joined((table,), f"`{_name(table)}` {rest}", *values)]


def select_joined(
    joined: tuple[type[tables.Table], ...], rest: str, *values: object
) -> Iterator[list[SimpleNamespace]]:
    """For each row one object per table, with its columns as attributes.

    `rest` is what follows FROM, where the tables go by their own names.
    """
    cursor = proxy.obj.execute_sql(with_places(f"SELECT {_columns(joined)} FROM {rest}"), values)
    shapes = [_shape(table) for table in joined]
    for row in cursor.fetchall():
        yield list(_split(row, shapes))


def values(table: type[tables.Table], column: str, rest: str, *asked: object) -> list[Any]:
    """One column of the rows, as the database has it."""
    text = f"SELECT `{column}` FROM `{_name(table)}` {rest}"
    return [value for (value,) in proxy.obj.execute_sql(with_places(text), asked).fetchall()]


def lock(table: type[tables.Table], key: str, value: object) -> None:
    """MySQL: keep others from changing this row until the transaction ends; wait for who does."""
    text = f"SELECT `{key}` FROM `{_name(table)}` WHERE `{key}` = ? FOR UPDATE"
    proxy.obj.execute_sql(with_places(text), (value,)).fetchall()


def update(
    table: type[tables.Table], columns: Mapping[str, object], where: str, *values: object
) -> bool:
    """Write `columns` into the rows that `where` finds; whether there were any."""
    names = tuple(columns)
    assigned = ", ".join(f"`{name}` = ?" for name in names)
    text = f"UPDATE `{_name(table)}` SET {assigned} WHERE {where}"
    cursor = proxy.obj.execute_sql(with_places(text), (*_stored(table, columns), *values))
    return bool(cursor.rowcount)


def insert(table: type[tables.Table], columns: Mapping[str, object]) -> int:
    """A new row; its id."""
    places = ", ".join("?" for _ in columns)
    named = ", ".join(f"`{name}`" for name in columns)
    text = f"INSERT INTO `{_name(table)}` ({named}) VALUES ({places})"
    return int(proxy.obj.execute_sql(with_places(text), _stored(table, columns)).lastrowid)


def insert_many(
    table: type[tables.Table], columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """New rows, whose values are as the database has them; those whose key is there are left out."""
    word = "IGNORE" if is_mysql() else "OR IGNORE"
    named = ", ".join(f"`{name}`" for name in columns)
    places = f"({', '.join('?' for _ in columns)})"
    for batch in batches(rows):
        text = f"INSERT {word} INTO `{_name(table)}` ({named}) VALUES {', '.join([places] * len(batch))}"
        proxy.obj.execute_sql(with_places(text), [value for row in batch for value in row])


def rows_of(
    table: type[tables.Table], columns: Sequence[str], key: str, keys: Sequence[str], end: str = ""
) -> Iterator[tuple[Any, ...]]:
    """These columns of the rows whose `key` is one of many; `end` is what follows the condition."""
    named = ", ".join(f"`{name}`" for name in columns)
    for batch in batches(keys):
        places = ", ".join("?" * len(batch))
        text = f"SELECT {named} FROM `{_name(table)}` WHERE `{key}` IN ({places}) {end}"
        yield from proxy.obj.execute_sql(with_places(text), list(batch)).fetchall()


BATCH = 400
"""Rows that one statement names: SQLite takes 32,766 values, and texts are kept."""


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def delete(table: type[tables.Table], where: str, *values: object) -> None:
    proxy.obj.execute_sql(with_places(f"DELETE FROM `{_name(table)}` WHERE {where}"), values)


# --------------------------------------------------------------------------- made once


def with_places(sql: str) -> str:
    """With the open database's own placeholder. Both take names in backticks."""
    return _with_placeholder(sql, str(proxy.obj.param))


@cache
def _with_placeholder(sql: str, placeholder: str) -> str:
    return sql.replace("?", placeholder)


@cache
def _columns(joined: tuple[type[tables.Table], ...]) -> str:
    return ", ".join(f"`{_name(t)}`.`{name}`" for t in joined for name, _ in _shape(t))


@cache
def _shape(table: type[tables.Table]) -> tuple[tuple[str, Converter | None], ...]:
    """The columns in order, each with what makes a Python value of it; None: nothing to do."""
    fields: Sequence[peewee.Field] = table._meta.sorted_fields
    return tuple(
        (field.column_name, field.python_value if isinstance(field, _CONVERTED) else None)
        for field in fields
    )


@cache
def _writers(table: type[tables.Table]) -> dict[str, Converter]:
    fields: Sequence[peewee.Field] = table._meta.sorted_fields
    return {f.column_name: f.db_value for f in fields if isinstance(f, _CONVERTED)}


def _name(table: type[tables.Table]) -> str:
    return str(table._meta.table_name)


def _stored(table: type[tables.Table], columns: Mapping[str, object]) -> list[object]:
    writers = _writers(table)
    return [writers[name](value) if name in writers else value for name, value in columns.items()]


def _split(
    row: Sequence[Any], shapes: Sequence[tuple[tuple[str, Converter | None], ...]]
) -> Iterator[SimpleNamespace]:
    at = 0
    for shape in shapes:
        columns = zip(shape, row[at : at + len(shape)], strict=True)
        yield SimpleNamespace(
            **{
                name: value if convert is None or value is None else convert(value)
                for (name, convert), value in columns
            }
        )
        at += len(shape)
