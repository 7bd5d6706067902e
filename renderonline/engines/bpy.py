"""The adapter for Blender as a Python module: the same command line, on a Python that has `bpy`."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from renderonline import paths
from renderonline.engines import blender_warm
from renderonline.engines.base import CommandError
from renderonline.engines.blender import BlenderAdapter, first_match
from renderonline.engines.commandline import without_name
from renderonline.engines.session import Session

RUNNER = paths.bundled("engines", "bpy_runner.py")
"""The script that understands Blender's command line; it imports nothing of ours."""

_RUN = ("-u", str(RUNNER))

_VERSION = re.compile(r"^bpy (\d+\.\d+\.\d+)", re.MULTILINE)
_ASK_VERSION = "import bpy; print('bpy', bpy.app.version_string)"


class BpyAdapter(BlenderAdapter):
    """`bpy` from PyPI. The executable is the Python interpreter that can import it."""

    name = "bpy"
    tells_frames = True

    def complete(self, argv: Sequence[str], output_dir: str, step: int | None = None) -> list[str]:
        """See base.Adapter. What Blender can do, but for a movie with frames below 0."""
        completed = super().complete(argv, output_dir, step)
        owed = self.owes(completed, None)
        if owed.movie and owed.frames is not None and owed.frames.startswith("-"):
            raise CommandError(
                "bpy cannot put frames below 0 into a movie: the range of one begins at 0 there. "
                "Render images, or use an engine of Blender itself."
            )
        return completed

    def command(self, executable: str, argv: Sequence[str]) -> list[str]:
        """See base.Adapter. `-u`: Python's lines arrive in order with those of Blender."""
        return [executable, *_RUN, *without_name(argv, "blender", self.name)]

    def session(self, command: Sequence[str]) -> Session | None:
        """See base.Adapter."""
        program = 1 + len(_RUN)
        return blender_warm.session(command[:program], command[program:])

    def find(self) -> list[Path]:
        """Our own Python if it has `bpy`, else a `python3.11` on the PATH that has.

        Frozen, our executable is no Python interpreter and only the PATH is looked at.
        """
        if not getattr(sys, "frozen", False) and importlib.util.find_spec("bpy") is not None:
            return [Path(sys.executable)]
        pythons = (shutil.which(name) for name in ("python3.11", "python3", "python"))
        return [Path(found) for found in pythons if found and self.version(found)][:1]

    def version(self, executable: str) -> str | None:
        """See base.Adapter. Imports bpy in that interpreter: takes a second or two."""
        return first_match(_VERSION, [executable, "-c", _ASK_VERSION])
