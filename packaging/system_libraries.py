"""The system libraries that Blender as a Python package expects, where a bare Debian lacks them."""

from __future__ import annotations

import os
from pathlib import Path

import debian_packages

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


def search_path(folder: Path) -> str:
    """The LD_LIBRARY_PATH of the libraries, fetched into `folder` if they are not there yet.

    Takes a minute and about 150 MB. Raises debian_packages.PackagesFailed.
    """
    root = debian_packages.fetch(PACKAGES, folder)
    found = sorted({file.parent for file in root.rglob("lib*.so*")})
    return os.pathsep.join(map(str, found))
