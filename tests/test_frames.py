"""Frame sets: the grammar, and the arithmetic against Python's own sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderonline.frames import MAX_FRAMES, FrameError, FrameSet

numbers = st.integers(-30, 60)
plain_sets = st.sets(numbers, max_size=40)


@st.composite
def items(draw: st.DrawFn) -> str:
    first, length = draw(numbers), draw(st.integers(0, 30))
    shape = draw(st.sampled_from(["{a}", "{a}-{b}", "{a}-{b}x{s}"]))
    return shape.format(a=first, b=first + length, s=draw(st.integers(1, 5)))


texts = st.lists(items(), min_size=1, max_size=6).map(",".join)


def slow_parse(text: str) -> set[int]:
    """The grammar again, in the most naive way, frame by frame."""
    frames: set[int] = set()
    for item in text.split(","):
        body, _, step = item.partition("x")
        dash = body.find("-", 1)
        first = int(body if dash < 0 else body[:dash])
        last = first if dash < 0 else int(body[dash + 1 :])
        frames.update(range(first, last + 1, int(step or 1)))
    return frames


@pytest.mark.parametrize(
    ("text", "frames", "canonical"),
    [
        ("7", [7], "7"),
        ("1-4", [1, 2, 3, 4], "1-4"),
        ("1-8x3", [1, 4, 7], "1-7x3"),
        ("1,5,10-12", [1, 5, 10, 11, 12], "1,5,10-12"),
        ("-5--3", [-5, -4, -3], "-5--3"),
        ("-2-1", [-2, -1, 0, 1], "-2-1"),
        ("-7", [-7], "-7"),
        ("3,1,2", [1, 2, 3], "1-3"),
        ("1-9x2,2-10x2", list(range(1, 11)), "1-10"),
        ("1,1,1-2", [1, 2], "1-2"),
        ("5-5", [5], "5"),
        ("1,3", [1, 3], "1,3"),
    ],
)
def test_reads_and_prints(text: str, frames: list[int], canonical: str) -> None:
    parsed = FrameSet.parse(text)
    assert list(parsed) == frames
    assert str(parsed) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "1,",
        "abc",
        "1..5",
        "1-",
        "--5",
        "5-1",
        "-1--5",
        "1-5x0",
        "1-5x-1",
        "1x2",
        "1 - 5",
        "1\n",
        "١-٥",
        "+1",
        "1.5",
        "99999999999",
        "2147483648",
        "1-10000001",
        "1-9999999,1-9999999",
        "1," * 50_001 + "1",
    ],
)
def test_refuses_with_a_sentence(text: str) -> None:
    with pytest.raises(FrameError) as caught:
        FrameSet.parse(text)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 200


def test_the_largest_set_that_is_accepted() -> None:
    whole = FrameSet.parse(f"1-{MAX_FRAMES}")
    assert len(whole) == MAX_FRAMES
    assert len(whole.runs) == 1


def test_a_million_frames_stay_a_few_runs() -> None:
    waiting = FrameSet.parse("1-1000000")
    claimed = waiting.take(250)
    left = waiting - claimed
    assert (str(claimed), str(left)) == ("1-250", "251-1000000")
    assert str(left | claimed) == "1-1000000"
    assert str(FrameSet.parse("1-1000000x2") - FrameSet.parse("1-99x2")) == "101-999999x2"


def test_the_empty_set() -> None:
    empty = FrameSet.parse("1-3") - FrameSet.parse("1-3")
    assert empty == FrameSet()
    assert (len(empty), list(empty), str(empty), empty.is_contiguous) == (0, [], "", False)
    with pytest.raises(FrameError):
        _ = empty.first
    with pytest.raises(FrameError):
        _ = empty.last


def test_contiguous_is_one_unbroken_range() -> None:
    assert FrameSet.parse("1-3,4").is_contiguous
    assert FrameSet.parse("4").is_contiguous
    assert not FrameSet.parse("1-9x2").is_contiguous
    assert not FrameSet.parse("1,3").is_contiguous


@pytest.mark.parametrize(
    ("text", "step"),
    [("1-9x2", 2), ("4", 1), ("1-4", 1), ("1-2", 1), ("1,3", 2), ("-5,9", 14), ("-9--1x4", 4)],
)
def test_step_of_frames_that_are_evenly_spaced(text: str, step: int) -> None:
    assert FrameSet.parse(text).step == step


@pytest.mark.parametrize("text", ["1,3,4", "1-3,9", "1-3,5-9x2", "1,4,9"])
def test_others_have_no_step(text: str) -> None:
    assert FrameSet.parse(text).step is None
    assert FrameSet().step is None


@pytest.mark.parametrize(
    ("text", "count", "first", "last"),
    [
        ("1-9x2", 3, "1-5x2", "5-9x2"),
        ("1-9x2", 2, "1,3", "7,9"),
        ("1-9", 99, "1-9", "1-9"),
        ("1,5,10-20", 9, "1,5", "12-20"),
        ("1,5,10-20", 1, "1", "20"),
        ("-9,1-5", 4, "-9", "2-5"),
        ("1-5,9,20", 2, "1-2", "20"),
    ],
)
def test_evenly_spaced_beginnings_and_ends(text: str, count: int, first: str, last: str) -> None:
    frames = FrameSet.parse(text)
    assert frames.take_even(count) == FrameSet.parse(first)
    assert frames.take_last(count) == FrameSet.parse(last)


@given(plain_sets.filter(bool), st.integers(1, 9))
def test_evenly_spaced_parts_make_the_whole(frames: set[int], count: int) -> None:
    left, parts = FrameSet.of(frames), []
    while left.runs:
        parts.append(left.take_even(count))
        assert 1 <= len(parts[-1]) <= count
        assert set(range(parts[-1].first, parts[-1].last + 1, parts[-1].step or 0)) == set(
            parts[-1]
        )
        left -= parts[-1]
    assert [frame for part in parts for frame in part] == sorted(frames)


def test_membership_is_about_whole_numbers() -> None:
    frames = FrameSet.parse("1-9x2")
    assert 3 in frames
    assert 4 not in frames
    assert "3" not in frames


@given(texts)
def test_parse_agrees_with_the_naive_reading(text: str) -> None:
    assert list(FrameSet.parse(text)) == sorted(slow_parse(text))


@given(plain_sets.filter(bool))
def test_text_round_trips(frames: set[int]) -> None:
    made = FrameSet.of(frames)
    assert FrameSet.parse(str(made)) == made
    assert str(FrameSet.parse(str(made))) == str(made)
    assert (made.first, made.last, len(made)) == (min(frames), max(frames), len(frames))


@given(texts)
def test_equal_sets_are_the_same_runs_however_they_were_written(text: str) -> None:
    assert FrameSet.parse(text) == FrameSet.of(slow_parse(text))


@given(texts, texts)
def test_union_and_difference_are_those_of_sets(left: str, right: str) -> None:
    a, b = FrameSet.parse(left), FrameSet.parse(right)
    assert (a | b) == FrameSet.of({*a} | {*b})
    assert (a - b) == FrameSet.of({*a} - {*b})
    assert [f in a for f in range(-40, 100)] == [f in {*a} for f in range(-40, 100)]


@given(texts, st.integers(0, 100))
def test_take_is_the_lowest_frames(text: str, count: int) -> None:
    frames = FrameSet.parse(text)
    assert frames.take(count) == FrameSet.of(sorted(frames)[:count])
