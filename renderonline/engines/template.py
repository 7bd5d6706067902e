"""Templates of the `engines.render_argument` column: split into an argv, then filled in.

Owns the placeholders: `$RENDERONLINE:<argument type>` and the specials such as
`$RENDERONLINE:@uploaded_file`. A template is split first and expanded element by element, so a
value never becomes two arguments, and what it holds is never expanded again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from renderonline.engines.commandline import split

PREFIX = "$RENDERONLINE:"
START_FRAME, END_FRAME, FRAME_STEP = "start_frame", "end_frame", "frame_step"

_NAME = r"@?[A-Za-z0-9_.-]+"
_PLACEHOLDER = re.compile(re.escape(PREFIX) + f"({_NAME})?", re.ASCII)
_NUMBER = re.compile(r"-[0-9]+(\.[0-9]+)?")


class TemplateError(ValueError):
    """A template that cannot be filled in with these values. Its text is a sentence."""


def expand(template: str, values: Mapping[str, str], specials: Mapping[str, str]) -> list[str]:
    """The argv that `template` makes with `values` (by argument type, any case) and `specials`.

    `specials` are named with their `@`. A placeholder means the longest name known that no word
    character follows: `start` never eats the front of `start_frame`, and `start_frame.png` is
    `start_frame` and `.png` unless there is such a name. Raises TemplateError for a placeholder
    without a value, and for a value that would become an option by itself.
    """
    known = {name.lower(): value for name, value in {**values, **specials}.items()}
    return [_expand_element(element, known) for element in split(template)]


def placeholders(template: str) -> set[str]:
    """The argument types that a template may mean, lower-case, without specials.

    `$RENDERONLINE:start_frame.png` may mean `start_frame.png` or `start_frame`, which only the
    list of argument types could tell; both are in the set.
    """
    names = {match[1].lower() for match in _PLACEHOLDER.finditer(template) if match[1]}
    return {way for name in names if not name.startswith("@") for way in _readings(name)}


def is_splittable(template: str) -> bool:
    """Whether a task of this template can be cut into frame ranges."""
    return placeholders(template) >= {START_FRAME, END_FRAME}


def has_step(template: str) -> bool:
    """Whether such a range may be of every nth frame."""
    return FRAME_STEP in placeholders(template)


def _expand_element(element: str, known: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        written = match[1] or ""
        for name in _readings(written.lower()):
            if name in known:
                return known[name] + written[len(name) :]
        raise TemplateError(f"The engine's command line needs a value for {written or match[0]!r}.")

    expanded = _PLACEHOLDER.sub(value_of, element)
    if expanded.startswith("-") and not element.startswith("-") and not _is_number(expanded):
        raise TemplateError(
            f"The value {expanded!r} for {element} would be read as an option; "
            "it may not begin with a hyphen."
        )
    return expanded


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _readings(name: str) -> list[str]:
    """The names that the characters after the prefix can be, longest first.

    A name ends where no word character follows it: at the end, or before one of `-` and `.`.
    """
    ends = [i for i in range(1, len(name) + 1) if i == len(name) or name[i] in "-."]
    return [name[:end] for end in reversed(ends)]
