"""What a command says: its result on stdout, everything else on stderr.

Names and messages come from other people's machines. They are shown without their control
characters, which could move the cursor of a terminal or change what it says.
"""

from __future__ import annotations

import json
import sys

import msgspec


def plain(text: object) -> str:
    """`text` on one line, fit for a terminal."""
    return "".join(c if c.isprintable() else "�" for c in str(text).replace("\n", " "))


def say(text: str) -> None:
    """Tell the person in front of the terminal something."""
    print(plain(text), file=sys.stderr, flush=True)


def result(text: str) -> None:
    """One line of the command's result."""
    print(plain(text))


def emit(value: object) -> None:
    """The result as the one JSON value on stdout: a message of `wire`, or lists and dicts.

    In ASCII, which is the same in every encoding that a pipe on Windows may have.
    """
    print(json.dumps(msgspec.to_builtins(value)))
