"""Fixtures that all tests share. What they hand out is real and lives in `tests/support`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import scenes
from support.farm import Farm, running_farm
from support.mariadb import Database, MariaDb, mariadb_server
from support.original_node import OriginalNode, original_node


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder of this test run, the same one for all xdist workers."""
    base = tmp_path_factory.getbasetemp()
    is_worker = hasattr(request.config, "workerinput")
    return base.parent if is_worker else base


@pytest.fixture(scope="session")
def blend(run_folder: Path) -> Callable[[str], Path]:
    """Makes (once) and gives a scene of `support.scenes.KINDS`: `blend("cube")`."""
    return lambda kind: scenes.blend(run_folder / "scenes", kind)


@pytest.fixture(scope="session")
def cube(blend: Callable[[str], Path]) -> Path:
    """The usual scene: ten quick frames, each different."""
    return blend("cube")


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """This worker's MariaDB server. A test that stops or restarts it makes its own instead."""
    with mariadb_server(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture
def mariadb_database(mariadb: MariaDb) -> Iterator[Database]:
    """An empty database of its own for this test."""
    database = mariadb.create_database()
    yield database
    mariadb.drop_database(database)


@pytest.fixture(params=["sqlite", "mariadb"])
def connection_string(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind: a test that asks for this runs twice."""
    if request.param == "sqlite":
        return f"sqlite:///{(tmp_path / 'farm.sqlite3').as_posix()}"
    database: Database = request.getfixturevalue("mariadb_database")
    return database.connection_string


@pytest.fixture
def start_farm(tmp_path: Path) -> Iterator[Callable[..., Farm]]:
    """Starts farms (`support.farm.running_farm`'s arguments) that end with the test."""
    with ExitStack() as running:
        count = iter(range(1, 1000))

        def start(**options: Any) -> Farm:
            folder = tmp_path / f"farm{next(count)}"
            return running.enter_context(running_farm(folder, **options))

        yield start


@pytest.fixture
def other_machine() -> Iterator[OriginalNode]:
    """A machine that runs the original's HPCServer, up and idle, offering `blender`."""
    with original_node() as node:
        yield node
