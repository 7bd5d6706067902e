"""The adapter for Blender's own executable. Its parts are in the modules named blender_*."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from renderonline.engines import blender_command, blender_places, blender_warm
from renderonline.engines.blender_output import frame_images
from renderonline.engines.blender_reader import BlenderReader
from renderonline.engines.commandline import without_name
from renderonline.engines.session import Session
from renderonline.wire import Owes

VERSION_TIMEOUT_S = 60
"""How long `--version` may take; a first start from a cold network disk has been seen to need 20."""

_VERSION = re.compile(r"^Blender (\d+\.\d+(?:\.\d+)?)", re.MULTILINE)


class BlenderAdapter:
    """Blender, 2.9 to 5.x."""

    name = "blender"
    tells_frames = True
    takes_step = True

    def complete(self, argv: Sequence[str], output_dir: str, step: int | None = None) -> list[str]:
        """See base.Adapter, and blender_command for what is moved and added."""
        return blender_command.complete(argv, output_dir, step)

    def owes(self, argv: Sequence[str], file_pattern: str | None) -> Owes:
        """See base.Adapter."""
        return blender_command.owes(argv, file_pattern or None)

    def command(self, executable: str, argv: Sequence[str]) -> list[str]:
        """See base.Adapter."""
        return [executable, *without_name(argv, executable, self.name, "blender")]

    def session(self, command: Sequence[str]) -> Session | None:
        """See base.Adapter, and blender_warm for what can be rendered that way."""
        return blender_warm.session(command[:1], command[1:])

    def reader(self, owes: Owes, command: Sequence[str] = ()) -> BlenderReader:
        """See base.Adapter. The reader opens each image that is announced as saved."""
        return BlenderReader(owes, frame_images(command))

    def find(self) -> list[Path]:
        """See base.Adapter. Newest version first, by the folders' names."""
        return blender_places.candidates(blender_places.this_machine())

    def version(self, executable: str) -> str | None:
        """See base.Adapter."""
        return first_match(_VERSION, [executable, "--version"])


def first_match(form: re.Pattern[str], command: Sequence[str]) -> str | None:
    """Run a program that prints something about itself, and find its first group; None if not."""
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = form.search(result.stdout)
    return match[1] if match else None
