"""Command lines as one string: how an argv is written into it and read back.

The rules are those of the Microsoft C runtime, which .NET follows on every platform when it takes
`ProcessStartInfo.Arguments` apart; the original's `Arguments` field is such a string.
"""

from __future__ import annotations

from collections.abc import Sequence

_BLANKS = " \t"


def split(text: str) -> list[str]:
    """The arguments in a command line.

    Blanks (space, tab) separate. Double quotes hold them together; inside, `""` is a quote.
    Backslashes are themselves, but before a quote two are one, and an odd one makes the quote a
    character. A quote that is not closed reaches to the end.
    """
    arguments: list[str] = []
    at = _skip_blanks(text, 0)
    while at < len(text):
        argument, at = _read_argument(text, at)
        arguments.append(argument)
        at = _skip_blanks(text, at)
    return arguments


def join(argv: Sequence[str]) -> str:
    """The command line that `split` reads back as `argv`, whatever the arguments hold."""
    return " ".join(_quote(argument) for argument in argv)


def without_name(argv: Sequence[str], executable: str, *names: str) -> list[str]:
    """`argv` without a first word that is the executable's name, or one of `names` (lower-case).

    The original's templates begin with it ("blender -b …"), and no renderer takes it as argument.
    With or without the executable's extension, in any case.
    """
    program = executable.replace("\\", "/").rpartition("/")[2].lower()
    known = {program, program.rpartition(".")[0] or program, *names}
    return list(argv[1:] if argv and argv[0].lower() in known else argv)


def _skip_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    return at


def _read_argument(text: str, at: int) -> tuple[str, int]:
    """One argument that begins at `at`, and where it ends."""
    parts: list[str] = []
    quoted = False
    while at < len(text) and (quoted or text[at] not in _BLANKS):
        if text[at] == "\\":
            part, at = _read_backslashes(text, at)
            parts.append(part)
        elif text[at] != '"':
            parts.append(text[at])
            at += 1
        elif quoted and text.startswith('""', at):
            parts.append('"')
            at += 2
        else:
            quoted = not quoted
            at += 1
    return "".join(parts), at


def _read_backslashes(text: str, at: int) -> tuple[str, int]:
    """A run of backslashes, with the quote after it if that is escaped."""
    end = at
    while end < len(text) and text[end] == "\\":
        end += 1
    count = end - at
    if not text.startswith('"', end):
        return "\\" * count, end
    if count % 2:
        return "\\" * (count // 2) + '"', end + 1
    return "\\" * (count // 2), end


def _quote(argument: str) -> str:
    if argument and not any(character in argument for character in ' \t\n\v"'):
        return argument
    quoted = []
    backslashes = 0
    for character in argument:
        if character == '"':
            # those before a quote count double, and one more escapes the quote itself
            quoted.append("\\" * (backslashes + 1))
        backslashes = backslashes + 1 if character == "\\" else 0
        quoted.append(character)
    return f'"{"".join(quoted)}{chr(92) * backslashes}"'
