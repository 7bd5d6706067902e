"""A farm whose api speaks TLS: its nodes cannot report yet, and a render's end is noticed all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cli.certificates import make_certificate
from support.farm import OVER, Farm
from support.waiting import wait_until

from renderonline import wire
from renderonline.client import Client
from renderonline.frames import FrameSet


def has_ended(client: Client, task_id: int) -> wire.Task | None:
    task = client.task(task_id).task
    return task if task.state in OVER else None


def test_end_of_a_render_is_noticed_without_reports(
    start_farm: Callable[..., Farm], cube: Path, tmp_path: Path
) -> None:
    """With an hour between two polls, only the closer look at working machines can notice it."""
    files = make_certificate(tmp_path / "tls", "127.0.0.1")
    paths = {
        "FullchainPemPath": str(files.fullchain_pem_path),
        "PrivPemPath": str(files.priv_pem_path),
    }
    settings = {"Certificate": paths, "Host": "127.0.0.1", "PollSeconds": 3600}
    farm = start_farm(api_settings=settings)
    assert farm.api.url.startswith("https://")
    with Client(farm.api.url, farm.user.email, farm.user.token, files.fullchain_pem_path) as client:
        task_id = client.enqueue(cube, frames=FrameSet.parse("2-3"))
        ended = wait_until(lambda: has_ended(client, task_id), "the task has ended")
        assert ended.state == "succeeded"
        names = [file.name for file in client.results(task_id, tmp_path / "frames")]
    assert names == ["frame_0002.png", "frame_0003.png"]
