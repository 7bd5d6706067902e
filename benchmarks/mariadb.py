"""A MariaDB server of its own for a benchmark: with the server's own defaults, so that a commit is
on the disk when it is answered. Needs the server's programs on this machine; touches no other server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEADLINE_S = 60.0


@contextmanager
def private_server(folder: Path) -> Iterator[str]:
    """A running server with its data in `folder`; the connection string of an empty database."""
    folder.mkdir(parents=True)
    port = _free_port()
    _run(_tool("mariadb-install-db"), f"--datadir={folder}", "--skip-test-db", *_as_root())
    with folder.with_suffix(".log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(_tool("mariadbd"), "--no-defaults", f"--datadir={folder}", "--socket=s"),
                *(f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"),
                *(f"--tmpdir={folder}", *_as_root()),
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(port)
        statements = (
            "CREATE DATABASE bench; CREATE USER 'bench'@'127.0.0.1' IDENTIFIED BY 'bench';"
            "GRANT ALL ON bench.* TO 'bench'@'127.0.0.1';"
        )
        _run(_tool("mariadb"), "--socket=s", "--user=root", "-e", statements, cwd=folder)
        yield f"Server=127.0.0.1;Port={port};Database=bench;User Id=bench;Password=bench;"
    finally:
        server.terminate()
        server.wait(DEADLINE_S)


def _run(tool: str, *arguments: str, cwd: Path | None = None) -> None:
    argv = [tool, "--no-defaults", *arguments]
    subprocess.run(argv, check=True, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _wait(port: int) -> None:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("MariaDB did not come up.")


def _tool(name: str) -> str:
    """Servers live in sbin, which is not on everybody's PATH."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise SystemExit(f"{name} is not installed; `--mysql` takes a server that runs already.")
    return found


def _as_root() -> list[str]:
    """The server refuses to run as root unless told to."""
    return ["--user=root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
