"""What a value in a configuration file may be: one parser for each kind.

A parser takes the JSON value and its place, and returns the typed value or raises ValueError saying
what the key takes. `config` says which key takes which.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renderonline import pinning


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: what relative paths start from, and who hears of oddities there."""

    base: Path
    warn: Callable[[str], None]


Parser = Callable[[Any, Place], Any]


def port(value: Any, _place: Place) -> int:
    text = str(value)
    is_number = not isinstance(value, bool) and text.isascii() and text.isdigit()
    if not is_number or len(text) > 5 or int(text) > 65535:
        raise ValueError('takes a port number from 0 to 65535, such as "5000" (0: any free port)')
    return int(text)


def text(value: Any, _place: Place) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("takes a text that is not empty")
    return value


def optional_text(value: Any, place: Place) -> str | None:
    return None if value is None or value == "" else text(value, place)


def path(value: Any, place: Place) -> Path:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("takes a path")
    return (place.base / Path(value).expanduser()).absolute()


def optional_path(value: Any, place: Place) -> Path | None:
    return None if value is None or value == "" else path(value, place)


def seconds(value: Any, _place: Place) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.05 <= value <= 3600:
        raise ValueError("takes a number of seconds from 0.05 to 3600")
    return float(value)


def byte_count(value: Any, _place: Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise ValueError("takes a whole number from 0 to 255")
    return value


def size(value: Any, _place: Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("takes a whole number of bytes, 1 or more")
    return value


def size_or_none(value: Any, _place: Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("takes a whole number of bytes, 0 or more")
    return value


def web_address(value: Any, _place: Place) -> str | None:
    if value is None or value == "":
        return None
    takes = 'takes an address such as "http://192.168.1.10:5000"'
    if not isinstance(value, str):
        raise ValueError(takes)
    try:
        parts = urllib.parse.urlsplit(value.strip())
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a broken IPv6 address, a port that is no number
        is_address = False
    if not is_address:
        raise ValueError(takes)
    return value.strip().rstrip("/")


def words(value: Any, _place: Place) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError('takes a list of words, such as ["gpu", "floor-2"]')
    for word in words:
        if not word or len(word.split()) != 1:
            raise ValueError(f"holds {word!r}; a word has no blanks in it")
    return tuple(dict.fromkeys(word.lower() for word in words))


def optional_size(value: Any, place: Place) -> int | None:
    return None if value is None else size(value, place)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files of the api's own certificate, as in the original."""

    fullchain_pem_path: Path
    priv_pem_path: Path


OWN, PLAIN = "auto", "none"
"""What `Certificate` says besides files: one that the api makes itself, or no TLS."""


def certificate(value: Any, place: Place) -> CertificateFiles | str:
    if value is None:
        return PLAIN
    if isinstance(value, str) and value.strip().lower() == OWN:
        return OWN
    takes = (
        'takes "auto", null or {"FullchainPemPath": …, "PrivPemPath": …}, both paths of PEM files'
    )
    if not isinstance(value, dict):
        raise ValueError(takes)
    names = ("FullchainPemPath", "PrivPemPath")
    keys = by_name(value, names, "Certificate: ", place.warn)
    if set(keys) != set(names):
        raise ValueError(takes)
    files = CertificateFiles(*(path(keys[name], place) for name in names))
    for file in (files.fullchain_pem_path, files.priv_pem_path):
        if not file.is_file():
            raise ValueError(f"{takes}; there is no file {file}")
    return files


def fingerprint(value: Any, _place: Place) -> str | None:
    if value is None:
        return None
    try:
        return pinning.parse(str(value))
    except ValueError:
        raise ValueError("takes a certificate's SHA-256, 64 hexadecimal digits") from None


STORAGE = ("transfer", "shared")
NODE_STORAGE = ("auto", "transfer")


def storage(value: Any, _place: Place) -> str:
    return _one_of(value, STORAGE)


def node_storage(value: Any, _place: Place) -> str:
    return _one_of(value, NODE_STORAGE)


def _one_of(value: Any, words: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value.lower() not in words:
        raise ValueError(f"takes one of {', '.join(words)}")
    return value.lower()


ADAPTERS = ("blender", "bpy", "generic")


@dataclass(frozen=True, slots=True)
class EngineSetting:
    """One renderer of a node. `executable_path` None: the adapter looks for it."""

    engine_id: str
    executable_path: str | None
    adapter: str | None = None  # None: told from the executable's name
    environment: tuple[tuple[str, str], ...] = ()
    warm: bool = True  # it may stay open between the chunks of a task


def engines(value: Any, place: Place) -> tuple[EngineSetting, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError('takes a list of {"EngineId": …, "ExecutablePath": …}')
    engines = tuple(engine(item, place) for item in value)
    names = [engine.engine_id.lower() for engine in engines]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"names the EngineId {name!r} twice; each takes one entry")
    return engines


def engine(item: Any, place: Place) -> EngineSetting:
    if not isinstance(item, dict):
        raise ValueError('takes a list of {"EngineId": …, "ExecutablePath": …}')
    names = ("EngineId", "ExecutablePath", "Adapter", "Environment", "Warm")
    keys = by_name(item, names, "RenderingEngines: ", place.warn)
    engine_id = keys.get("EngineId")
    if not isinstance(engine_id, str) or not engine_id.strip():
        raise ValueError(
            'has an entry without an EngineId, the engine\'s name in the api ("blender")'
        )
    adapter = keys.get("Adapter")
    if adapter is not None and (not isinstance(adapter, str) or adapter.lower() not in ADAPTERS):
        raise ValueError(f"has an entry whose Adapter is not one of {', '.join(ADAPTERS)}")
    environment = keys.get("Environment") or {}
    if not isinstance(environment, dict) or not all(
        isinstance(v, str) for v in environment.values()
    ):
        raise ValueError('has an entry whose Environment is not {"NAME": "value"}')
    warm = keys.get("Warm")
    if warm is not None and not isinstance(warm, bool):
        raise ValueError("has an entry whose Warm is neither true nor false")
    return EngineSetting(
        engine_id=engine_id.strip(),
        executable_path=executable(keys.get("ExecutablePath"), place),
        adapter=adapter.lower() if adapter else None,
        environment=tuple(environment.items()),
        warm=warm is not False,
    )


def executable(value: Any, place: Place) -> str | None:
    """A bare name is looked up on PATH later; anything with a separator is a path."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("has an entry whose ExecutablePath is not a path")
    if "/" in value or "\\" in value:
        return str(path(value, place))
    return value


def by_name(
    raw: dict[str, Any], known: Iterable[str], prefix: str, warn: Callable[[str], None]
) -> dict[str, Any]:
    """The values in `raw` by the `known` names, which match in any case.

    Warns of a key that is unknown, and of one that is there twice in different case: the last
    counts. `prefix` begins each warning.
    """
    names = {name.lower(): name for name in known}
    written: dict[str, str] = {}
    for key in raw:
        name = names.get(key.lower())
        if name is None:
            takes = ", ".join(names.values())
            warn(f"{prefix}unknown key {key!r} is ignored. Known: {takes}.")
            continue
        if name in written:
            warn(f"{prefix}{written[name]!r} is ignored, because {key!r} follows. Keep one.")
        written[name] = key
    return {name: raw[key] for name, key in written.items()}
