"""What an attempt has produced: the interface, and the folder on a disk that both sides see.

Sending finished files to the api over HTTP is another implementation of the same interface.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from renderonline.node.refusal import Refusal


class Results(Protocol):
    """The files of one attempt. Made before its process starts, asked when that has ended."""

    def changed(self) -> list[Path]:
        """Files that this attempt created or changed, relative to its output folder, sorted."""
        ...

    def fault(self) -> str | None:
        """Why nothing in the output folder may be taken for a result, as a sentence; None if it may."""
        ...


class NoResults:
    """An original start: it names no output folder, so nothing can be said about its files."""

    def changed(self) -> list[Path]:
        return []

    def fault(self) -> str | None:
        return None


JUNCTION_TAG = 0xA0000003
"""IO_REPARSE_TAG_MOUNT_POINT: Windows' other kind of link, which `is_symlink` does not know."""

Stamp = tuple[int, int, int, int]
"""What differs after a file was written again: size, both times in ns, and its number."""


class LocalResults:
    """The output folder on a local or shared disk; what lay there before is not a result."""

    def __init__(self, output_dir: Path) -> None:
        """Creates `output_dir`. Raises Refusal when it is a link, or cannot be created or read."""
        self._output_dir = output_dir
        if not output_dir.is_absolute():
            raise Refusal(f"The output folder {output_dir} is not an absolute path.")
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
            self._real_dir = output_dir.resolve()
            is_link = _is_link(output_dir)
            self._before = {} if is_link else dict(_stamps(output_dir))
        except OSError as error:
            raise Refusal(
                f"The output folder {output_dir} cannot be used on this machine: "
                f"{error.strerror or error}. Check that the node's user may write there."
            ) from None
        if is_link:
            raise Refusal(
                f"The output folder {output_dir} is a link. Results are taken from real folders "
                "only: remove the link, and requeue the task."
            )

    def changed(self) -> list[Path]:
        if self.fault() is not None or not self._output_dir.is_dir():
            return []
        after = dict(_stamps(self._output_dir))
        return sorted(Path(n) for n, stamp in after.items() if self._before.get(n) != stamp)

    def fault(self) -> str | None:
        """A renderer runs what is in the scene, which may put a link in the folder's place."""
        try:
            is_replaced = self._output_dir.resolve() != self._real_dir
        except (OSError, RuntimeError):  # a link that cannot be followed, a loop of links
            is_replaced = True
        if not is_replaced:
            return None
        return (
            f"The render replaced its output folder {self._output_dir} by a link, so nothing in "
            "it was taken for a result. Look at the scripts in the scene."
        )


def _stamps(folder: Path) -> Iterator[tuple[str, Stamp]]:
    """Every regular file below `folder`, by its path relative to it. No link is followed.

    Strings and the plain calls of `os`: a task may have thousands of frames, and each chunk looks
    at all of them twice.
    """
    pending = [""]
    while pending:
        inside = pending.pop()
        with os.scandir(os.path.join(folder, inside)) as entries:  # noqa: PTH118
            for entry in entries:
                try:
                    status = os.lstat(entry.path)
                except FileNotFoundError:
                    continue  # a renderer's temporary file, gone between listing and looking
                name = f"{inside}{entry.name}"
                if stat.S_ISREG(status.st_mode):
                    times = (status.st_mtime_ns, status.st_ctime_ns)
                    yield name, (status.st_size, *times, status.st_ino)
                elif stat.S_ISDIR(status.st_mode) and not _leads_elsewhere(status):
                    pending.append(f"{name}{os.sep}")


def _is_link(path: Path) -> bool:
    """Whether `path` leads elsewhere; False if nothing is there."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return _leads_elsewhere(status)


def _leads_elsewhere(status: os.stat_result) -> bool:
    """A symbolic link, or Windows' junction, which counts as a folder there."""
    tag: int = getattr(status, "st_reparse_tag", 0)  # only Windows has it
    return stat.S_ISLNK(status.st_mode) or tag == JUNCTION_TAG
