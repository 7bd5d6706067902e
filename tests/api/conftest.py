"""Fixtures of the api's tests: an open database, and a running api that several tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from renderonline.api.app import open_database
from renderonline.api.db.connection import Database
from renderonline.config import ApiSettings

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
