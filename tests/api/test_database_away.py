"""While the database is away every endpoint says so in its own shape, and is back by itself."""

from __future__ import annotations

from pathlib import Path

import requests
from support.mariadb import mariadb_server
from support.processes import DEADLINE_S

from .house import House, running_house

SHAPES = {
    "enqueue": "IsAdded",
    "dequeue": "IsRemoved",
    "download": "DownloadProvided",
    "delete": "IsDeleted",
}


def probe(house: House, name: str) -> int:
    return requests.get(f"{house.service.url}/{name}", timeout=DEADLINE_S).status_code


def test_database_that_is_away(tmp_path: Path) -> None:
    with mariadb_server(tmp_path / "server") as server:
        farm = server.create_database()
        with running_house(tmp_path, ConnectionString=farm.connection_string) as house:
            assert (probe(house, "health"), probe(house, "ready")) == (200, 200)
            server.stop()
            for route, field in SHAPES.items():
                answer = house.request("POST", route, json={"TaskId": 1})
                assert answer.status_code == 503, route
                assert answer.json()[field] is False
                assert "database" in answer.json()["ErrorMessage"]
            assert house.request("GET", "info").json()["Error"] == "database"
            assert (probe(house, "health"), probe(house, "ready")) == (200, 503)
            server.start()
            assert probe(house, "ready") == 200
