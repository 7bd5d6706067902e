"""The settings: what each is called, what it takes, its default and what it is for.

Each class below is one file (RenderAPI.json, HPCServer.json, tray.json) and its table in
docs/settings.md, which a test holds to it. Values are checked here, once; everything behind gets
typed ones. Relative paths in a file are relative to that file's folder.
"""

from __future__ import annotations

import json
import os
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from renderonline import config_values as kinds
from renderonline import paths
from renderonline.config_values import (
    ADAPTERS,
    OWN,
    PLAIN,
    CertificateFiles,
    EngineSetting,
    Parser,
    Place,
)

__all__ = [
    "ADAPTERS",
    "LOOPBACK",
    "OWN",
    "ApiSettings",
    "CertificateFiles",
    "ConfigError",
    "EngineSetting",
    "Loaded",
    "NodeSettings",
    "environment",
    "find",
    "load",
    "parse",
]


class ConfigError(Exception):
    """A configuration that cannot be used. Its text names the file, the key and what it takes."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Where settings came from (None: the defaults) and what its reader should be warned of."""

    source: Path | None
    warnings: tuple[str, ...]


LOOPBACK = ("127.0.0.1", "localhost", "::1")

# --------------------------------------------------------------------------- the tables


def _setting(name: str, parse: Parser, default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"name": name, "parse": parse, "help": help_text})


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """RenderAPI.json"""

    FILE_NAME: ClassVar[str] = "RenderAPI.json"

    connection_string: str | None = _setting(
        "ConnectionString",
        kinds.optional_text,
        None,
        "The database. Absent: an SQLite file in DataPath. `sqlite:///file.sqlite3` names the "
        "file; `Server=…;Database=…;User Id=…;Password=…;` is MySQL or MariaDB, as in the original.",
    )
    port: int = _setting("Port", kinds.port, 5000, "The port to listen on.")
    certificate: CertificateFiles | str | None = _setting(
        "Certificate",
        kinds.certificate,
        None,
        '`{"FullchainPemPath": …, "PrivPemPath": …}` serves HTTPS with these PEM files; `"auto"` with a '
        "certificate that the api makes itself, whose fingerprint it prints and clients hold it to; null "
        "serves HTTP. Absent: HTTP on this machine, `auto` where `Host` opens it to the network.",
    )
    host: str | None = _setting(
        "Host",
        kinds.optional_text,
        None,
        "The address to listen on. Absent: 127.0.0.1 without a certificate, 0.0.0.0 with one.",
    )
    data_path: Path = _setting(
        "DataPath",
        kinds.path,
        None,
        "Folder of the database and the projects. Absent: the user's data folder.",
    )
    storage: str = _setting(
        "Storage",
        kinds.storage,
        "transfer",
        "How projects reach nodes: `transfer` sends them what they lack, and takes results back; "
        "`shared`: all machines see the folders of DataPath and of engines, perhaps under other paths.",
    )
    poll_seconds: float = _setting(
        "PollSeconds", kinds.seconds, 15.0, "How often every machine is asked what it does."
    )
    queue_limit_default: int = _setting(
        "QueueLimitDefault",
        kinds.byte_count,
        100,
        "The queue limit of the subscription that an empty database gets.",
    )
    upload_limit_bytes: int = _setting(
        "UploadLimitBytes",
        kinds.size,
        64 * 2**30,
        "The largest file of a project that is accepted. Results may always have 64 GiB.",
    )
    disk_floor_bytes: int = _setting(
        "DiskFloorBytes",
        kinds.size_or_none,
        2 * 2**30,
        "What has to stay free on the disk of DataPath: what would need more is refused before it is "
        "sent; results come in, and tasks begin, until half of it is left. 0: the disk may be filled.",
    )
    retries: int = _setting(
        "Retries",
        kinds.byte_count,
        3,
        "How often a frame is tried again that a machine has failed, before it is given up.",
    )
    public_url: str | None = _setting(
        "PublicUrl",
        kinds.optional_text,
        None,
        "The address under which nodes reach this api, if it is not the one it listens on.",
    )

    @property
    def listen_host(self) -> str:
        """Where the api listens: on this machine alone unless it is told otherwise."""
        has_one = self.certificate not in (None, PLAIN)
        return self.host or ("0.0.0.0" if has_one else LOOPBACK[0])

    @property
    def tls(self) -> CertificateFiles | str | None:
        """What it shows over TLS: files, or OWN; None: it speaks plain HTTP."""
        if self.certificate is None:
            return None if self.listen_host in LOOPBACK else OWN
        return None if self.certificate == PLAIN else self.certificate


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """HPCServer.json"""

    FILE_NAME: ClassVar[str] = "HPCServer.json"

    port: int = _setting("Port", kinds.port, 5001, "The port to listen on.")
    engines: tuple[EngineSetting, ...] | None = _setting(
        "RenderingEngines",
        kinds.engines,
        None,
        'The renderers: `[{"EngineId", "ExecutablePath", "Adapter"?, "Environment"?, "Warm"?}]`. '
        "EngineId is the engine's name in the api. Without ExecutablePath it is looked for. Absent: "
        "Blender, if one is found.",
    )
    host: str = _setting(
        "Host",
        kinds.text,
        "127.0.0.1",
        "The address to listen on. A node has no way yet to tell its api from a stranger: open it only on a network you trust.",
    )
    data_path: Path = _setting(
        "DataPath",
        kinds.path,
        None,
        "Folder of the logs, the journal, the cache and what is not sent back yet. Absent: the user's data folder.",
    )
    render_memory_bytes: int | None = _setting(
        "RenderMemoryBytes",
        kinds.optional_size,
        None,
        "A render that holds more memory is ended, and tried on a larger machine first. Absent: 90 % of "
        "the machine's, where less than the rest is left.",
    )
    warm_memory_bytes: int | None = _setting(
        "WarmMemoryBytes",
        kinds.optional_size,
        None,
        "A renderer that holds more memory is not kept open between chunks. Absent: 80 % of the "
        "machine's.",
    )
    cache_bytes: int | None = _setting(
        "CacheBytes",
        kinds.optional_size,
        None,
        "How large the cache of projects' files may become; the least recently used go. Absent: a "
        "quarter of the disk.",
    )
    storage: str = _setting(
        "Storage",
        kinds.node_storage,
        "auto",
        '"auto": where the farm\'s folders are on a disk of this machine, tasks are rendered in them. '
        '"transfer": never; projects are always copied, and results sent back.',
    )
    api: str | None = _setting(
        "Api",
        kinds.web_address,
        None,
        "The farm's address, such as http://192.168.1.10:5000. The node says there that it is up, "
        "and gets work at once. Absent: the farm finds out by asking.",
    )
    api_fingerprint: str | None = _setting(
        "ApiFingerprint",
        kinds.fingerprint,
        None,
        "The fingerprint that the farm says when it starts, where `Api` is an https address with a "
        "certificate of its own making. Absent: what this machine trusts.",
    )
    tags: tuple[str, ...] = _setting(
        "Tags",
        kinds.words,
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
    for name, value in kinds.by_name(raw, known, "", place.warn).items():
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
