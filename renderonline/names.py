"""Names of files and folders that every platform can hold. Pure.

A project may be sent from any platform and rendered on any other, so what one of them refuses is
refused at the door, for all.
"""

from __future__ import annotations

import re

MAX_NAME_BYTES = 240
"""Longest name, in UTF-8: below the 255 of common file systems, so that a suffix still fits."""

_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE
)
_REFUSED = frozenset('<>:"|?*')


class BadName(ValueError):
    """A name that cannot be used. Its text is a sentence."""


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
