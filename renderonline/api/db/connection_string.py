"""Reads `ConnectionString`: the original's MySQL form, or `sqlite:///file`.

Pure. The names are those that .NET's MySQL drivers accept, in any case and with or without spaces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from renderonline.config import ConfigError


@dataclass(frozen=True, slots=True)
class SqliteTarget:
    """The embedded database: one file."""

    file: Path


@dataclass(frozen=True, slots=True)
class MySqlTarget:
    """A MySQL or MariaDB server. `password` is never part of a message or a repr."""

    host: str
    port: int
    database: str
    user: str
    password: str
    ssl_mode: str  # disabled | preferred | required | verifyca | verifyfull
    ssl_ca: str | None

    def __repr__(self) -> str:
        return f"MySqlTarget({self.user}@{self.host}:{self.port}/{self.database})"


Target = SqliteTarget | MySqlTarget

_KEYS = {
    "server": "host",
    "host": "host",
    "datasource": "host",
    "address": "host",
    "addr": "host",
    "networkaddress": "host",
    "port": "port",
    "database": "database",
    "initialcatalog": "database",
    "userid": "user",
    "uid": "user",
    "username": "user",
    "user": "user",
    "password": "password",
    "pwd": "password",
    "sslmode": "ssl_mode",
    "sslca": "ssl_ca",
    "cacertificatefile": "ssl_ca",
    "certificateauthorityfile": "ssl_ca",
}
_SSL_MODES = {"none": "disabled", **{m: m for m in ("disabled", "preferred", "required")}}
_SSL_MODES |= {"verifyca": "verifyca", "verifyfull": "verifyfull"}

# key=value pairs; a value may stand in single or double quotes, which are doubled inside.
_PAIR = re.compile(r"""[\s;]*([^=;]+?)\s*=\s*("(?:[^"]|"")*"|'(?:[^']|'')*'|[^;]*?)\s*(?:;|$)""")


def parse(text: str | None, data_path: Path) -> Target:
    """The target that `text` names; None is the embedded database in `data_path`.

    A relative SQLite file is relative to `data_path`. Raises ConfigError, never with the password.
    """
    if text is None:
        return SqliteTarget(data_path / "renderonline.sqlite3")
    if text.lower().startswith("sqlite:"):
        return _sqlite(text, data_path)
    values = _values(text)
    missing = [name for name in ("host", "database", "user") if not values.get(name)]
    if missing:
        raise ConfigError(
            f"ConnectionString lacks {', '.join(missing)}. It takes sqlite:///file.sqlite3 or "
            "Server=…;Database=…;User Id=…;Password=…;"
        )
    port = values.get("port", "3306")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ConfigError("ConnectionString: Port takes a number from 1 to 65535.")
    mode = _SSL_MODES.get(values.get("ssl_mode", "preferred").lower().replace("_", ""))
    if mode is None:
        raise ConfigError(
            "ConnectionString: SslMode takes None, Preferred, Required, VerifyCA or VerifyFull."
        )
    return MySqlTarget(
        host=values["host"],
        port=int(port),
        database=values["database"],
        user=values["user"],
        password=values.get("password", ""),
        ssl_mode=mode,
        ssl_ca=values.get("ssl_ca"),
    )


def _sqlite(text: str, data_path: Path) -> SqliteTarget:
    if not text.lower().startswith("sqlite:///") or len(text) == len("sqlite:///"):
        raise ConfigError(
            "ConnectionString: SQLite is written sqlite:///name.sqlite3 (in DataPath) or "
            "sqlite:////absolute/path (three slashes and the path)."
        )
    return SqliteTarget(data_path / text[len("sqlite:///") :])


def _values(text: str) -> dict[str, str]:
    """The known pairs. What is unknown (pool sizes, time-outs of the .NET driver) is left alone."""
    values: dict[str, str] = {}
    position = 0
    while text[position:].strip(" ;\t\r\n"):
        pair = _PAIR.match(text, position)
        if pair is None:
            raise ConfigError(
                "ConnectionString is not a list of key=value pairs separated by semicolons, nor "
                "sqlite:///file."
            )
        name = _KEYS.get(re.sub(r"[\s_]", "", pair[1]).lower())
        if name:
            values[name] = _unquote(pair[2])
        position = pair.end()
    return values


def _unquote(value: str) -> str:
    for quote in ('"', "'"):
        if len(value) >= 2 and value[0] == value[-1] == quote:
            return value[1:-1].replace(quote * 2, quote)
    return value
