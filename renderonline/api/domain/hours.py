"""The hours at which a machine takes work, as `mon-fri 19:00-07:00, sat-sun`. Pure.

Days and times are those of the server's wall clock. A window that ends before it begins crosses
midnight, and belongs to the day on which it begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 24 * 60
WEEK = 7 * DAY
MOST_WINDOWS = 28
MOST_LETTERS = 255

_WINDOW = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))?)?\s*"
    r"(?:(?P<begin>[0-9]{1,2}:[0-9]{2})-(?P<end>[0-9]{1,2}:[0-9]{2}))?"
)
_STOP = "stop"

EXAMPLE = 'one or more such as "mon-fri 19:00-07:00, sat-sun"'


class BadHours(ValueError):
    """What is written are no hours. Its text is a sentence."""


@dataclass(frozen=True, slots=True)
class Hours:
    """`windows`: (minute of the week in which one begins, its minutes). `stops`: what is rendered
    when one ends is taken away from the machine."""

    windows: tuple[tuple[int, int], ...]
    stops: bool = False

    def is_open(self, local: datetime) -> bool:
        """Whether the machine takes work at that time of the server's wall clock."""
        return self._is_open(_minute(local))

    def changes_in(self, local: datetime) -> int | None:
        """How many minutes of the wall clock later it opens or closes; None: never."""
        now = _minute(local)
        before = self._is_open(now)
        ends = {minute % WEEK for begin, long in self.windows for minute in (begin, begin + long)}
        for away in sorted((minute - now) % WEEK or WEEK for minute in ends):
            if self._is_open((now + away) % WEEK) is not before:
                return away
        return None

    def closed_text(self, local: datetime) -> str:
        """Why it gets no work, as a sentence."""
        away = self.changes_in(local)
        if away is None:
            return "It is outside its hours."
        day, minute = divmod((_minute(local) + away) % WEEK, DAY)
        is_today = away < DAY and day == local.weekday()
        named = "" if is_today else f"{DAYS[day].capitalize()} "
        return f"It is outside its hours until {named}{minute // 60:02}:{minute % 60:02}."

    def _is_open(self, minute: int) -> bool:
        return any((minute - begin) % WEEK < long for begin, long in self.windows)


def parse(text: str) -> Hours | None:
    """Read hours; None where there are none, which is always. Raises BadHours."""
    words = text.strip().lower()
    if words in ("", "none", "always"):
        return None
    if len(words) > MOST_LETTERS:
        raise BadHours(f"Hours are longer than {MOST_LETTERS} characters.")
    parts = [part.strip() for part in words.split(",")]
    stops = parts[-1] == _STOP or parts[-1].endswith(f" {_STOP}")
    if stops:
        parts[-1] = parts[-1].removesuffix(_STOP).strip()
        parts = parts if parts[-1] else parts[:-1]
    windows = tuple(window for part in parts for window in _windows(part))
    if not windows or len(windows) > MOST_WINDOWS:
        raise BadHours(f"Hours take {EXAMPLE}.")
    return Hours(windows, stops)


def _minute(local: datetime) -> int:
    """Of the week, which begins on Monday."""
    return local.weekday() * DAY + local.hour * 60 + local.minute


def _windows(part: str) -> Iterator[tuple[int, int]]:
    found = _WINDOW.fullmatch(part)
    if not part or found is None:
        raise BadHours(f"{part[:40]!r} are no hours: they take {EXAMPLE}.")
    begin, end = _time(found["begin"] or "0:00"), _time(found["end"] or "24:00")
    for day in _days(found["first"] or "mon", found["last"] or found["first"] or "sun"):
        yield (day * DAY + begin) % WEEK, (end - begin) % DAY or DAY


def _days(first: str, last: str) -> list[int]:
    """From the one to the other, over the week's end if need be."""
    for name in (first, last):
        if name not in DAYS:
            raise BadHours(f"{name!r} is not a day: they are {', '.join(DAYS)}.")
    begin = DAYS.index(first)
    return [(begin + n) % 7 for n in range((DAYS.index(last) - begin) % 7 + 1)]


def _time(text: str) -> int:
    """A time of day as a minute of it; 24:00 is its end."""
    hour, minute = map(int, text.split(":"))
    if minute > 59 or hour * 60 + minute > DAY:
        raise BadHours(f"{text} is not a time of day.")
    return hour * 60 + minute
