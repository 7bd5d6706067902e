"""Files that a scene writes into its project: a File Output node's `//passes/`, say.

They are no less results than what lies in the output folder, where no scene knows to write.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

APART = "_project"
"""The folder, among the results, of files that would else take the place of another result."""


@dataclass(frozen=True, slots=True)
class Beside:
    """The project of one attempt, as a place where results appear."""

    root: Path
    desk: Path
    is_input: Callable[[Path], bool]  # whether a file is the project's own, and has to stay

    def has(self, file: Path) -> bool:
        """Whether the file lies in the project."""
        return _plain(file).is_relative_to(self.root)

    def name(self, file: Path) -> Path | None:
        """What a file of the project is called among the results: as in the project, but that both
        have one folder for what is written. None: it is no result."""
        file = _plain(file)
        if (
            not file.is_relative_to(self.root)
            or file.is_relative_to(self.desk)
            or self.is_input(file)
        ):
            return None
        parts = file.relative_to(self.root).parts
        if len(parts) > 1 and self.desk.is_relative_to(self.root):
            is_output = parts[0] == self.desk.relative_to(self.root).parts[0]
            parts = parts[1:] if is_output else parts
        name = Path(*parts)
        return Path(APART, name) if (self.desk / name).exists() else name


def _plain(file: Path) -> Path:
    """Without `..`, as a scene's `//../passes/` has it."""
    return Path(os.path.normpath(file))
