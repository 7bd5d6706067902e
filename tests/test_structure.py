"""The structure of the program, read from its syntax trees: who may import whom, and house rules.

`MAY_IMPORT` is docs/architecture's arrows as a table. A module's own package is always allowed; the
longest name that fits decides. Imports inside functions count like those at the top.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "renderonline"
LONGEST_MODULE_LINES = 450

GROUND = (
    "amounts",
    "wire",
    "names",
    "sizes",
    "manifests",
    "paths",
    "logs",
    "lifecycle",
    "locks",
    "security",
    "config",
    "pinning",
    "pinned_session",
)
"""What every part stands on. None of it knows any part."""

API_INSIDE = ("api.domain", "api.db", "api.storage", "api.services", "api.hpc_client")

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "": (),  # renderonline/__init__.py: the version
    "__main__": ("cli",),
    "cli": (*GROUND, "commands"),
    "commands": (*GROUND, "client", "frames", "api.app", "node.app"),
    "commands.serve": (*GROUND, "commands", "api.app", "node", "thumbnailer"),
    # The administrator's commands work on the database, with the api running or not.
    "commands.admin": (*GROUND, "commands", "api.app", "api.services", "api.db", "api.domain"),
    "commands.storage": (*GROUND, "commands", "api.services"),
    "wire": (),
    "paths": (),
    "logs": (),
    "lifecycle": (),
    "locks": (),
    "pinning": (),
    "pinned_session": (),
    "security": (),
    "config": ("paths", "config_values"),
    "config_values": ("pinning",),
    "serving": ("wire", "config"),
    "frames": (),
    "names": (),
    "amounts": (),
    "sizes": (),
    "manifests": ("wire", "names"),
    "blendfile": (),
    "thumbnailer": (),
    "engines": ("wire", "frames", "paths"),
    "client": (*GROUND, "frames", "blendfile"),
    "node": (*GROUND, "serving", "engines", "client", "frames"),
    "tray": (*GROUND, "client", "frames"),
    "api.domain": ("wire", "frames", "names"),
    "api.db": ("api.domain", "wire", "config", "paths", "frames"),
    "api.storage": ("api.domain", "wire", "paths", "locks", "names", "manifests"),
    "api.hpc_client": ("api.domain", "wire", "security"),
    "api.services": (*GROUND, *API_INSIDE, "engines", "frames", "blendfile"),
    "api.http": (*GROUND, "serving", "api.services", "api.domain", "api.storage", "frames"),
    "api.certificates": (*GROUND,),
    "api.loops": ("api.services", "lifecycle"),
    "api.app": (*GROUND, "api", "serving", "engines"),
    "api": (),
}

ONLY_IN = {
    "peewee": ("api.db",),
    "playhouse": ("api.db",),
    "pymysql": ("api.db",),
    "bottle": ("serving", "api.http", "node.http"),
    "waitress": ("serving",),
    "cheroot": ("serving",),
    "rich": ("commands",),
    "bpy": ("engines",),
    "OpenEXR": ("thumbnailer",),
    "cryptography": ("api.certificates",),
    "zstandard": ("blendfile", "client.blend"),
    "blender_asset_tracer": ("client.blend",),
}
"""Libraries that one place of ours hides from the rest."""

NOT_IN_DOMAIN = (
    "time",
    "threading",
    "subprocess",
    "socket",
    "requests",
    "urllib.request",
    "http",
    "os",
)
"""Decisions are pure: they neither wait nor look at the world."""

MAY_PRINT = ("cli", "commands", "api.app", "node.app", "engines.bpy_runner")
"""What talks to a terminal; bpy_runner stands in for a program whose stdout is read."""


def module_name(file: Path) -> str:
    """`api.db.tables`, without the leading `renderonline`."""
    parts = list(file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def imports(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported, relative imports resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ["renderonline", *module.split(".")][: -node.level]
                base = ".".join([*package, *filter(None, [base])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def own_target(name: str) -> str | None:
    """The module of ours that an imported name is or lies in; None for other libraries."""
    if not is_within(name, "renderonline"):
        return None
    inside = name.partition(".")[2]
    while inside and inside not in FILES:
        inside = inside.rpartition(".")[0]
    return inside


def layer_of(module: str) -> str:
    """The longest key of MAY_IMPORT that `module` lies in."""
    fitting = [layer for layer in MAY_IMPORT if layer == "" or is_within(module, layer)]
    layer = max(fitting, key=len)
    return layer if layer or not module else f"(no layer for {module})"


def forbidden_imports(module: str, source: str) -> list[str]:
    """Each import that breaks an arrow or reaches for a library that another place hides."""
    layer = layer_of(module)
    found = []
    for line, name in imports(ast.parse(source), module):
        target = own_target(name)
        if target is not None:
            allowed = (layer, *MAY_IMPORT[layer])
            if target and not any(is_within(target, other) for other in allowed if other):
                found.append(f"line {line}: {layer} may not import {target}")
            continue
        library = name.split(".")[0]
        places = ONLY_IN.get(library)
        if places and not any(is_within(module, place) for place in places):
            found.append(f"line {line}: only {' and '.join(places)} may import {library}")
        if layer == "api.domain" and any(is_within(name, impure) for impure in NOT_IN_DOMAIN):
            found.append(f"line {line}: the domain is pure and may not import {name}")
    return found


def clock_readings(source: str) -> list[str]:
    """Calls that ask what time it is."""
    return [
        f"line {node.lineno}: {ast.unparse(node.func)}()"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("now", "utcnow", "today", "monotonic", "time")
    ]


def prints(source: str) -> list[int]:
    """Lines that call print()."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]


