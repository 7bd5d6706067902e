"""What an attempt has produced: the interface, and the folder on a disk that both sides see.

Sending finished files to the api over HTTP is another implementation of the same interface.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from renderonline.node.refusal import Refusal


class Results(Protocol):
    """The files of one attempt. Made before its process starts, asked when that has ended."""

    def changed(self) -> list[Path]:
        """Files that this attempt created or changed, relative to its output folder, sorted."""
        ...


class NoResults:
    """An original start: it names no output folder, so nothing can be said about its files."""

    def changed(self) -> list[Path]:
        return []


Stamp = tuple[int, int, int, int]
"""What differs after a file was written again: size, both times in ns, and its number."""


class LocalResults:
    """The output folder on a local or shared disk; what lay there before is not a result."""

    def __init__(self, output_dir: Path) -> None:
        """Creates `output_dir`. Raises Refusal when it cannot be created or read."""
        self._output_dir = output_dir
        if not output_dir.is_absolute():
            raise Refusal(f"The output folder {output_dir} is not an absolute path.")
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
            self._before = dict(_stamps(output_dir))
        except OSError as error:
            raise Refusal(
                f"The output folder {output_dir} cannot be used on this machine: "
                f"{error.strerror or error}. Check that the node's user may write there."
            ) from None

    def changed(self) -> list[Path]:
        after = dict(_stamps(self._output_dir)) if self._output_dir.is_dir() else {}
        return sorted(path for path, stamp in after.items() if self._before.get(path) != stamp)


def _stamps(folder: Path) -> Iterator[tuple[Path, Stamp]]:
    """Every regular file below `folder`, relative to it. Links are not followed out of it."""
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # a renderer's temporary file, gone between listing and looking
            if path.is_file() and not path.is_symlink():
                stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
                yield path.relative_to(folder), stamp
