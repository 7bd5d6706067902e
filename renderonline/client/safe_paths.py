"""Where a file that a server names may be written: below the folder that was said, and nowhere else.

A name from elsewhere is data. What this platform would take for another place is refused, whole.
"""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath


class UnsafePath(ValueError):
    """A name that must not become a file. Its text follows the name: "would leave its folder"."""


def relative(name: str, windows: bool) -> PurePosixPath:
    """The path that a name with "/" between its parts stands for. Raises UnsafePath.

    `windows`: whether the file is to lie on a disk of Windows.
    """
    parts = name.split("/")
    if "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise UnsafePath("would leave its folder")
    if PureWindowsPath(name).drive:
        raise UnsafePath("names a drive")
    if windows and any(not _allowed_on_windows(part) for part in parts):
        raise UnsafePath("is a name that Windows cannot have")
    return PurePosixPath(*parts)


def _allowed_on_windows(part: str) -> bool:
    """Whether Windows takes `part` as a file's name and means a file by it."""
    if part[-1] in " ." or any(c < " " or c in '<>:"|?*' for c in part):
        return False
    stem = part.split(".")[0].rstrip().upper()
    devices = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    numbered = len(stem) == 4 and stem[:3] in ("COM", "LPT") and stem[3] in "0123456789¹²³"
    return stem not in devices and not numbered
