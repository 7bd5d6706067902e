"""The settings: what each is called, what it takes, its default and what it is for.

Each class below is one file (RenderAPI.json, HPCServer.json, tray.json) and its table in
docs/settings.md, which a test holds to it. Values are checked here, once; everything behind gets
typed ones. Relative paths in a file are relative to that file's folder.
"""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from renderonline import paths


class ConfigError(Exception):
    """A configuration that cannot be used. Its text names the file, the key and what it takes."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Where settings came from (None: the defaults) and what its reader should be warned of."""

    source: Path | None
    warnings: tuple[str, ...]


# --------------------------------------------------------------------------- what a value may be
# A parser takes the JSON value and its place, and returns the typed value or raises ValueError
# saying what the key takes.


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: what relative paths start from, and who hears of oddities there."""

    base: Path
    warn: Callable[[str], None]


Parser = Callable[[Any, Place], Any]


def _port(value: Any, _place: Place) -> int:
    text = str(value)
    is_number = not isinstance(value, bool) and text.isascii() and text.isdigit()
    if not is_number or len(text) > 5 or int(text) > 65535:
        raise ValueError('takes a port number from 0 to 65535, such as "5000" (0: any free port)')
    return int(text)


def _text(value: Any, _place: Place) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("takes a text that is not empty")
    return value


def _optional_text(value: Any, place: Place) -> str | None:
    return None if value is None or value == "" else _text(value, place)


def _path(value: Any, place: Place) -> Path:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("takes a path")
    return (place.base / Path(value).expanduser()).absolute()


def _optional_path(value: Any, place: Place) -> Path | None:
    return None if value is None or value == "" else _path(value, place)


def _seconds(value: Any, _place: Place) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.05 <= value <= 3600:
        raise ValueError("takes a number of seconds from 0.05 to 3600")
    return float(value)


def _byte_count(value: Any, _place: Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise ValueError("takes a whole number from 0 to 255")
    return value


def _size(value: Any, _place: Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("takes a whole number of bytes, 1 or more")
    return value


def _size_or_none(value: Any, _place: Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("takes a whole number of bytes, 0 or more")
    return value


def _web_address(value: Any, _place: Place) -> str | None:
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


def _words(value: Any, _place: Place) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError('takes a list of words, such as ["gpu", "floor-2"]')
    for word in words:
        if not word or len(word.split()) != 1:
            raise ValueError(f"holds {word!r}; a word has no blanks in it")
    return tuple(dict.fromkeys(word.lower() for word in words))


def _optional_size(value: Any, place: Place) -> int | None:
    return None if value is None else _size(value, place)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files of the api's own certificate, as in the original."""

    fullchain_pem_path: Path
    priv_pem_path: Path


def _certificate(value: Any, place: Place) -> CertificateFiles | None:
    if value is None:
        return None
    takes = 'takes null or {"FullchainPemPath": …, "PrivPemPath": …}, both paths of PEM files'
    if not isinstance(value, dict):
        raise ValueError(takes)
    names = ("FullchainPemPath", "PrivPemPath")
    keys = _by_name(value, names, "Certificate: ", place.warn)
    if set(keys) != set(names):
        raise ValueError(takes)
    files = CertificateFiles(*(_path(keys[name], place) for name in names))
    for file in (files.fullchain_pem_path, files.priv_pem_path):
        if not file.is_file():
            raise ValueError(f"{takes}; there is no file {file}")
    return files


STORAGE = ("transfer", "shared")


def _storage(value: Any, _place: Place) -> str:
    if not isinstance(value, str) or value.lower() not in STORAGE:
        raise ValueError(f"takes one of {', '.join(STORAGE)}")
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


def _engines(value: Any, place: Place) -> tuple[EngineSetting, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError('takes a list of {"EngineId": …, "ExecutablePath": …}')
    engines = tuple(_engine(item, place) for item in value)
    names = [engine.engine_id.lower() for engine in engines]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"names the EngineId {name!r} twice; each takes one entry")
    return engines


def _engine(item: Any, place: Place) -> EngineSetting:
    if not isinstance(item, dict):
        raise ValueError('takes a list of {"EngineId": …, "ExecutablePath": …}')
    names = ("EngineId", "ExecutablePath", "Adapter", "Environment", "Warm")
    keys = _by_name(item, names, "RenderingEngines: ", place.warn)
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
        executable_path=_executable(keys.get("ExecutablePath"), place),
        adapter=adapter.lower() if adapter else None,
        environment=tuple(environment.items()),
        warm=warm is not False,
    )


