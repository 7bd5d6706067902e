"""File names that come from a user. Pure.

Of a path or URI only the last component is used, by every platform's rules for separators, and it
must be a name that every platform can hold: a project may be rendered on any of them.
"""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header
from urllib.parse import unquote

MAX_NAME_BYTES = 240
"""Longest name, in UTF-8: below the 255 of common file systems, so that a suffix still fits."""

_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE
)
_REFUSED = frozenset('<>:"|?*')


class BadName(ValueError):
    """A name that cannot be used. Its text is a sentence."""


def usable_name(sent: str) -> str:
    """The file name in what a client sent: a name, a path, a `file:` URI, or RFC 2047 words.

    Raises BadName.
    """
    text = _decoded(sent)
    if has_control(text):
        raise BadName("The file's name has control characters in it. Rename the file.")
    if text.lower().startswith("file:"):
        text = unquote(text[5:])
    name = re.split(r"[/\\]", text)[-1]
    name = re.sub(r"^[A-Za-z]:", "", name).strip()
    return checked(name)


def checked(name: str, what: str = "file") -> str:
    """`name`, if every platform can hold a file or a folder of that name. Raises BadName.

    `what`: whose name it is.
    """
    if not name.strip(". "):
        raise BadName(f"The {what} has no usable name. Give it one with letters or digits.")
    if has_control(name):
        raise BadName(f"The {what}'s name has control characters in it. Rename the {what}.")
    if _REFUSED & set(name):
        raise BadName(
            f'The {what}\'s name "{name[:60]}" has one of < > : " | ? * in it, which Windows refuses. Rename the {what}.'
        )
    if _RESERVED.fullmatch(name):
        raise BadName(f'"{name[:60]}" is reserved on Windows. Rename the {what}.')
    if name[-1] in ". ":
        raise BadName(
            f"The {what}'s name ends in a dot or a space, which Windows drops. Rename the {what}."
        )
    if len(name.encode("utf-8")) > MAX_NAME_BYTES:
        raise BadName(f"The {what}'s name is longer than {MAX_NAME_BYTES} bytes. Shorten it.")
    return name


def has_control(text: str) -> bool:
    """Whether `text` has a control character, a lone surrogate or a direction override in it."""
    return any(
        ord(c) < 32
        or 0x7F <= ord(c) < 0xA0
        or 0xD800 <= ord(c) < 0xE000
        or c in "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        for c in text
    )


def _decoded(sent: str) -> str:
    """RFC 2047 words decoded; .NET sends names like that when they are not ASCII."""
    if "=?" not in sent:
        return sent
    try:
        parts = decode_header(sent)
        return "".join(
            part.decode(charset or "ascii") if isinstance(part, bytes) else part
            for part, charset in parts
        )
    except (HeaderParseError, LookupError, UnicodeDecodeError, ValueError):
        raise BadName("The file's name is encoded in a way that cannot be read.") from None