every_module = pytest.mark.parametrize("module", FILES)


@every_module
def test_imports_follow_the_arrows(module: str) -> None:
    assert layer_of(module) in MAY_IMPORT, "give it a place in MAY_IMPORT and in the design"
    assert forbidden_imports(module, FILES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("module", [m for m in FILES if is_within(m, "api.domain")])
def test_domain_does_not_read_the_clock(module: str) -> None:
    assert clock_readings(FILES[module].read_text(encoding="utf-8")) == []


@every_module
def test_module_says_what_it_owns(module: str) -> None:
    source = FILES[module].read_text(encoding="utf-8")
    if source.strip():
        assert ast.get_docstring(ast.parse(source)), "a module opens by saying what it owns"


@every_module
def test_module_is_not_two_modules(module: str) -> None:
    lines = FILES[module].read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST_MODULE_LINES


@pytest.mark.parametrize(
    "module", [m for m in FILES if not any(is_within(m, place) for place in MAY_PRINT)]
)
def test_only_commands_print(module: str) -> None:
    assert prints(FILES[module].read_text(encoding="utf-8")) == []


def test_every_layer_is_one_that_exists_or_is_planned() -> None:
    planned = {"tray", "commands.admin", "api.app", "api.loops", "node.http"}
    named = {name for row in MAY_IMPORT.values() for name in row} | set(MAY_IMPORT)
    unknown = {
        name
        for name in named - planned
        if name and not any(is_within(module, name) for module in FILES)
    }
    assert unknown == set()


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("wire", "from renderonline import paths"),
        ("node.slot", "from renderonline.api.db import tables"),
        ("node.slot", "import renderonline.api.app"),
        ("api.services.enqueue", "from renderonline.node import slot"),
        ("api.domain.planner", "from renderonline.api.db import tables"),
        ("api.domain.planner", "import time"),
        ("api.domain.planner", "from ..db import tables"),
        ("api.http.original", "from renderonline.api.db import tables"),
        ("api.services.enqueue", "import peewee"),
        ("node.slot", "from bottle import request"),
        ("commands.submit", "from renderonline.api.db import tables"),
    ],
)
def test_a_forbidden_import_is_found(module: str, line: str) -> None:
    assert forbidden_imports(module, f"def late() -> None:\n    {line}\n") != []


def test_clock_and_print_are_found() -> None:
    assert clock_readings("from datetime import datetime\nx = datetime.now()") != []
    assert prints("def f():\n    print('x')") == [2]