def _executable(value: Any, place: Place) -> str | None:
    """A bare name is looked up on PATH later; anything with a separator is a path."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("has an entry whose ExecutablePath is not a path")
    if "/" in value or "\\" in value:
        return str(_path(value, place))
    return value


# --------------------------------------------------------------------------- the tables


def _setting(name: str, parse: Parser, default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"name": name, "parse": parse, "help": help_text})


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """RenderAPI.json"""

    FILE_NAME: ClassVar[str] = "RenderAPI.json"

    connection_string: str | None = _setting(
        "ConnectionString",
        _optional_text,
        None,
        "The database. Absent: an SQLite file in DataPath. `sqlite:///file.sqlite3` names the "
        "file; `Server=…;Database=…;User Id=…;Password=…;` is MySQL or MariaDB, as in the original.",
    )
    port: int = _setting("Port", _port, 5000, "The port to listen on.")
    certificate: CertificateFiles | None = _setting(
        "Certificate",
        _certificate,
        None,
        '`{"FullchainPemPath": …, "PrivPemPath": …}` serves HTTPS with these PEM files; null serves HTTP.',
    )
    host: str | None = _setting(
        "Host",
        _optional_text,
        None,
        "The address to listen on. Absent: 127.0.0.1 without a certificate, 0.0.0.0 with one.",
    )
    data_path: Path = _setting(
        "DataPath",
        _path,
        None,
        "Folder of the database and the projects. Absent: the user's data folder.",
    )
    storage: str = _setting(
        "Storage",
        _storage,
        "transfer",
        "How projects reach nodes: `transfer` sends them what they lack, and takes results back; "
        "`shared`: all machines see the folders of DataPath and of engines, perhaps under other paths.",
    )
    poll_seconds: float = _setting(
        "PollSeconds", _seconds, 15.0, "How often every machine is asked what it does."
    )
    queue_limit_default: int = _setting(
        "QueueLimitDefault",
        _byte_count,
        100,
        "The queue limit of the subscription that an empty database gets.",
    )
    upload_limit_bytes: int = _setting(
        "UploadLimitBytes", _size, 64 * 2**30, "The largest project file that is accepted."
    )
    disk_floor_bytes: int = _setting(
        "DiskFloorBytes",
        _size_or_none,
        2 * 2**30,
        "What has to stay free on the disk of DataPath: what would need more is refused before it is "
        "sent. 0: the disk may be filled.",
    )
    retries: int = _setting(
        "Retries",
        _byte_count,
        3,
        "How often a frame is tried again that a machine has failed, before it is given up.",
    )
    public_url: str | None = _setting(
        "PublicUrl",
        _optional_text,
        None,
        "The address under which nodes reach this api, if it is not the one it listens on.",
    )

    @property
    def listen_host(self) -> str:
        """Where the api listens: plain HTTP stays on this machine unless it is told otherwise."""
        return self.host or ("0.0.0.0" if self.certificate else "127.0.0.1")


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """HPCServer.json"""

    FILE_NAME: ClassVar[str] = "HPCServer.json"

    port: int = _setting("Port", _port, 5001, "The port to listen on.")
    engines: tuple[EngineSetting, ...] | None = _setting(
        "RenderingEngines",
        _engines,
        None,
        'The renderers: `[{"EngineId", "ExecutablePath", "Adapter"?, "Environment"?, "Warm"?}]`. '
        "EngineId is the engine's name in the api. Without ExecutablePath it is looked for. Absent: "
        "Blender, if one is found.",
    )
    host: str = _setting(
        "Host",
        _text,
        "127.0.0.1",
        "The address to listen on. A node has no way yet to tell its api from a stranger: open it only on a network you trust.",
    )
    data_path: Path = _setting(
        "DataPath",
        _path,
        None,
        "Folder of the logs and the journal. Absent: the user's data folder.",
    )
    warm_memory_bytes: int | None = _setting(
        "WarmMemoryBytes",
        _optional_size,
        None,
        "A renderer that holds more memory is not kept open between chunks. Absent: 80 % of the "
        "machine's.",
    )
    api: str | None = _setting(
        "Api",
        _web_address,
        None,
        "The farm's address, such as http://192.168.1.10:5000. The node says there that it is up, "
        "and gets work at once. Absent: the farm finds out by asking.",
    )
    tags: tuple[str, ...] = _setting(
        "Tags",
        _words,
        (),
        'Words that tasks may ask for, such as `["gpu"]`.',
    )


Settings = TypeVar("Settings", ApiSettings, NodeSettings)


# --------------------------------------------------------------------------- reading


def find(file_name: str) -> Path | None:
    """The configuration file: beside the executable, in the working folder, in the user's folder."""
    for folder in (paths.executable_dir(), Path.cwd(), paths.config_dir()):
        candidate = folder / file_name
        if candidate.is_file():
            return candidate
    return None


def load(shape: type[Settings], file: Path | None) -> tuple[Settings, Loaded]:
    """Read `file`, or the one that `find` finds, or nothing but defaults. Raises ConfigError."""
    if file is not None and not file.is_file():
        raise ConfigError(f"There is no configuration file {file}.")
    source = file or find(shape.FILE_NAME)
    raw = _read_json(source) if source else {}
    base = source.resolve().parent if source else Path.cwd()
    settings, warnings = parse(shape, raw, base, source)
    return settings, Loaded(source, warnings)


def parse(
    shape: type[Settings], raw: dict[str, Any], base: Path, source: Path | None = None
) -> tuple[Settings, tuple[str, ...]]:
    """Typed settings and warnings from a parsed JSON object. Raises ConfigError."""
    where = str(source or shape.FILE_NAME)
    known = {f.metadata["name"]: f for f in fields(shape)}
    values: dict[str, Any] = {}
    warnings: list[str] = []
    place = Place(base, lambda text: warnings.append(f"{where}: {text}"))
    for name, value in _by_name(raw, known, "", place.warn).items():
        setting = known[name]
        if value is None and setting.default is not MISSING and setting.default is not None:
            continue  # null says "the default", except where null is a value of its own
        try:
            values[setting.name] = setting.metadata["parse"](value, place)
        except ValueError as error:
            raise ConfigError(f"{where}: {name} {error}.") from None
        except OSError as error:
            raise ConfigError(f"{where}: {name}: {error}.") from None
    if values.get("data_path") is None:
        values["data_path"] = paths.data_dir()
    return shape(**values), tuple(warnings)


def _by_name(
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


def _read_json(file: Path) -> dict[str, Any]:
    try:
        # utf-8-sig: Windows' Notepad puts a byte order mark in front.
        raw = json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{file}: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}."
        ) from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: should hold one JSON object, in braces.")
    return raw


def environment(name: str) -> str | None:
    """RENDERONLINE_<NAME> from the environment; None where it is absent or empty."""
    return os.environ.get(f"RENDERONLINE_{name}") or None
