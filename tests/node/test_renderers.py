"""Which renderers a node offers, and the real ones rendering under it."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from PIL import Image
from support.waiting import wait_until

from renderonline import engines
from renderonline.config import ConfigError, EngineSetting
from renderonline.engines.blender import BlenderAdapter
from renderonline.engines.bpy import BpyAdapter
from renderonline.node import renderers
from renderonline.node.app import NodeApp
from renderonline.wire import HpcStart, encode

from .fake_api import ListeningApi


def test_the_settings_name_them(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    found = renderers.resolve(
        (
            EngineSetting("a", str(tool)),
            EngineSetting("b", str(tool), "bpy", (("X", "y"),)),
            EngineSetting("c", "sh"),
        )
    )
    assert [(r.engine_id, r.adapter.name, r.executable, r.environment) for r in found] == [
        ("a", "generic", str(tool), ()),
        ("b", "bpy", str(tool), (("X", "y"),)),
        ("c", "generic", shutil.which("sh"), ()),
    ]


def test_blender_is_found_where_the_settings_do_not_say() -> None:
    by_itself = renderers.resolve(None)
    by_name = renderers.resolve((EngineSetting("blender", None),))
    for (blender,) in (by_itself, by_name):
        assert (blender.engine_id, blender.adapter.name) == ("blender", "blender")
        assert os.access(blender.executable, os.X_OK)


def test_bpy_is_what_a_machine_without_blender_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlenderAdapter, "find", lambda _self: [])
    monkeypatch.setattr(BpyAdapter, "find", lambda _self: [Path(sys.executable)])
    (bpy,) = renderers.resolve(None)
    assert (bpy.engine_id, bpy.adapter.name, bpy.executable) == ("blender", "bpy", sys.executable)


def test_a_machine_with_nothing_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for adapter in (BlenderAdapter, BpyAdapter):
        monkeypatch.setattr(adapter, "find", lambda _self: [])
    with caplog.at_level(logging.WARNING):
        assert renderers.resolve(None) == ()
    assert "This node has no renderer" in caplog.text
    with pytest.raises(ConfigError, match="ExecutablePath of 'blender' is not set"):
        renderers.resolve((EngineSetting("blender", None),))


@pytest.mark.parametrize("kind", ["no file", "a folder", "not executable"])
def test_what_is_no_executable_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "renderer"
    if kind == "a folder":
        path.mkdir()
    elif kind == "not executable":
        path.write_text("")
    with pytest.raises(ConfigError, match="ExecutablePath of 'x'"):
        renderers.resolve((EngineSetting("x", str(path)),))


REAL = {
    "blender": EngineSetting("blender", None, "blender"),
    "bpy": EngineSetting("blender", sys.executable, "bpy"),
}


@pytest.mark.parametrize("adapter", REAL)
def test_a_real_renderer(
    adapter: str,
    start_node: Callable[..., NodeApp],
    cube: Path,
    api: ListeningApi,
    tmp_path: Path,
) -> None:
    node = start_node(engines=(REAL[adapter],))
    output = tmp_path / "project" / "output"
    output.parent.mkdir()
    shutil.copy(cube, output.parent / "cube.blend")
    argv = engines.by_name(adapter).complete(
        ["blender", "-b", "cube.blend", "-s", "2", "-e", "4", "-F", ".png", "-a"], str(output)
    )
    start = HpcStart(
        engine_id="blender",
        task_id=7,
        attempt_id=1,
        argv=argv,
        task_dir=str(output.parent),
        output_dir=str(output),
        owes=engines.by_name(adapter).owes(argv, None),
        api_url=api.url,
        report_key="k",
    )
    answer = requests.post(f"{node.url}/hpc/start", data=encode(start), timeout=120)
    assert answer.json()["IsSuccess"], answer.text
    wait_until(lambda: "ended" in api.types, "the render has ended")
    ended = api.events[-1]
    log = next((tmp_path / "node" / "logs").iterdir()).read_text()
    assert (ended.is_success, ended.exit_code, ended.frames_done) == (True, 0, 3), log
    frames = sorted(output.iterdir())
    assert len(frames) == 3
    pixels = set()
    for frame in frames:
        with Image.open(frame) as image:
            image.load()
            pixels.add(image.tobytes())
    assert len(pixels) == 3
    fractions = [event.progress for event in api.events if event.progress is not None]
    assert fractions == sorted(fractions)
