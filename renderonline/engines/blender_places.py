"""Where Blender may be installed, on each platform: which paths to look at, and in what order.

The places are data, so that a tree made of empty files stands in for a machine. Reads folders, the
Windows registry and Steam's list of libraries; starts nothing.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_VERSION = re.compile(r"(?<![\d.])(\d{1,2})\.(\d{1,2})(?:\.(\d{1,2}))?(?![\d.]*\d)")
_STEAM_LIBRARY = re.compile(r'"path"\s+"((?:[^"\\]|\\.)+)"')
_STEAM_APP = "steamapps/common/Blender"

_PROGRAMS = {
    "linux": ("blender",),
    "darwin": ("Blender.app/Contents/MacOS/Blender", "blender"),
    "win32": ("blender.exe",),
}
_GLOBS = {
    "linux": (
        "snap/bin/blender",
        "var/lib/snapd/snap/bin/blender",
        "var/lib/flatpak/exports/bin/org.blender.Blender",
        "usr/bin/blender",
        "usr/local/bin/blender",
        "opt/[Bb]lender*/blender",
        "opt/[Bb]lender/[Bb]lender*/blender",
        "usr/local/[Bb]lender*/blender",
    ),
    "darwin": (
        "Applications/Blender*.app/Contents/MacOS/Blender",
        "Applications/Blender*/Blender.app/Contents/MacOS/Blender",
        "opt/homebrew/bin/blender",
        "usr/local/bin/blender",
    ),
    "win32": (
        "Program Files/Blender Foundation/*/blender.exe",
        "Program Files (x86)/Steam/steamapps/common/Blender/blender.exe",
    ),
}
"""Below the root of the system (the drive, on Windows)."""

_HOME_GLOBS = {
    "linux": (
        "[Bb]lender*/blender",
        "Applications/[Bb]lender*/blender",
        "Downloads/[Bb]lender*/blender",
        ".local/bin/blender",
        ".local/share/flatpak/exports/bin/org.blender.Blender",
    ),
    "darwin": (
        "Applications/Blender*.app/Contents/MacOS/Blender",
        "Applications/Blender*/Blender.app/Contents/MacOS/Blender",
    ),
    "win32": (
        "AppData/Local/Programs/Blender Foundation/*/blender.exe",
        "Downloads/blender*/blender.exe",
        "scoop/apps/blender/current/blender.exe",
    ),
}
_STEAM = {
    "linux": (".local/share/Steam", ".steam/steam", "snap/steam/common/.local/share/Steam"),
    "darwin": ("Library/Application Support/Steam",),
    "win32": (),
}
"""Steam's own folder, below the home folder."""

_STEAM_SYSTEM = {"win32": ("Program Files (x86)/Steam", "Program Files/Steam")}


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look. `platform` is "linux", "darwin" or "win32"; anything else counts as linux."""

    platform: str
    search_path: tuple[Path, ...]
    roots: tuple[Path, ...]  # "/", or the drives that hold programs
    home: Path | None
    registered: tuple[Path, ...] = ()  # install folders or executables from the Windows registry


def this_machine() -> Places:
    """The places of the machine and user that we run as."""
    drives = {os.environ.get(name, "")[:3] for name in ("SystemDrive", "ProgramFiles")}
    roots = [Path(drive[:2] + "\\") for drive in sorted(drives) if drive]
    return Places(
        platform=sys.platform,
        search_path=tuple(
            Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder
        ),
        roots=tuple(dict.fromkeys(roots)) if sys.platform == "win32" else (Path("/"),),
        home=_home(),
        registered=tuple(_registered()),
    )


def candidates(places: Places) -> list[Path]:
    """The executables that are there, newest version first; then those of unknown version.

    The version is read off the path ("Blender 4.2", "blender-4.2.1-linux-x64"); among equals the
    one found first stands first, and the search path is looked at first. An executable that is
    reached by two paths is listed once.
    """
    found: dict[Path, Path] = {}
    for path in _existing(places):
        found.setdefault(path.resolve(), path)
    return sorted(
        found.values(), key=lambda path: _version(path) or _version(path.resolve()), reverse=True
    )


def _existing(places: Places) -> Iterator[Path]:
    platform = places.platform if places.platform in _PROGRAMS else "linux"
    for folder in (*places.search_path, *places.registered):
        yield from _files(folder / name for name in _PROGRAMS[platform])
        # a registry entry may name the executable itself
        yield from _files([folder] if folder.name.lower() == _PROGRAMS[platform][0] else [])
    for root in places.roots:
        yield from _glob(root, _GLOBS[platform])
        yield from _steam([root / name for name in _STEAM_SYSTEM.get(platform, ())], platform)
    if places.home is not None:
        yield from _glob(places.home, _HOME_GLOBS[platform])
        yield from _steam([places.home / name for name in _STEAM[platform]], platform)


def _glob(root: Path, patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in patterns:
        try:
            yield from _files(sorted(root.glob(pattern), reverse=True))
        except OSError:
            continue  # a folder that we may not read holds no Blender for us


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        try:
            if path.is_file():
                yield path
        except OSError:
            continue


def _steam(folders: Iterable[Path], platform: str) -> Iterator[Path]:
    """Blender in Steam's own folder and in the libraries that it lists."""
    for folder in folders:
        libraries = [folder, *_steam_libraries(folder / "steamapps" / "libraryfolders.vdf")]
        for library in libraries:
            yield from _files(library / _STEAM_APP / name for name in _PROGRAMS[platform])


def _steam_libraries(listing: Path) -> list[Path]:
    try:
        text = listing.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [Path(path.replace("\\\\", "\\")) for path in _STEAM_LIBRARY.findall(text)]


def _version(path: Path) -> tuple[int, ...]:
    """The highest version in the parts of a path that name Blender, () if none."""
    parts = " ".join(part for part in path.parts if "blender" in part.lower())
    versions = [tuple(int(number or 0) for number in found) for found in _VERSION.findall(parts)]
    return max(versions, default=())


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None  # a service account can be without one


if sys.platform == "win32":
    import winreg

    _UNINSTALL = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall"

    def _registered() -> Iterator[Path]:
        """Install folders of programs called Blender, for this user and for all."""
        for hive in (winreg.HKEY_LOCAL_MACHINE, winreg.HKEY_CURRENT_USER):
            try:
                with winreg.OpenKey(hive, _UNINSTALL) as programs:
                    count = winreg.QueryInfoKey(programs)[0]
                    names = [winreg.EnumKey(programs, index) for index in range(count)]
                    yield from _install_folders(programs, names)
            except OSError:
                continue

    def _install_folders(programs: winreg.HKEYType, names: Iterable[str]) -> Iterator[Path]:
        for name in names:
            try:
                with winreg.OpenKey(programs, name) as program:
                    title = str(winreg.QueryValueEx(program, "DisplayName")[0])
                    folder = str(winreg.QueryValueEx(program, "InstallLocation")[0])
            except OSError:
                continue  # most entries lack one of the two
            if title.lower().startswith("blender") and folder:
                yield Path(folder)

else:

    def _registered() -> Iterator[Path]:
        """No registry here."""
        yield from ()
