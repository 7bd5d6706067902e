"""Where Blender is found: trees of empty files stand in for machines of the three platforms."""

from __future__ import annotations

from pathlib import Path

import pytest

from renderonline.engines.blender_places import Places, candidates

APP = "Contents/MacOS/Blender"
STEAM = "steamapps/common/Blender"
MACHINES = {
    "linux": (
        [
            "home/blender-4.2.1-linux-x64/blender",
            "opt/blender-3.6/blender",
            "opt/blender-10.0/blender",
            "snap/bin/blender",
            "usr/bin/blender",
            "var/lib/flatpak/exports/bin/org.blender.Blender",
            f"home/.local/share/Steam/{STEAM}/blender",
            f"games/{STEAM}/blender",
        ],
        ["opt/blendernot", "usr/bin/blender-thumbnailer.py", "home/blender-2.9/readme"],
        ["opt/blender-10.0/blender", "home/blender-4.2.1-linux-x64/blender"],
    ),
    "darwin": (
        [
            f"Applications/Blender.app/{APP}",
            f"Applications/Blender 4.2.app/{APP}",
            f"Applications/Blender 3.6/Blender.app/{APP}",
            f"home/Applications/Blender-4.5.app/{APP}",
            f"home/Library/Application Support/Steam/{STEAM}/Blender.app/{APP}",
        ],
        ["Applications/Blender.app/Contents/MacOS/other"],
        [f"home/Applications/Blender-4.5.app/{APP}", f"Applications/Blender 4.2.app/{APP}"],
    ),
    "win32": (
        [
            "Program Files/Blender Foundation/Blender 4.2/blender.exe",
            "Program Files/Blender Foundation/Blender 5.0/blender.exe",
            f"Program Files (x86)/Steam/{STEAM}/blender.exe",
            f"games/{STEAM}/blender.exe",
            "registered/Blender 4.4/blender.exe",
        ],
        ["Program Files/Blender Foundation/Blender 5.0/blender-launcher.exe"],
        [
            "Program Files/Blender Foundation/Blender 5.0/blender.exe",
            "registered/Blender 4.4/blender.exe",
        ],
    ),
}


def machine(root: Path, platform: str, files: list[str]) -> Places:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for steam in ("home/.local/share/Steam", "Program Files (x86)/Steam"):
        listing = root / steam / "steamapps" / "libraryfolders.vdf"
        if listing.parent.is_dir():
            games = str(root / "games").replace("\\", "\\\\")
            listing.write_text(f'"libraryfolders"\n{{\n\t"0"\n\t{{\n\t\t"path"\t\t"{games}"\n}}}}')
    return Places(
        platform=platform,
        search_path=(root / "usr" / "bin", root / "nowhere"),
        roots=(root,),
        home=root / "home",
        registered=(root / "registered" / "Blender 4.4",),
    )


@pytest.mark.parametrize("platform", list(MACHINES))
def test_finds_all_and_nothing_else(tmp_path: Path, platform: str) -> None:
    there, others, first = MACHINES[platform]
    places = machine(tmp_path, platform, there + others)
    found = [path.relative_to(tmp_path).as_posix() for path in candidates(places)]
    assert sorted(found) == sorted(there)
    assert found[: len(first)] == first


def test_without_a_version_the_search_path_comes_first(tmp_path: Path) -> None:
    places = machine(tmp_path, "linux", ["usr/bin/blender", "snap/bin/blender"])
    assert candidates(places)[0] == tmp_path / "usr/bin/blender"


def test_a_link_is_not_a_second_blender(tmp_path: Path) -> None:
    places = machine(tmp_path, "linux", ["opt/blender-4.2/blender"])
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr/bin/blender").symlink_to(tmp_path / "opt/blender-4.2/blender")
    assert candidates(places) == [tmp_path / "usr/bin/blender"]


def test_a_bare_machine_has_none(tmp_path: Path) -> None:
    bare = Places(platform="win32", search_path=(), roots=(tmp_path,), home=None)
    assert candidates(bare) == []
