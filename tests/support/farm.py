"""A whole farm for a test: a real api, real nodes, a user who is signed in.

Owns how these are wired, always as an administrator would: configuration files and the `admin`
command line, never a look into the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from . import multipart
from .processes import DEADLINE_S, Service, end_all, run_json, write_config
from .scenes import blender
from .waiting import wait_until

TIMEOUT_S = 60.0
"""Of one HTTP request."""

OVER = ("succeeded", "failed", "cancelled")
"""The states a task does not leave by itself."""


@dataclass(frozen=True)
class Person:
    """A user of the farm with the token that was shown once."""

    user_id: int
    email: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"email": self.email, "token": self.token}


@dataclass
class Farm:
    """A running farm. Requests go out as `user` unless told otherwise."""

    folder: Path
    api_config: Path
    node_settings: Mapping[str, Any]
    services: list[Service] = field(default_factory=list)  # in the order they were started
    user: Person = field(init=False)  # whom requests go out as; may be changed

    # ------------------------------------------------------------------ its parts

    @property
    def api(self) -> Service:
        return next(s for s in self.services if s.mode == "api")

    @property
    def nodes(self) -> list[Service]:
        return [s for s in self.services if s.mode == "node"]

    def admin(self, *arguments: str | Path) -> Any:
        """`renderonline admin … --config … --json`; what it prints."""
        return run_json("admin", *arguments, "--config", self.api_config, home=self.folder / "home")

    def add_user(self, email: str, *options: str) -> Person:
        """Another user; `options` go to `admin user add`."""
        made = self.admin("user", "add", "--email", email, *options)
        return Person(made["UserId"], made["Email"], made["Token"])

    def add_node(self, **settings: Any) -> Service:
        """Start another node and make it known to the api. `settings` as in HPCServer.json."""
        folder = self.folder / f"node{len(self.nodes) + 1}"
        defaults = {"Port": "0", "Host": "127.0.0.1", "DataPath": str(folder / "data")}
        config = write_config(
            folder / "HPCServer.json", {**defaults, **self.node_settings, **settings}
        )
        node = Service("node", config)
        self.services.append(node)
        self.add_machine(node.port)
        return node

    def add_machine(self, port: int) -> int:
        """Make a machine on loopback known to the api; its MachineId."""
        made = self.admin("machine", "add", "--host", "127.0.0.1", "--port", str(port))
        return int(made["MachineId"])

    def start_api(self) -> Service:
        """Start the (or, over a database that several can use, another) api."""
        api = Service("api", self.api_config)
        self.services.append(api)
        return api

    # ------------------------------------------------------------------ its REST interface

    def request(
        self, method: str, route: str, user: Person | None = None, **options: Any
    ) -> requests.Response:
        """A request to /renderapi/v1/`route` as `user`; `options` as `requests.request` takes."""
        headers = {**(user or self.user).headers, **options.pop("headers", {})}
        return requests.request(
            method,
            f"{self.api.url}/renderapi/v1/{route}",
            headers=headers,
            **{"timeout": TIMEOUT_S, **options},
        )

    def get(self, route: str, user: Person | None = None) -> Any:
        """The JSON of a GET that must answer 200."""
        answer = self.request("GET", route, user)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def enqueue(
        self,
        file: Path,
        arguments: Mapping[str, str],
        user: Person | None = None,
        engine_id: str = "0",
        **fields: Any,
    ) -> int:
        """Enqueue as the original's client does; the TaskId."""
        sent = multipart.enqueue_body(file.name, file.read_bytes(), arguments, engine_id, **fields)
        url = f"{self.api.url}/renderapi/v1/enqueue"
        answer = multipart.post(url, sent, (user or self.user).headers)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["TaskId"])

    def task(self, task_id: int, user: Person | None = None) -> Any:
        """The detail of a task, as GET tasks/<id> has it."""
        return self.get(f"tasks/{task_id}", user)

    def wait_for_state(self, task_id: int, *states: str, deadline_s: float = DEADLINE_S * 2) -> Any:
        """Wait until the task is in one of `states` (by default: over); its detail."""
        wanted = states or OVER

        def reached() -> Any:
            detail = self.task(task_id)
            state = detail["Task"]["State"]
            if state in wanted:
                return detail
            assert state not in OVER, f"the task ended as {state}: {detail}"
            return None

        return wait_until(reached, f"task {task_id} is {' or '.join(wanted)}", deadline_s)

    def download(self, task_id: int, target: Path) -> Path:
        """The results' ZIP, saved as `target`."""
        answer = self.request("POST", "download", json={"taskId": task_id})
        assert answer.status_code == 200, answer.text
        target.write_bytes(answer.content)
        return target


@contextmanager
def running_farm(
    folder: Path,
    nodes: int = 1,
    connection_string: str | None = None,
    engines: Sequence[Mapping[str, Any]] | None = None,
    api_settings: Mapping[str, Any] | None = None,
    node_settings: Mapping[str, Any] | None = None,
) -> Iterator[Farm]:
    """A farm over the embedded database, or the one of `connection_string`, ended with the block.

    `engines` are the nodes' RenderingEngines (by default the real Blender).
    """
    config = write_config(
        folder / "api" / "RenderAPI.json",
        {
            "Port": "0",
            "DataPath": str(folder / "api" / "data"),
            "PollSeconds": 0.5,  # the safety net quickly; what events do needs no poll at all
            **({"ConnectionString": connection_string} if connection_string else {}),
            **(api_settings or {}),
        },
    )
    offered = engines or [{"EngineId": "blender", "ExecutablePath": blender()}]
    farm = Farm(folder, config, {"RenderingEngines": list(offered), **(node_settings or {})})
    try:
        farm.user = farm.add_user("artist@example.com")
        farm.start_api()
        for _ in range(nodes):
            farm.add_node()
        yield farm
    finally:
        end_all(list(reversed(farm.services)))
