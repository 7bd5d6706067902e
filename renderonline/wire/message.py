"""What every message is, and the two ways in and out.

`decode` reads a body as the original does: names in any case, ids as numbers or numeric strings,
unknown fields ignored. `encode` writes PascalCase.
"""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any, TypeVar

import msgspec

PROTOCOL = 1
"""Version of the messages between api and node. Raised when an older node would misread one."""

MAX_DEPTH = 32
"""Deepest nesting of a JSON body that is read; our deepest message has five levels."""

MAX_ID = 2**63 - 1
"""Largest id that both databases hold (SQLite's integers are signed 64 bit)."""


class WireError(ValueError):
    """A body that is not the message it should be. Its text is a sentence for the sender."""


class Message(msgspec.Struct, rename="pascal", kw_only=True):
    """Base of all messages: PascalCase on the wire, snake_case here."""


T = TypeVar("T", bound=Message)


def encode(message: Message) -> bytes:
    """The JSON bytes of a message."""
    return msgspec.json.encode(message)


def decode(body: bytes, shape: type[T]) -> T:
    """Read a JSON body as `shape`.

    Names match in any case, numbers may come as strings, unknown fields are ignored and missing
    ones take their default. Raises WireError with a sentence for the sender.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")  # a byte order mark, as Windows' tools put there
    if not body.strip():
        raise WireError("The body is empty; it should be a JSON object.")
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"The body is not valid JSON: {error}.") from None
    _check_depth(raw)
    return convert(raw, shape)


def convert(raw: object, shape: type[T]) -> T:
    """`decode` for JSON that has been parsed already. Raises WireError."""
    if not isinstance(raw, dict):
        raise WireError("The body should be a JSON object, in braces.")
    try:
        return msgspec.convert(_canonical(raw, shape), shape, strict=False)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise WireError(f"The body does not fit: {error}.") from None


def _check_depth(raw: object) -> None:
    level: list[object] = [raw]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise WireError(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _canonical(raw: Any, shape: Any) -> Any:
    """`raw` with the names of `shape`'s fields in their canonical case, recursively.

    Directed by the type, so that the keys of a free mapping (an environment, say) stay as they are.
    A null where the original's types have a default (a string, a list) takes that default.
    """
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        if not isinstance(raw, dict):
            return raw
        fields = _fields(shape)
        known = {}
        for name, value in raw.items():
            field = fields.get(str(name).lower())
            if field is None or (value is None and not _takes_none(field.type)):
                continue
            known[field.encode_name] = _canonical(value, field.type)
        return known
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if origin is list and isinstance(raw, list):
        return [_canonical(item, arguments[0]) for item in raw]
    if origin in (typing.Union, types.UnionType):
        for option in arguments:
            if isinstance(option, type) and issubclass(option, msgspec.Struct):
                return _canonical(raw, option)
    if shape is str and isinstance(raw, int | float) and not isinstance(raw, bool):
        return str(raw)
    return raw


@cache
def _fields(shape: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """A message's fields by their lower-case names. msgspec reads the annotations anew each time."""
    return {field.encode_name.lower(): field for field in msgspec.structs.fields(shape)}


def _takes_none(shape: Any) -> bool:
    return shape is type(None) or type(None) in typing.get_args(shape)
