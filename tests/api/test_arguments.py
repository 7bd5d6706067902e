"""The values for a template's placeholders: all of a value fits its type, or none of it counts."""

from __future__ import annotations

import pytest

from renderonline.api.domain.arguments import MAX_VALUE_CHARS, BadArgument, check_value
from renderonline.api.domain.model import ArgType

FITS = {
    "file": ["a.b", "scene_1-x.png", "A.PNG"],
    "path": ["/a", "/a/b/", "/a-b/c_d"],
    "extension": [".png", ".x", ".JPG2"],
    "word": ["a", "a_1", "1"],
    "sentence": ["Hello, world!", "it's 5.", "a-b?", "a"],
    "natural": ["0", "1", "007", "123456"],
    "integer": ["0", "-1", "12"],
    "real": ["0", "-1", "1.5", "-0.25"],
}
FITS_NOT = {
    "file": ["", "a", ".b", "a.b.c", "a/b.c", "a.blend", "a b.c", "../a.b"],
    "path": ["", "a", "/", "//", "/a//b", "/a/../b", "/a b", r"\a", "C:/a"],
    "extension": ["", "png", ".", ".p-g", ".toolong", ".png.exr"],
    "word": ["", "a b", "a-b", "é"],
    "sentence": ["", "a;b", "a$b", "`x`", "a|b", "é", 'a"b'],
    "natural": ["", "-1", "+1", "1.0", "1 ", " 1", "1e3", "0x1", "1_000"],
    "integer": ["", "-", "--1", "+1", "1.0", "1-"],
    "real": ["", "-", "1.", ".5", "1,5", "1e3", "nan", "inf", "1.5.2"],
}


def argtype(type_name: str, regex: str | None = None) -> ArgType:
    return ArgType("quality", type_name, regex, None)


@pytest.mark.parametrize(("type_name", "value"), [(t, v) for t in FITS for v in FITS[t]])
def test_fits(type_name: str, value: str) -> None:
    check_value(argtype(type_name), value)
    check_value(argtype(type_name.upper()), value)


@pytest.mark.parametrize(("type_name", "value"), [(t, v) for t in FITS for v in FITS_NOT[t]])
def test_does_not_fit(type_name: str, value: str) -> None:
    with pytest.raises(BadArgument, match=f"quality.*type {type_name}"):
        check_value(argtype(type_name), value)


@pytest.mark.parametrize(("type_name", "value"), [(t, v[0]) for t, v in FITS.items()])
@pytest.mark.parametrize("tail", ["\n", "\r\n", "\0", "\x1b[2J", "\u202e", "\u2028", "\x85"])
def test_nothing_may_follow(type_name: str, value: str, tail: str) -> None:
    """.NET's `$` matches before a final newline."""
    with pytest.raises(BadArgument, match="quality"):
        check_value(argtype(type_name), value + tail)


@pytest.mark.parametrize("type_name", ["word", "natural", "integer", "real"])
@pytest.mark.parametrize("digit", ["\u0663", "\uff13", "\u0969"])
def test_digits_are_ascii(type_name: str, digit: str) -> None:
    with pytest.raises(BadArgument):
        check_value(argtype(type_name), digit)


def test_spaces_of_a_sentence_are_ascii() -> None:
    with pytest.raises(BadArgument):
        check_value(argtype("sentence"), "a\u00a0b")


@pytest.mark.parametrize(
    ("regex", "value", "fits"),
    [
        ("[a-c]+", "abc", True),
        ("[a-c]+", "abcd", False),  # the original searches, ours matches the whole
        ("a|bc", "bc", True),
        ("a|bc", "abc", False),
        ("^x$", "x", True),
        (r"\d+", "5", True),
        (r"\d+", "\u0663", False),
    ],
)
def test_own_regex_replaces_the_pattern(regex: str, value: str, fits: bool) -> None:
    if fits:
        check_value(argtype("natural", regex), value)
        return
    with pytest.raises(BadArgument):
        check_value(argtype("natural", regex), value)


def test_own_regex_lets_no_control_character_pass() -> None:
    with pytest.raises(BadArgument, match="control"):
        check_value(argtype("word", "(?s).*"), "a\nb")


def test_empty_regex_is_none() -> None:
    with pytest.raises(BadArgument):
        check_value(argtype("natural", ""), "x")


def test_broken_regex_is_the_admins_to_mend() -> None:
    with pytest.raises(BadArgument, match="quality has a regex that does not work"):
        check_value(argtype("natural", "("), "1")


def test_unknown_type_is_the_admins_to_mend() -> None:
    with pytest.raises(BadArgument, match=r"unknown type 'colour'.*natural"):
        check_value(argtype("colour"), "1")


def test_value_has_a_limit_and_is_not_repeated_whole() -> None:
    check_value(argtype("natural"), "1" * MAX_VALUE_CHARS)
    with pytest.raises(BadArgument) as refusal:
        check_value(argtype("natural"), "1" * (MAX_VALUE_CHARS + 1))
    assert len(str(refusal.value)) < 200
    with pytest.raises(BadArgument) as refusal:
        check_value(argtype("natural"), "x" * MAX_VALUE_CHARS)
    assert len(str(refusal.value)) < 300
