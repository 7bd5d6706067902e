"""What holds between the rows that an admin writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from renderonline.api.app import open_database
from renderonline.api.db.connection import Database
from renderonline.api.services import admin
from renderonline.config import ApiSettings


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(replace(ApiSettings(), data_path=tmp_path))
    yield opened
    opened.close()


@pytest.mark.parametrize("value", ["abc", "$RENDERONLINE:@task_dir", "1\n"])
def test_default_must_fit_its_own_type(database: Database, value: str) -> None:
    row = {"argtype_id": "samples", "type": "natural"}
    with pytest.raises(admin.AdminError, match="default"):
        admin.add(database, "argtype", {**row, "default_value": value})
    assert "samples" not in [row["argtype_id"] for row in admin.rows(database, "argtype")]
    admin.add(database, "argtype", {**row, "default_value": "64"})
    with pytest.raises(admin.AdminError, match="default"):
        admin.change(database, "argtype", "samples", {"regex": "[a-z]+"})


def test_one_node_is_one_machine(database: Database) -> None:
    first = admin.add(database, "machine", {"ip_address": "Node1", "port": 5001})
    other = admin.add(database, "machine", {"ip_address": "node1", "port": 5002})
    with pytest.raises(admin.AdminError, match=f"Machine {first['machine_id']} is at"):
        admin.add(database, "machine", {"ip_address": "node1", "port": 5001})
    with pytest.raises(admin.AdminError, match="already"):
        admin.change(database, "machine", other["machine_id"], {"port": 5001})
    assert len(admin.rows(database, "machine")) == 2


def test_argument_type_that_a_template_needs_stays(database: Database) -> None:
    with pytest.raises(admin.AdminError, match="blender"):
        admin.remove(database, "argtype", "Start_Frame")
    admin.add(database, "argtype", {"argtype_id": "unused"})
    assert admin.remove(database, "argtype", "unused")["argtype_id"] == "unused"


def test_database_is_its_owners_alone(database: Database, tmp_path: Path) -> None:
    """Also in a folder that others may enter: it holds addresses and digests of tokens."""
    admin.add(database, "machine", {"ip_address": "node1"})
    files = sorted(tmp_path.glob("renderonline.sqlite3*"))
    assert len(files) == 3
    assert [file.stat().st_mode & 0o077 for file in files] == [0, 0, 0]
