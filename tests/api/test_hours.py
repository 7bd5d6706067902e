"""The hours at which a machine takes work: what is written, and when it is open."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderonline.api.domain.hours import DAYS, MOST_WINDOWS, WEEK, BadHours, Hours, parse

MONDAY = datetime(2026, 3, 2)
NIGHTS = "mon-fri 19:00-07:00, sat-sun"


def at(day: str, time: str) -> datetime:
    """That time in the first full week of March 2026."""
    hour, minute = map(int, time.split(":"))
    return MONDAY + timedelta(days=DAYS.index(day), hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("text", "day", "time", "is_open", "changes_in"),
    [
        ("19:00-07:00", "mon", "18:59", False, 1),
        ("19:00-07:00", "mon", "19:00", True, 12 * 60),
        ("19:00-07:00", "tue", "06:59", True, 1),
        ("19:00-07:00", "tue", "07:00", False, 12 * 60),
        ("8:00-17:30", "sun", "17:29", True, 1),
        (NIGHTS, "sat", "06:00", True, 48 * 60 - 6 * 60),  # from Friday night into the week-end
        (NIGHTS, "mon", "00:00", False, 19 * 60),  # Sunday's window ends with Sunday
        (NIGHTS, "fri", "07:00", False, 12 * 60),
        ("fri 22:00-06:00", "sat", "05:59", True, 1),
        ("fri 22:00-06:00", "fri", "05:59", False, 16 * 60 + 1),
        ("sun 22:00-06:00", "mon", "05:00", True, 60),  # over the week's end
        ("sat-mon 10:00-11:00", "sun", "10:30", True, 30),
        ("sat-mon 10:00-11:00", "tue", "10:30", False, 4 * 1440 - 30),
        ("mon-sun", "wed", "12:00", True, None),
        ("0:00-24:00", "wed", "12:00", True, None),
        ("12:00-12:00", "wed", "11:59", True, None),
        ("mon", "sun", "23:59", False, 1),
        ("9:00-12:00,12:00-17:00", "mon", "11:00", True, 6 * 60),  # they touch
        (" MON-FRI  19:00-07:00 ,SAT ", "sat", "23:00", True, 60),
    ],
)
def test_when_it_is_open(
    text: str, day: str, time: str, is_open: bool, changes_in: int | None
) -> None:
    hours = parse(text)
    assert hours is not None
    local = at(day, time)
    assert (hours.is_open(local), hours.changes_in(local)) == (is_open, changes_in)


@pytest.mark.parametrize(
    ("day", "time", "says"),
    [("mon", "12:00", "until 19:00."), ("fri", "08:30", "until 19:00.")],
)
def test_why_it_gets_no_work(day: str, time: str, says: str) -> None:
    hours = parse(NIGHTS)
    assert hours is not None
    assert hours.closed_text(at(day, time)) == f"It is outside its hours {says}"
    weekly = parse("tue 8:00-9:00")
    assert weekly is not None
    assert weekly.closed_text(at("tue", "10:00")).endswith("until Tue 08:00.")
    assert weekly.closed_text(at("mon", "10:00")).endswith("until Tue 08:00.")
    assert Hours(()).closed_text(at("mon", "10:00")) == "It is outside its hours."


@pytest.mark.parametrize("text", ["", "none", " Always "])
def test_none_is_always(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "windows", "stops"),
    [
        ("mon 1:00-2:00 stop", 1, True),
        ("mon 1:00-2:00, stop", 1, True),
        ("mon-fri stop", 5, True),
        ("mon-fri", 5, False),
    ],
)
def test_what_is_rendered_at_the_end_may_be_stopped(text: str, windows: int, stops: bool) -> None:
    hours = parse(text)
    assert hours is not None
    assert (len(hours.windows), hours.stops) == (windows, stops)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nights", "are no hours"),
        ("montag 1:00-2:00", "are no hours"),
        ("xyz 1:00-2:00", "'xyz' is not a day"),
        ("mon-xyz", "'xyz' is not a day"),
        ("25:00-26:00", "25:00 is not a time"),
        ("24:01-1:00", "24:01 is not a time"),
        ("9:60-10:00", "9:60 is not a time"),
        ("9-17", "are no hours"),
        ("9:00", "are no hours"),
        ("9:00-17:00,,", "are no hours"),
        (",", "are no hours"),
        ("stop", "Hours take"),
        ("9:00-17:00 halt", "are no hours"),
        ("\u0661\u0669:00-20:00", "are no hours"),
        (", ".join(["mon-sun 1:00-2:00"] * 5), "Hours take"),
        ("9:00-17:00," * 100, "longer than"),
    ],
)
def test_what_are_no_hours_is_a_sentence(text: str, says: str) -> None:
    assert MOST_WINDOWS < 5 * 7
    with pytest.raises(BadHours, match=says):
        parse(text)


@given(
    st.lists(st.tuples(st.integers(0, WEEK - 1), st.integers(1, 1440)), min_size=1, max_size=5),
    st.integers(0, WEEK - 1),
)
def test_it_changes_when_it_says_and_not_before(
    windows: list[tuple[int, int]], minute: int
) -> None:
    hours, local = Hours(tuple(windows)), MONDAY + timedelta(minutes=minute)
    away, before = hours.changes_in(local), hours.is_open(local)
    for later in range(away if away is not None else WEEK):
        assert hours.is_open(local + timedelta(minutes=later)) is before
    if away is not None:
        assert hours.is_open(local + timedelta(minutes=away)) is not before
