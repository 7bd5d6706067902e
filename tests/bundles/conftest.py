"""Fixtures of the bundles' tests: scenes that are made once, a cache of their own for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from renderonline.serving import Server

from . import film


@pytest.fixture(autouse=True)
def private_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees or fills the cache of whoever runs it."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By who made it: a folder with the film's scene."""
    made = {}
    for which in film.WHICH:
        made[which] = tmp_path_factory.mktemp(which)
        film.make(which, made[which])
    return made


@pytest.fixture(params=film.WHICH)
def which(request: pytest.FixtureRequest) -> str:
    """A test with this runs once for each Blender."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def scene(which: str, tmp_path: Path) -> Path:
    """The film's scene, for this test alone: nothing that it names is left when it is taken away."""
    return film.make(which, tmp_path / "work")


@pytest.fixture
def copied_scene(films: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of it; the one texture that it names by its whole path lies where it was made."""
    shutil.copytree(films["blender"], tmp_path / "work")
    return tmp_path / "work" / "Mein Film" / film.NAME


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Serves a WSGI app on a free port of loopback until the test ends; gives its address."""
    with ExitStack() as running:

        def start(app: Any) -> str:
            server = Server(app, "127.0.0.1", 0, None, max_body_bytes=lambda _: 1 << 30)
            running.callback(server.close)
            server.start()
            return server.url

        yield start
