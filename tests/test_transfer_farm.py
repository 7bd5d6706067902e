"""No shared folder: nodes that see nothing of the api's disk fetch projects and send frames back."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

from cli.certificates import make_certificate
from PIL import Image
from support.farm import OVER, Farm
from support.pictures import pictures
from support.processes import DEADLINE_S
from support.scenes import blender
from support.waiting import wait_until

from renderonline.client import Client
from renderonline.frames import FrameSet


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


def rendered(scene: Path, target: Path, *words: str) -> dict[str, bytes]:
    """The pixels of its frames as the real Blender renders them here, named as the farm's results."""
    target.mkdir()
    command = [blender(), "-b", str(scene), "-o", str(target / "frame_####"), *words, "-a"]
    subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)
    return {
        f"output/{file.name}": Image.open(file).convert("RGB").tobytes()
        for file in target.iterdir()
    }


def test_a_blender_that_stays_open_renders_what_a_fresh_one_does(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path
) -> None:
    """Its chunks share a folder, so that it need not load the scene again."""
    far = start_farm(nodes=1, node_settings={"Storage": "transfer"})
    values = {"start_frame": "1", "end_frame": "8", "output_format": "PNG"}
    task_id = far.enqueue(cube, values, ChunkFrames=2)
    far.wait_for_state(task_id, "succeeded")
    frames = pictures(far.download(task_id, tmp_path / "far.zip"))
    assert frames == rendered(cube, tmp_path / "here", "-F", "PNG", "-s", "1", "-e", "8")
    (node,) = far.nodes
    starts = [line for line in node.stderr.splitlines() if "started as process" in line]
    pids = {line.split("started as process ")[1].split(",")[0] for line in starts}
    assert len(pids) == 1, starts


def test_a_movie_comes_back_as_one_file(
    start_farm: Callable[..., Farm], blend: Callable[[str], Path], tmp_path: Path
) -> None:
    far = start_farm(nodes=2, node_settings={"Storage": "transfer"})
    values = {"start_frame": "1", "end_frame": "6", "output_format": "AVIJPEG"}
    task_id = far.enqueue(blend("movie"), values)
    detail = far.wait_for_state(task_id, "succeeded")
    assert len(detail["Chunks"]) == 1
    with zipfile.ZipFile(far.download(task_id, tmp_path / "movie.zip")) as packed:
        (name,) = [name for name in packed.namelist() if name.startswith("output/")]
        assert packed.read(name)[:4] == b"RIFF"


def test_nodes_know_an_api_by_its_certificate_alone(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path
) -> None:
    """It has signed that itself; nobody has told the nodes but the start."""
    files = make_certificate(tmp_path / "tls", "127.0.0.1")
    paths = {
        "FullchainPemPath": str(files.fullchain_pem_path),
        "PrivPemPath": str(files.priv_pem_path),
    }
    far = start_farm(
        nodes=2,
        node_settings={"Storage": "transfer"},
        api_settings={"Certificate": paths, "Host": "127.0.0.1"},
    )
    with Client(far.api.url, far.user.email, far.user.token, files.fullchain_pem_path) as client:
        task_id = client.enqueue(cube, frames=FrameSet.parse("1-6"))
        wait_until(lambda: client.task(task_id).task.state in OVER, "the task has ended")
        assert client.task(task_id).task.state == "succeeded"
        found = {file.name for file in client.results(task_id, tmp_path / "frames")}
    assert found == {f"frame_000{number}.png" for number in range(1, 7)}
    for node in far.nodes:
        assert not list((node.config.parent / "data" / "returns").glob("*.file"))
        assert "cannot be" not in node.stderr, node.stderr
