"""Debian's packages without root: downloaded by apt into a folder of ours and unpacked there.

Nothing of the system is changed; apt checks the signatures as it always does. Standard library only.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

TIMEOUT_S = 600.0


class PackagesFailed(Exception):
    """They could not be fetched. Its text says why, and what an administrator would install."""


def can_fetch() -> bool:
    """Whether this is a system on which `fetch` may work: apt and dpkg are here."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg") is not None


def fetch(packages: Sequence[str], folder: Path) -> Path:
    """Download and unpack `packages`, with what they need and the system lacks.

    The root of what was unpacked, inside `folder`, which is made anew; a second call with the same
    folder finds the first one's. Takes half a minute. Raises PackagesFailed.
    """
    root = folder / "root"
    if (folder / "complete").is_file():
        return root
    if not can_fetch():
        raise _failed(packages, "this is no Debian or Ubuntu")
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("state/lists/partial", "cache/archives/partial", "root"):
        (folder / part).mkdir(parents=True)
    try:
        _download(packages, folder)
        for archive in sorted((folder / "cache" / "archives").glob("*.deb")):
            _run(["dpkg", "--extract", str(archive), str(root)])
    except (OSError, subprocess.SubprocessError) as error:
        raise _failed(packages, _reason(error)) from None
    for part in ("state", "cache"):
        shutil.rmtree(folder / part, ignore_errors=True)
    (folder / "complete").touch()
    return root


def _download(packages: Sequence[str], folder: Path) -> None:
    apt = ["apt-get", "-qq"]
    for setting in (
        f"Dir::State={folder / 'state'}",
        "Dir::State::status=/var/lib/dpkg/status",
        f"Dir::Cache={folder / 'cache'}",
        "Debug::NoLocking=1",
        "APT::Sandbox::User=",
    ):
        apt += ["-o", setting]
    _run([*apt, "update"])
    # --reinstall: what the system has already is downloaded all the same.
    options = ["-y", "--no-install-recommends", "--download-only", "--reinstall"]
    _run([*apt, *options, "install", *packages])


def _run(argv: Sequence[str]) -> None:
    subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        check=True,
    )


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    return str(said).strip().splitlines()[-1]


def _failed(packages: Sequence[str], why: str) -> PackagesFailed:
    return PackagesFailed(
        f"The packages {' '.join(packages)} could not be fetched: {why}.\n"
        f"An administrator can install them: apt-get install {' '.join(packages)}"
    )
