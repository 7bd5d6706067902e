"""The values a user gives for a template's placeholders: which types there are and what fits. Pure."""

from __future__ import annotations

import re

from renderonline.api.domain.model import ArgType
from renderonline.names import has_control

MAX_VALUE_CHARS = 1000

PATTERNS = {
    "file": r"[A-Za-z0-9_-]+\.[A-Za-z0-9]{1,4}",
    "path": r"(/[A-Za-z0-9_-]+)+/?",
    "extension": r"\.[A-Za-z0-9]{1,4}",
    "word": r"\w+",
    "sentence": r"[A-Za-z0-9\s,.!?'-]+",
    "natural": r"\d+",
    "integer": r"-?\d+",
    "real": r"-?\d+(\.\d+)?",
}
"""The original's built-in patterns. Matched whole and in ASCII, where .NET's `$` lets a final
newline pass and its classes match all of Unicode."""


class BadArgument(ValueError):
    """A value that does not fit. Its text is a sentence for the submitter."""


def check_value(argtype: ArgType, value: str) -> None:
    """Raise BadArgument unless `value` as a whole fits its type (or the type's own regex)."""
    name = argtype.argtype_id
    if len(value) > MAX_VALUE_CHARS:
        raise BadArgument(f"The value of {name} is longer than {MAX_VALUE_CHARS} characters.")
    if has_control(value):
        raise BadArgument(f"The value of {name} has control characters in it.")
    pattern = argtype.regex or PATTERNS.get(argtype.type.lower())
    if pattern is None:
        raise BadArgument(
            f"The argument {name} has the unknown type {argtype.type!r}. An admin can mend it with "
            f"`renderonline admin argtype set`: types are {', '.join(PATTERNS)}."
        )
    try:
        fits = re.fullmatch(pattern, value, re.ASCII)
    except re.error as error:
        raise BadArgument(
            f"The argument {name} has a regex that does not work ({error}). An admin can mend it "
            "with `renderonline admin argtype set`."
        ) from None
    if not fits:
        expected = f"match {argtype.regex}" if argtype.regex else f"be of type {argtype.type}"
        raise BadArgument(f"{value[:80]!r} is not a value for {name}: it should {expected}.")
