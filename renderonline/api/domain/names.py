"""File names as clients send them: of a path or URI only the last component is used. Pure."""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header
from urllib.parse import unquote

from renderonline.names import BadName, checked, has_control


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
