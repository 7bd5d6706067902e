"""Shared storage with a real Blender: the node has the farm's folder under another path."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from support.farm import Farm


def test_blender_renders_under_a_machines_own_path(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path
) -> None:
    farm = start_farm(nodes=0, api_settings={"Storage": "shared"})
    data = farm.folder / "api" / "data"
    mount = tmp_path / "Farm Share"
    mount.symlink_to(data, target_is_directory=True)
    node = farm.add_node()
    made = farm.admin("machine", "set", "1", "--map", f"{data}={mount}")
    assert made["PathMap"] == [f"{data}={mount}"]
    task_id = farm.enqueue(cube, {"start_frame": "1", "end_frame": "3"})
    assert farm.wait_for_state(task_id)["Task"]["State"] == "succeeded"
    files = farm.get(f"tasks/{task_id}/files")["Files"]
    assert len(files) == 3
    for file in files:
        answer = farm.request("GET", f"tasks/{task_id}/files/{file['Path']}")
        target = tmp_path / Path(file["Path"]).name
        target.write_bytes(answer.content)
        with Image.open(target) as image:
            image.load()
    logs = (node.config.parent / "data" / "logs").iterdir()
    commands = [log.read_text(encoding="utf-8").splitlines()[0] for log in logs]
    assert commands and all(str(mount) in command for command in commands)
    assert not any(f"{data}{os.sep}" in command for command in commands)
