"""The engines: which adapter belongs to which renderer.

Imports wire, frames, paths and nothing else of ours; api and node both import it.
"""

from __future__ import annotations

from renderonline.engines.base import Adapter
from renderonline.engines.blender import BlenderAdapter
from renderonline.engines.bpy import BpyAdapter
from renderonline.engines.commandline import split
from renderonline.engines.generic import GenericAdapter

_ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter for adapter in (BlenderAdapter(), BpyAdapter(), GenericAdapter())
}


def by_name(name: str) -> Adapter:
    """The adapter that a setting or a database row names, in any case. Raises ValueError."""
    adapter = _ADAPTERS.get(name.strip().lower())
    if adapter is None:
        raise ValueError(f"There is no adapter {name!r}; there are {', '.join(_ADAPTERS)}.")
    return adapter


def for_executable(executable: str | None, engine_id: str) -> Adapter:
    """The adapter of a node's engine whose setting names none.

    Told from the executable's name, and without an executable from the engine's id. `bpy` runs
    under any Python, so it is never guessed.
    """
    name = (executable or engine_id).replace("\\", "/").rpartition("/")[2]
    return _ADAPTERS["blender" if _is_blender(name) else "generic"]


def for_engine(name: str, template: str) -> Adapter:
    """The adapter of an engine row whose `adapter` column is empty: from its name and template."""
    first_word = next(iter(split(template)), "")
    is_blender = _is_blender(name) or _is_blender(first_word.replace("\\", "/").rpartition("/")[2])
    return _ADAPTERS["blender" if is_blender else "generic"]


def _is_blender(name: str) -> bool:
    """Blender, blender.exe, blender-4.2, org.blender.Blender; not blenderkit."""
    words = name.lower().replace("-", " ").replace(".", " ").replace("_", " ").split()
    return "blender" in words
