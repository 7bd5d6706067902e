"""A node over HTTP whose Blender stays open: what its api is told, and what the settings change."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.scenes import blender
from support.waiting import wait_until

from renderonline import engines
from renderonline.config import EngineSetting
from renderonline.node import watch
from renderonline.node.app import NodeApp
from renderonline.wire import Cause, NodeEvent, Reason

from .fake_api import ListeningApi
from .remote import Json, Remote
from .renderers import wait_until_gone

EATEN_BYTES = 2**30

EXECUTABLES = {"blender": blender(), "bpy": sys.executable}


def chunk(
    adapter: str, scene: Path, frame: int, api: ListeningApi, after: int | None, *more: str
) -> Json:
    """A start of one frame; its number is also the attempt's. `more`: arguments."""
    output = scene.parent / "output"
    argv = ["-b", str(scene), "-t", "1", *more, "-s", str(frame), "-e", str(frame), "-a"]
    return {
        "EngineId": "blender",
        "TaskId": 7,
        "AttemptId": frame,
        "Argv": engines.by_name(adapter).complete(argv, str(output)),
        "TaskDir": str(scene.parent),
        "OutputDir": str(output),
        "Owes": {"Frames": str(frame)},
        "ApiUrl": api.url,
        "ReportKey": f"key-{frame}",
        "After": after,
    }


def renderers_here() -> set[int]:
    """The pids of this process's Blenders that are open."""
    return {p.pid for p in psutil.Process().children() if "-b" in p.cmdline()}


def end_of(api: ListeningApi, attempt_id: int) -> NodeEvent:
    end = wait_until(lambda: api.end_of(attempt_id), f"attempt {attempt_id} has ended")
    assert end is not None
    return end


def rendered(remote: Remote, api: ListeningApi, starts: list[Json]) -> list[NodeEvent]:
    """How each ended; the next is handed over while the one before is rendered."""
    Path(starts[0]["OutputDir"]).mkdir()
    for start in starts:
        remote.start(**start)
        if start["After"] is not None:
            end_of(api, start["After"])
    return [end_of(api, start["AttemptId"]) for start in starts]


@pytest.mark.parametrize("adapter", EXECUTABLES)
@pytest.mark.parametrize("is_warm", [True, False])
def test_the_api_is_told_whether_the_renderer_stays_open(
    start_node: Callable[..., NodeApp],
    api: ListeningApi,
    cube: Path,
    tmp_path: Path,
    adapter: str,
    is_warm: bool,
) -> None:
    scene = Path(shutil.copy(cube, tmp_path))
    setting = EngineSetting("blender", EXECUTABLES[adapter], adapter, warm=is_warm)
    node = start_node(engines=(setting,))
    starts = [chunk(adapter, scene, n, api, after=n - 1 if n > 1 else None) for n in (1, 2, 3)]
    ends = rendered(Remote(node.url), api, starts)
    assert [end.is_success for end in ends] == [True] * 3, ends
    assert [end.frames for end in ends] == ["1", "2", "3"]
    assert [end.warm for end in ends] == [is_warm] * 3
    open_ones = renderers_here()
    assert len(open_ones) == is_warm
    node.close()
    wait_until_gone(list(open_ones))
    log = next((tmp_path / "node" / "logs").glob("*-task-7-attempt-3.log")).read_text()
    assert ("Read blend" in log) is not is_warm, "the scene was loaded once"
    assert "renderonline: chunk" not in log


def test_memory_is_bounded_by_the_setting(
    start_node: Callable[..., NodeApp], api: ListeningApi, cube: Path, tmp_path: Path
) -> None:
    scene = Path(shutil.copy(cube, tmp_path))
    setting = EngineSetting("blender", blender(), "blender")
    node = start_node(engines=(setting,), warm_memory_bytes=2**20)
    (end,) = rendered(Remote(node.url), api, [chunk("blender", scene, 1, api, None)])
    assert (end.is_success, end.warm) == (True, False)
    assert renderers_here() == set()


EATS_AT_2 = f"""
import bpy, time
def eat(scene, *_):
    if scene.frame_current == 2:
        hog = bytearray({EATEN_BYTES})
        time.sleep(600)
bpy.app.handlers.render_pre.append(eat)
"""


@pytest.mark.parametrize("adapter", EXECUTABLES)
def test_a_renderer_that_eats_memory_in_a_later_chunk_is_ended(
    start_node: Callable[..., NodeApp],
    api: ListeningApi,
    cube: Path,
    tmp_path: Path,
    adapter: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the chunk runs, not behind it; with the renderer, so that the next one is a new one."""
    monkeypatch.setattr(watch, "LOOK_S", 0.1)
    scene = Path(shutil.copy(cube, tmp_path))
    setting = EngineSetting("blender", EXECUTABLES[adapter], adapter)
    node = start_node(engines=(setting,), render_memory_bytes=EATEN_BYTES)
    script = ("--python-expr", EATS_AT_2)
    starts = [chunk(adapter, scene, n, api, n - 1 if n > 1 else None, *script) for n in (1, 2, 3)]
    first, second, third = rendered(Remote(node.url), api, starts)
    assert (first.is_success, first.warm) == (True, True), first
    assert (second.is_success, second.cause, second.reason) == (
        False,
        Cause.MACHINE,
        Reason.OUT_OF_MEMORY,
    ), second
    assert "this machine allows 1.0 GiB" in (second.message or "")
    assert (second.memory_bytes or 0) > EATEN_BYTES
    assert (third.is_success, third.warm) == (True, True), third
    logs = tmp_path / "node" / "logs"
    loads = ["Read blend" in next(logs.glob(f"*-attempt-{n}.log")).read_text() for n in (1, 2, 3)]
    assert loads == [True, False, True]
    assert len(renderers_here()) == 1
