"""docs/cli.md against the command line: no command and no option without a word about it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from renderonline import cli
from renderonline.commands.edge import Exit

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
EVERYWHERE = {"--help", "--version", "--verbose", "--yes", "--state", "--limit", "--label"}
"""Options that say all there is to say in `--help`."""


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield name, sub
                yield from commands(sub)


def test_every_command_and_option_is_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name, parser in commands(cli.parser()):
        assert f"`{name}" in text or f" {name}" in text, name
        for action in parser._actions:
            for flag in action.option_strings:
                if flag.startswith("--") and flag not in EVERYWHERE:
                    assert flag in text, f"{name} {flag}"


def test_every_exit_code_is_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    table = text.split("| exit code |")[1].split("\n\n")[0]
    told = {int(word) for line in table.splitlines() for word in re.findall(r"\d+", line[:12])}
    assert told == {code.value for code in Exit}
