"""What is on the pictures of a task."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from PIL import Image


def pictures(archive: Path) -> dict[str, bytes]:
    """The decoded pixels of each PNG in a task's ZIP, by name."""
    with zipfile.ZipFile(archive) as packed:
        found = {}
        for name in packed.namelist():
            if name.endswith(".png"):
                with Image.open(io.BytesIO(packed.read(name))) as image:
                    found[name] = image.convert("RGB").tobytes()
    return found
