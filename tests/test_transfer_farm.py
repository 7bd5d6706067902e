"""No shared folder: nodes that see nothing of the api's disk fetch projects and send frames back."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from support.farm import Farm


def pictures(archive: Path) -> dict[str, bytes]:
    """The decoded pixels of each PNG in a task's ZIP, by name."""
    with zipfile.ZipFile(archive) as packed:
        found = {}
        for name in packed.namelist():
            if name.endswith(".png"):
                with Image.open(io.BytesIO(packed.read(name))) as image:
                    found[name] = image.convert("RGB").tobytes()
    return found


def test_frames_come_back_from_machines_that_share_no_disk(
    start_farm: Callable[..., Farm], connection_string: str, cube: Path, tmp_path: Path
) -> None:
    options = {"connection_string": connection_string}
    far = start_farm(nodes=2, node_settings={"Storage": "transfer"}, **options)
    values = {"start_frame": "1", "end_frame": "8", "output_format": "PNG"}
    task_id = far.enqueue(cube, values, ChunkFrames=2)
    detail = far.wait_for_state(task_id, "succeeded")
    assert detail["Task"]["FramesDone"] == 8
    frames = pictures(far.download(task_id, tmp_path / "far.zip"))
    assert sorted(frames) == [f"output/frame_000{number}.png" for number in range(1, 9)]
    folders = [node.config.parent / "data" for node in far.nodes]
    assert any(list((data / "work").rglob("*.blend")) for data in folders), "in their own folders"
    for data in folders:
        assert not list((data / "returns").glob("*.file")), "nothing is left to be sent"
