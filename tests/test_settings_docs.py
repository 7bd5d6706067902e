"""The documentation says what the code takes: every setting, every dependency."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from renderonline.config import ApiSettings, NodeSettings

ROOT = Path(__file__).resolve().parents[1]
SETTINGS_DOC = ROOT / "docs" / "settings.md"
DEPENDENCIES_DOC = ROOT / "docs" / "dependencies.md"


def default_text(default: Any) -> str:
    """How a default is written in the table."""
    if default is None:
        return "absent"
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return f"`{default}`"


def table(settings: type[ApiSettings] | type[NodeSettings]) -> str:
    """The table of docs/settings.md for one file, from the code."""
    rows = [
        f"| `{f.metadata['name']}` | {default_text(f.default)} | {f.metadata['help'].replace('|', chr(92) + '|')} |"
        for f in fields(settings)
    ]
    return "\n".join(["| key | default | what it is for |", "|---|---|---|", *rows])


@pytest.mark.parametrize("settings", [ApiSettings, NodeSettings])
def test_settings_are_documented_as_they_are(
    settings: type[ApiSettings] | type[NodeSettings],
) -> None:
    document = SETTINGS_DOC.read_text(encoding="utf-8")
    section = document.partition(f"\n## {settings.FILE_NAME}\n")[2].partition("\n## ")[0]
    documented = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    assert documented == table(settings), "paste this table into docs/settings.md"


def requirement_lists(tree: ast.Module) -> Iterator[ast.AST]:
    """The parts of setup.py that hold requirements: lists in capitals, and extras_require."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper():
            yield node.value
        elif isinstance(node, ast.keyword) and node.arg == "extras_require":
            assert isinstance(node.value, ast.Dict)
            yield from node.value.values


def requirements() -> set[str]:
    """The names of all requirements in setup.py."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    texts = [
        item.value
        for found in requirement_lists(tree)
        if isinstance(found, ast.List)
        for item in found.elts
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    ]
    return {re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in texts}


def documented_dependencies() -> dict[str, str]:
    """Requirement → what it saves us, from the tables of docs/dependencies.md."""
    lines = DEPENDENCIES_DOC.read_text(encoding="utf-8").splitlines()
    rows = [re.fullmatch(r"\| ([\w.-]+) \| (.+) \|", line) for line in lines]
    found = {row.group(1): row.group(2) for row in rows if row}
    found.pop("requirement")
    return found


def test_every_dependency_has_its_line_and_no_other() -> None:
    named = requirements()
    assert {"bottle", "bpy", "pytest", "mypy"} <= named  # setup.py was read
    assert {name.lower() for name in named} == {name.lower() for name in documented_dependencies()}


def test_a_dependency_says_what_it_saves() -> None:
    assert [n for n, saves in documented_dependencies().items() if len(saves) < 20] == []
