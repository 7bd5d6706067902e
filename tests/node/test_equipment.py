"""What a node says that its machine has."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

from renderonline.config import ConfigError, EngineSetting, NodeSettings, parse
from renderonline.engines.generic import GenericAdapter
from renderonline.node.app import NodeApp
from renderonline.node.equipment import Equipment

from .fake_api import ListeningApi
from .hand_clock import HandClock
from .remote import Remote


def test_the_versions_come_when_they_are_known(
    start_node: Callable[..., NodeApp], api: ListeningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renderer on a cold network disk takes its time; the node answers meanwhile."""
    gate = threading.Event()

    def version(_adapter: GenericAdapter, _executable: str) -> str:
        gate.wait(120)
        return "1.2.3"

    monkeypatch.setattr(GenericAdapter, "version", version)
    remote = Remote(start_node(api=api.url).url)
    wait_until(lambda: len(api.hellos) == 1, "it says hello all the same")
    assert remote.status()["Engines"] == [
        {"EngineId": "python", "Adapter": "generic", "Version": None}
    ]
    gate.set()
    wait_until(lambda: len(api.hellos) == 2, "it says that there is news")
    assert remote.status()["Engines"][0]["Version"] == "1.2.3"


def test_blenders_version_is_told(start_node: Callable[..., NodeApp]) -> None:
    remote = Remote(start_node(engines=(EngineSetting("blender", None, "blender"),)).url)
    version = wait_until(lambda: remote.status()["Engines"][0]["Version"], "its version is known")
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_the_vitals_are_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    equipment = Equipment((), ("gpu",), tmp_path, clock)
    loads = iter((1.0, 2.0))
    monkeypatch.setattr("psutil.getloadavg", lambda: (next(loads) * equipment.cores, 0, 0))
    assert equipment.vitals().load == 1
    clock.seconds += 0.5
    assert equipment.vitals().load == 1
    clock.seconds += 0.6
    assert equipment.vitals().load == 2


def test_tags_are_told(start_node: Callable[..., NodeApp]) -> None:
    assert Remote(start_node(tags=("gpu", "floor-2")).url).status()["Tags"] == ["gpu", "floor-2"]


def settings(tmp_path: Path, **values: Any) -> NodeSettings:
    parsed, warnings = parse(NodeSettings, values, tmp_path)
    assert warnings == ()
    return parsed


@pytest.mark.parametrize(
    ("value", "tags"),
    [(["GPU", "gpu", "floor-2"], ("gpu", "floor-2")), ("gpu", ("gpu",)), ([], ())],
)
def test_tags_in_the_settings(tmp_path: Path, value: Any, tags: tuple[str, ...]) -> None:
    assert settings(tmp_path, Tags=value).tags == tags


@pytest.mark.parametrize(
    ("value", "api"),
    [
        ("http://farm:5000/", "http://farm:5000"),
        (" https://[::1]:5000", "https://[::1]:5000"),
        ("", None),
        (None, None),
    ],
)
def test_the_api_in_the_settings(tmp_path: Path, value: Any, api: str | None) -> None:
    assert settings(tmp_path, Api=value).api == api


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("Api", value) for value in ("farm", "ftp://farm", "http://", "http://x:y", "http://[", 3)),
        *(("Tags", value) for value in ([3], ["a b"], [""], 7, {"a": 1})),
    ],
)  # fmt: skip
def test_what_they_do_not_take(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        parse(NodeSettings, {name: value}, tmp_path)
