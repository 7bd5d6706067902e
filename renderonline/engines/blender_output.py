"""What Blender calls the image of a frame: told from the `-o` of its command line. Pure.

Others of the frame (a compositor's passes, the eyes of a stereo pair) have names of their own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_OUTPUT = ("-o", "--render-output")
_DIGITS = re.compile("#+")


@dataclass(frozen=True, slots=True)
class FrameImages:
    """The files that a command line alone calls for. Without any `-o` nothing is known: any file is."""

    forms: tuple[tuple[Path, re.Pattern[str]], ...]

    def has(self, file: Path) -> bool:
        """Whether this is the one file of its frame, whatever else a scene has written of it."""
        known = any(
            file.parent == folder and form.fullmatch(file.name) for folder, form in self.forms
        )
        return known or not self.forms


ANY = FrameImages(())


def frame_images(command: Sequence[str]) -> FrameImages:
    """Of each `-o` in a command line."""
    pairs = itertools.pairwise(command)
    return FrameImages(tuple(_form(value) for name, value in pairs if name in _OUTPUT))


def _form(output: str) -> tuple[Path, re.Pattern[str]]:
    """Blender puts the number in the place of `####`, or behind the name, and then an extension."""
    folder = Path(output) if output.endswith(("/", "\\")) else Path(output).parent
    name = "" if output.endswith(("/", "\\")) else Path(output).name
    digits = _DIGITS.findall(name)
    head, _, tail = name.rpartition(digits[-1]) if digits else (name, "", "")
    return folder, re.compile(rf"{re.escape(head)}-?\d+{re.escape(tail)}(\.\w+)?")
