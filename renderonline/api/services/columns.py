"""What each column may hold that an admin sets: checked and turned into what is stored.

Each check takes the column's name and the value as it came (text, or a JSON value), and returns what
is stored, or raises AdminError with a sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from renderonline import amounts
from renderonline.api.domain import hours, path_map
from renderonline.api.domain.arguments import PATTERNS, BadArgument
from renderonline.api.domain.model import Role
from renderonline.api.services import options
from renderonline.config import ADAPTERS
from renderonline.engines.commandline import split
from renderonline.engines.template import TemplateError, placeholders

Check = Callable[[str, Any], Any]

MAX_BYTE = 255
MAX_COUNT = 1_000_000


class AdminError(Exception):
    """Something that cannot be set so. Its text is a sentence."""


def _text(limit: int, empty: bool = True) -> Check:
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


def _optional_text(limit: int) -> Check:
    check = _text(limit)
    return lambda column, value: None if value in (None, "") else check(column, value)


def _number(low: int, high: int) -> Check:
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


def _one_of(*choices: str) -> Check:
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


def _or_none(check: Check, *words: str) -> Check:
    """Nothing where one of `words` is given."""
    return lambda column, value: (
        None if value is None or str(value).strip().lower() in words else check(column, value)
    )


def _chunk_frames(column: str, value: Any) -> int:
    """How many frames a machine gets at once; 0 is all of them."""
    if str(value).strip().lower() == "all":
        return 0
    try:
        return int(_number(0, MAX_COUNT)(column, value))
    except AdminError:
        raise AdminError(f"{column} takes a number of frames, auto or all.") from None


def _version(column: str, value: Any) -> str | None:
    try:
        return options.version(str(value).strip())
    except BadArgument:
        raise AdminError(f"{column} takes one such as 4.5, or any.") from None


def _weight(column: str, value: Any) -> float:
    text = str(value).strip()
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or not 0 < float(text) <= 1000:
        raise AdminError(f"{column} takes a number above 0, up to 1000.")
    return float(text)


def _amount(read: Callable[[str], int], example: str) -> Check:
    """A time or a size with its unit, in seconds or bytes."""

    def check(column: str, value: Any) -> int:
        try:
            return read(str(value))
        except ValueError:
            raise AdminError(f"{column} takes {example}, or none.") from None

    return check


def _words(check: Callable[[list[str]], str]) -> Check:
    """Words separated by commas or blanks, or a list of them, as a column has them."""

    def checked(column: str, value: Any) -> str:
        given = value if isinstance(value, list) else re.split(r"[\s,]+", str(value or ""))
        try:
            return check([str(word) for word in given if str(word)])
        except BadArgument as error:
            raise AdminError(f"{column}: {error}") from None

    return checked


def _machine_name(column: str, value: Any) -> str:
    name = str(_text(100)(column, value)).strip()
    if name.isdigit():
        raise AdminError(f"{column} cannot be a number alone; that would be taken for an id.")
    return name


def _path_map(column: str, value: Any) -> str | None:
    """One mapping or a list of them, as the column has them. "none": no mapping."""
    texts = [str(text).strip() for text in (value if isinstance(value, list) else [value or ""])]
    texts = [text for text in texts if text.lower() not in ("", "none")]
    try:
        path_map.of(texts)
    except path_map.BadMapping as error:
        raise AdminError(f"{column}: {error}") from None
    return json.dumps(texts) if texts else None


def _hours(column: str, value: Any) -> str:
    """Hours as they are written; empty where it is always."""
    text = " ".join(str(value or "").split())
    try:
        return text if hours.parse(text) is not None else ""
    except hours.BadHours as error:
        raise AdminError(f"{column}: {error}") from None


def _tag(column: str, value: Any) -> str:
    """A tag; empty where there is none."""
    text = str(value or "").strip()
    try:
        return options.tags([text] if text.lower() not in ("", "none") else [])
    except BadArgument as error:
        raise AdminError(f"{column}: {error}") from None


def _engine_names(words: list[str]) -> str:
    text = " ".join(sorted({word.lower() for word in words}))
    if len(text) > MAX_BYTE:
        raise BadArgument(f"these are longer than {MAX_BYTE} characters together.")
    return text


_SECONDS = _or_none(_amount(amounts.seconds, amounts.TIMES), "", "none")
_BYTES = _or_none(_amount(amounts.size_bytes, amounts.SIZES), "", "none")
_COUNT = _or_none(_number(1, MAX_COUNT), "", "none")
_DAYS = _or_none(_number(0, 36_500), "", "none")

LIMITS: dict[str, tuple[str, Check]] = {
    "start_limit": ("start_seconds", _SECONDS),
    "silence_limit": ("silence_seconds", _SECONDS),
    "progress_limit": ("progress_seconds", _SECONDS),
    "frame_limit": ("frame_seconds", _SECONDS),
    "memory_limit": ("memory_bytes", _BYTES),
}
"""Of an engine: what can be set, as a field of wire.Limits; they are one column, `limits`."""

_ID = _number(0, 2**32 - 1)

COLUMNS: dict[str, dict[str, Check]] = {
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
        "weight": _weight,
        "quota_bytes": _BYTES,
        "retention_days_results": _DAYS,
        "retention_days_projects": _DAYS,
    },
    "engine": {
        "engine_id": _ID,
        "name": _text(50, empty=False),
        "extension": _extension,
        "download_path": _text(4000),
        "render_argument": _template,
        "adapter": _one_of("", *ADAPTERS),
        "file_pattern": _optional_text(255),
        "chunk_frames": _or_none(_chunk_frames, "", "auto"),
        "machine_limit": _COUNT,
        "version": _or_none(_version, "", "any"),
        **{name: check for name, (_, check) in LIMITS.items()},
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
        "name": _machine_name,
        "tags": _words(options.tags),
        "only_engines": _words(_engine_names),
        "path_map": _path_map,
        "hours": _hours,
        "only_users": _words(" ".join),
        "reserve": _tag,
    },
}
"""What can be set, by kind; the names are the tables' columns, and LIMITS."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "user": {"first_name": "", "last_name": "", "is_active": True, "role": Role.ARTIST.value},
    "engine": {"download_path": "", "adapter": ""},
    "argtype": {"type": "word"},
    "machine": {"port": 5001},
    "subscription": {"queue_limit": 100},
}
REQUIRED = {
    "user": ("email",),
    "engine": ("name", "extension", "render_argument"),
    "argtype": ("argtype_id",),
    "machine": ("ip_address",),
    "subscription": ("name",),
}
UNIQUE = {"user": "email", "engine": "name", "subscription": "name", "machine": "name"}
"""The column by which people call a row, besides its id. Several machines may have no name."""
