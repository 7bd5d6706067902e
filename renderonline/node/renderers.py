"""The renderers of this node: which engine ids it serves, with which adapter and executable."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from renderonline import engines
from renderonline.config import ConfigError, EngineSetting
from renderonline.engines.base import Adapter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Renderer:
    """One engine of this node, ready to be started."""

    engine_id: str  # as the settings write it; compared without case
    adapter: Adapter
    executable: str  # a path
    environment: tuple[tuple[str, str], ...] = ()
    is_warm: bool = True  # may stay open between the chunks of a task, where the adapter can


def resolve(settings: tuple[EngineSetting, ...] | None) -> tuple[Renderer, ...]:
    """The renderers that the settings name; None: Blender, if this machine has one.

    May take seconds (looks for installed renderers). Raises ConfigError for one that is not there.
    """
    return _found_blender() if settings is None else tuple(map(_resolve_one, settings))


def by_engine_id(renderers: Iterable[Renderer], engine_id: str) -> Renderer | None:
    """The renderer for an engine id in any case; None if this node has none."""
    wanted = engine_id.strip().lower()
    return next((r for r in renderers if r.engine_id.lower() == wanted), None)


def _found_blender() -> tuple[Renderer, ...]:
    for name in ("blender", "bpy"):
        adapter = engines.by_name(name)
        executables = adapter.find()
        if executables:
            log.info("found %s", executables[0])
            return (Renderer("blender", adapter, str(executables[0])),)
    log.warning(
        "This node has no renderer: no Blender was found, and its configuration names none. "
        "Install Blender, or set `RenderingEngines`, and start the node again."
    )
    return ()


def _resolve_one(setting: EngineSetting) -> Renderer:
    adapter = (
        engines.by_name(setting.adapter)
        if setting.adapter
        else engines.for_executable(setting.executable_path, setting.engine_id)
    )
    executable = _executable(setting, adapter)
    return Renderer(setting.engine_id, adapter, executable, setting.environment, setting.warm)


def _executable(setting: EngineSetting, adapter: Adapter) -> str:
    where = f"RenderingEngines: ExecutablePath of {setting.engine_id!r}"
    if setting.executable_path is None:
        found = adapter.find()
        if not found:
            raise ConfigError(
                f"{where} is not set, and no renderer of the kind {adapter.name!r} was found on "
                "this machine. Set it to the path of the renderer's executable."
            )
        return str(found[0])
    path = Path(setting.executable_path)
    if not path.is_absolute():
        on_path = shutil.which(setting.executable_path)
        if on_path is None:
            raise ConfigError(f"{where}: there is no {setting.executable_path} on the PATH.")
        return on_path
    if not path.is_file() or not os.access(path, os.X_OK):
        raise ConfigError(f"{where}: {path} is not there, or is not an executable file.")
    return str(path)
