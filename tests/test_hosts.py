"""Several machines, each with an address of its own and no disk in common."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from PIL import Image
from support.hosts import Host, hosts
from support.processes import Service, command, private_environment, run_json, write_config
from support.scenes import blender


@contextmanager
def service_on(host: Host, mode: str, config: Path) -> Iterator[Service]:
    running = Service(mode, config, through=host.command)
    try:
        yield running
    finally:
        print(running.show())
        if running.exit_code is None:
            running.terminate()


@pytest.mark.slow
def test_a_farm_of_three_machines_that_listens_everywhere(cube: Path, tmp_path: Path) -> None:
    """Nodes are told the address by which they can reach the api, though it listens on all."""
    with hosts(3) as (server, *machines), ExitStack() as running:
        api_config = write_config(
            tmp_path / "api" / "RenderAPI.json",
            {
                "Port": "5000",
                "Host": "0.0.0.0",
                "Certificate": None,
                "DataPath": "data",
                "PollSeconds": 600,
            },
        )
        home = tmp_path / "home"

        def admin(*words: str) -> dict[str, str]:
            made: dict[str, str] = run_json("admin", *words, "--config", api_config, home=home)
            return made

        user = admin("user", "add", "--email", "ada@example.com")
        for host in machines:
            admin("machine", "add", "--host", host.address, "--port", "5001")
        for number, host in enumerate(machines, 1):
            settings = {
                "Port": "5001",
                "Host": host.address,
                "DataPath": "data",
                "Storage": "transfer",
                "Api": f"http://{server.address}:5000",
                "RenderingEngines": [{"EngineId": "blender", "ExecutablePath": blender()}],
            }
            config = write_config(tmp_path / f"node{number}" / "HPCServer.json", settings)
            running.enter_context(service_on(host, "node", config))
        running.enter_context(service_on(server, "api", api_config))
        environment = {
            "RENDERONLINE_SERVER": f"http://{server.address}:5000",
            "RENDERONLINE_EMAIL": user["Email"],
            "RENDERONLINE_TOKEN": user["Token"],
        }
        # From one of the machines, as an artist's.
        submit = command("submit", cube, "--frames", "1-6", "--sync", tmp_path / "mine", "--json")
        done = subprocess.run(
            machines[0].command(submit),
            env=private_environment(home, environment),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.strip().splitlines()[-1])["State"] == "succeeded"
        frames = sorted((tmp_path / "mine").glob("*.png"))
        assert [frame.name for frame in frames] == [f"frame_000{n}.png" for n in range(1, 7)]
        for frame in frames:
            with Image.open(frame) as image:
                image.load()
