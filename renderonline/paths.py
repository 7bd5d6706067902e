"""Where things are on this platform: our data, our configuration, the files we ship."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import platformdirs

APP = "RenderOnline"


def data_dir() -> Path:
    """The default `DataPath` of api and node; not created here."""
    return Path(platformdirs.user_data_dir(APP, appauthor=False))


def config_dir() -> Path:
    """Platformdirs' folder for our configuration files; not created here."""
    return Path(platformdirs.user_config_dir(APP, appauthor=False))


def cache_dir() -> Path:
    """Platformdirs' folder for what can be made again; not created here."""
    return Path(platformdirs.user_cache_dir(APP, appauthor=False))


def executable_dir() -> Path:
    """The folder of the frozen executable, or of renderonline.py in a checkout."""
    if getattr(sys, "frozen", False):
        return Path(sys.executable).resolve().parent
    return Path(__file__).resolve().parent.parent


def bundled(*parts: str) -> Path:
    """A file that ships inside the package (also when frozen, where it is extracted)."""
    return Path(__file__).resolve().parent.joinpath(*parts)


def private_dir(path: Path) -> Path:
    """Create `path` (and parents) so that only its owner can look inside. Raises OSError."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


UNFINISHED = ".rendering-"
"""How a folder among a task's results is named in which a node's renderer writes: what lies there
may be half a frame, and is no result."""


def write_private(path: Path, text: str) -> None:
    """Write a secret to a file that only its owner can read. Replaces it whole. Raises OSError.

    On Windows the mode bits mean nothing: there the file has its folder's rights, and our folders
    are below the user's profile.
    """
    private_dir(path.parent)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
