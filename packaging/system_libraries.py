"""System libraries for Blender as a Python package, on a Debian without a desktop and without root.

The wheel expects X11 and OpenGL libraries that a bare Debian or Ubuntu lacks. Their packages are
downloaded by apt into a folder of ours and unpacked there; nothing of the system is changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

PACKAGES = (
    "libegl1",
    "libgl1",
    "libsm6",
    "libxfixes3",
    "libxi6",
    "libxkbcommon0",
    "libxrender1",
    "libxxf86vm1",
)
"""What `import bpy` needs of the system, found by importing it on a Debian 12 with nothing else."""

TIMEOUT_S = 600.0


class LibrariesFailed(Exception):
    """They could not be fetched. Its text says what to install instead."""


def can_fetch() -> bool:
    """Whether this is a system on which `fetch` may work: apt and dpkg are here."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg") is not None


def search_path(folder: Path) -> str | None:
    """The LD_LIBRARY_PATH of what `fetch` has put into `folder`; None if it has not."""
    if not (folder / "complete").is_file():
        return None
    found = sorted({file.parent for file in (folder / "root").rglob("lib*.so*")})
    return os.pathsep.join(map(str, found)) or None


def fetch(folder: Path) -> None:
    """Download and unpack PACKAGES, with what they need and the system lacks, below `folder`.

    Takes a minute and about 150 MB. Raises LibrariesFailed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("state/lists/partial", "cache/archives/partial", "root"):
        (folder / part).mkdir(parents=True)
    apt = [
        "apt-get",
        "-qq",
        "-o", f"Dir::State={folder / 'state'}",
        "-o", "Dir::State::status=/var/lib/dpkg/status",
        "-o", f"Dir::Cache={folder / 'cache'}",
        "-o", "Debug::NoLocking=1",
        "-o", "APT::Sandbox::User=",
    ]  # fmt: skip
    _run([*apt, "update"])
    _run([*apt, "-y", "--no-install-recommends", "--download-only", "install", *PACKAGES])
    for archive in sorted((folder / "cache" / "archives").glob("*.deb")):
        _run(["dpkg", "--extract", str(archive), str(folder / "root")])
    for part in ("state", "cache"):
        shutil.rmtree(folder / part, ignore_errors=True)
    (folder / "complete").touch()


def _run(argv: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(str(error)) from None
    if done.returncode != 0:
        raise _failed((done.stderr.strip().splitlines() or ["no reason given"])[-1])


def _failed(why: str) -> LibrariesFailed:
    return LibrariesFailed(
        f"The libraries that Blender as a Python package needs could not be fetched: {why}\n"
        f"An administrator can install them: apt-get install {' '.join(PACKAGES)}"
    )
