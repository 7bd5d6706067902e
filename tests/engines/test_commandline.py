"""Command lines: .NET's rules, and the way there and back."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderonline.engines.commandline import join, split

arguments = st.text(
    st.one_of(st.sampled_from(' \t"\\\n-a'), st.characters(exclude_characters="\0")), max_size=12
)
argvs = st.lists(arguments, max_size=6)


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("", []),
        ("  \t ", []),
        ("a b\tc", ["a", "b", "c"]),
        ('"a b" c', ["a b", "c"]),
        ('a"b c"d', ["ab cd"]),
        ('""', [""]),
        ('a "" b', ["a", "", "b"]),
        ('"a""b"', ['a"b']),
        (r"a\"b", ['a"b']),
        (r"a\\b", [r"a\\b"]),
        (r'"a\\" b', ["a\\", "b"]),
        (r"a\\\"b", ['a\\"b']),
        (r"C:\x\y.blend -a", [r"C:\x\y.blend", "-a"]),
        ('"not closed at all', ["not closed at all"]),
        ("line\nbreak", ["line\nbreak"]),
        ('"\\', ["\\"]),
    ],
)
def test_split_as_dotnet_does(text: str, argv: list[str]) -> None:
    assert split(text) == argv


@given(argvs)
def test_join_and_split_round_trip(argv: list[str]) -> None:
    assert split(join(argv)) == argv


@given(argvs)
def test_split_reads_what_python_writes_for_windows(argv: list[str]) -> None:
    assert split(subprocess.list2cmdline(argv)) == argv


@given(argvs)
def test_join_quotes_as_python_does_for_windows(argv: list[str]) -> None:
    spaced = [f" {argument}" for argument in argv]
    assert join(spaced) == subprocess.list2cmdline(spaced)


@pytest.mark.parametrize("argument", ['a\\"b', 'a\\\\"b c', '\\" \\', '"\\"\\\\'])
def test_backslashes_before_quotes_survive(argument: str) -> None:
    assert split(join([argument, "next"])) == [argument, "next"]


def test_join_leaves_plain_words_alone() -> None:
    assert join(["blender", "-b", r"C:\x", "ä"]) == r"blender -b C:\x ä"


def test_a_real_child_gets_what_was_split() -> None:
    argv = split(join(["a b", "", 'q"q', "\\", "tail\\ "]))
    code = "import sys; sys.stdout.write(repr(sys.argv[1:]))"
    printed = subprocess.check_output([sys.executable, "-c", code, *argv], text=True)
    assert printed == repr(["a b", "", 'q"q', "\\", "tail\\ "])
