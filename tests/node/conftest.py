"""Fixtures of the node's tests: a real guard with a spawner, nodes, an api that listens."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from renderonline.config import EngineSetting, NodeSettings
from renderonline.lifecycle import Clock, SystemClock
from renderonline.node.app import NodeApp, build
from renderonline.node.process import Spawner, system_spawner

from .fake_api import ListeningApi
from .remote import Remote

PYTHON = EngineSetting("python", sys.executable, "generic")


@pytest.fixture
def spawner() -> Iterator[Spawner]:
    """This platform's real spawner; what it started ends with the test."""
    spawner = system_spawner()
    yield spawner
    spawner.close()


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[..., NodeApp]]:
    """Starts nodes in this process, on free ports, with Python as their renderer."""
    with ExitStack() as running:

        def start(clock: Clock | None = None, **settings: Any) -> NodeApp:
            values = {"port": 0, "engines": (PYTHON,), "data_path": tmp_path / "node", **settings}
            node = build(NodeSettings(**values), clock or SystemClock())
            running.callback(node.close)
            node.start()
            return node

        yield start


@pytest.fixture
def node(start_node: Callable[..., NodeApp]) -> NodeApp:
    """A running node."""
    return start_node()


@pytest.fixture
def api() -> Iterator[ListeningApi]:
    """A real server in the api's place, which keeps the reports that it gets."""
    api = ListeningApi()
    yield api
    api.close()


@pytest.fixture
def remote(node: NodeApp) -> Remote:
    """The same, seen over HTTP."""
    return Remote(node.url)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder for a task's project, with a blank in its name."""
    folder = tmp_path / "project 7"
    folder.mkdir()
    return folder
