"""Which adapter belongs to which renderer, and what the engines may import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from renderonline import engines


def test_by_name() -> None:
    assert [engines.by_name(name).name for name in ("Blender", "bpy", "generic")] == [
        "blender",
        "bpy",
        "generic",
    ]
    with pytest.raises(ValueError, match="no adapter 'maya'"):
        engines.by_name("maya")


@pytest.mark.parametrize(
    ("executable", "engine_id", "name"),
    [
        ("/usr/bin/blender", "x", "blender"),
        (r"C:\Program Files\Blender Foundation\Blender 4.2\blender.exe", "x", "blender"),
        ("/Applications/Blender.app/Contents/MacOS/Blender", "x", "blender"),
        ("/var/lib/flatpak/exports/bin/org.blender.Blender", "x", "blender"),
        ("/opt/blender-4.2", "x", "blender"),
        ("/usr/bin/povray", "blender", "generic"),
        ("/usr/bin/python3", "bpy", "generic"),
        ("/blender/bin/povray", "x", "generic"),
        (None, "blender", "blender"),
        (None, "povray", "generic"),
    ],
)
def test_for_executable(executable: str | None, engine_id: str, name: str) -> None:
    assert engines.for_executable(executable, engine_id).name == name


@pytest.mark.parametrize(
    ("engine", "template", "name"),
    [
        ("blender", "-b x -a", "blender"),
        ("Blender 4.2", "-b x -a", "blender"),
        ("cycles", "blender -b x -a", "blender"),
        ("cycles", r'"C:\Blender 4\blender.exe" -b x', "blender"),
        ("povray", "povray +Ix", "generic"),
        ("povray", "", "generic"),
    ],
)
def test_for_engine(engine: str, template: str, name: str) -> None:
    assert engines.for_engine(engine, template).name == name


def test_engines_import_nothing_else_of_ours() -> None:
    allowed = {"engines", "wire", "frames", "paths"}
    for file in Path(engines.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "renderonline":
                assert {alias.name for alias in node.names} <= allowed, file.name
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "renderonline."
            ):
                assert (node.module or "").split(".")[1] in allowed, file.name


def test_the_runner_stands_alone() -> None:
    source = Path(engines.__file__).with_name("bpy_runner.py").read_text(encoding="utf-8")
    assert "renderonline" not in source
