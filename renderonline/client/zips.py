"""A ZIP as a project: which files it holds, checked before one of them is unpacked."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path

from renderonline.client import archive
from renderonline.client.errors import Unusable
from renderonline.client.sources import Archive, ZipEntry

MAX_UNPACKED_BYTES = 256 << 30
MAX_RATIO = 200
"""Of all that is unpacked to the archive: images of one colour reach about 100."""

FREE_BYTES = 1 << 30
"""So much may be unpacked from an archive of any size."""

_NOT_MEANT = "__MACOSX/"
"""Where macOS puts what only it understands."""


def entries(path: Path) -> list[ZipEntry]:
    """The files of an archive, by name. Raises Unusable and OSError."""
    zipped = Archive(path)
    try:
        infos = zipped.opened().infolist()
        files = [i for i in infos if not i.is_dir() and not i.filename.startswith(_NOT_MEANT)]
        names = [archive.safe_name(info, windows=False).as_posix() for info in files]
    except archive.DAMAGE as error:
        raise Unusable(f"{path} is no ZIP, or a damaged one ({error}).") from None
    except archive.ArchiveError as error:
        raise Unusable(f"{path} is not taken. {error}") from None
    _check_size(path, files)
    found = [
        ZipEntry(zipped, name, info.file_size, bool(info.external_attr >> 16 & stat.S_IXUSR))
        for info, name in zip(files, names, strict=True)
    ]
    return sorted(found, key=lambda entry: entry.name)


def _check_size(path: Path, files: Sequence[zipfile.ZipInfo]) -> None:
    """Raises Unusable for a bomb."""
    total_bytes = sum(info.file_size for info in files)
    bound_bytes = min(MAX_UNPACKED_BYTES, max(FREE_BYTES, MAX_RATIO * path.stat().st_size))
    if total_bytes > bound_bytes:
        raise Unusable(
            f"{path} would unpack to {total_bytes >> 20} MiB, more than is believed of a ZIP of "
            f"{path.stat().st_size >> 20} MiB.",
            "Unpack it, and submit the folder.",
        )
