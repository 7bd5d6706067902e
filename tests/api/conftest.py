"""Fixtures of the api's tests: an open database, and a running api that several tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cli.certificates import make_certificate
from support.original_node import OriginalNode, original_node

from renderonline.api.app import open_database
from renderonline.api.db.connection import Database
from renderonline.config import ApiSettings

from .control import Control
from .house import House, running_house

OpenDatabase = Callable[[], Database]


@pytest.fixture
def settings(connection_string: str, tmp_path: Path) -> ApiSettings:
    """An api's settings over an empty database; a test that asks for it runs once on each kind."""
    return ApiSettings(
        connection_string=connection_string, data_path=tmp_path / "data", port=0, poll_seconds=1.0
    )


@pytest.fixture
def open_again(settings: ApiSettings) -> Iterator[OpenDatabase]:
    """Opens the database, brought up to this version, each time it is called."""
    with ExitStack() as opened:

        def open_it() -> Database:
            database = open_database(settings)
            opened.callback(database.close)
            return database

        yield open_it


@pytest.fixture
def database(open_again: OpenDatabase) -> Database:
    """The database, brought up from nothing."""
    return open_again()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A running api that the tests of one module share. None of them may end or upset it."""
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture(scope="module")
def secure_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The same over HTTPS, with a certificate of its own."""
    folder = tmp_path_factory.mktemp("secure_house")
    certificate = make_certificate(folder / "tls", "127.0.0.1")
    with running_house(folder, certificate) as running:
        yield running


@pytest.fixture
def control(settings: ApiSettings) -> Iterator[Control]:
    """A scheduler in the test's hand, over an empty farm; once on each kind of database."""
    running = Control(settings)
    yield running
    running.close()


@pytest.fixture
def machine() -> Iterator[OriginalNode]:
    """A machine of the original's that has the engine `any`."""
    with original_node(["any"]) as node:
        yield node


@pytest.fixture
def other() -> Iterator[OriginalNode]:
    """Another one."""
    with original_node(["any"]) as node:
        yield node
