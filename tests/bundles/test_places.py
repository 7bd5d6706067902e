"""Where files lie in a bundle: names that every platform holds, and none twice."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderonline import manifests
from renderonline.client.blend.links import Link, Shape, Slot
from renderonline.client.blend.places import OUTSIDE, Places, usable
from renderonline.client.blend.rewriting import finds, patches
from renderonline.client.errors import Unusable

ROOT = Path("/film/shots")


def placed(places: Places, path: str) -> str:
    file = Path(path)
    return places.file(places.folder(file.parent), file.name, file)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/film/shots/a.blend", "a.blend"),
        ("/film/shots/tex/Holz ü.png", "tex/Holz ü.png"),
        ("/film/tex/wood.png", f"{OUTSIDE}/film/tex/wood.png"),
        ("/film/shots/CON/nul.png", "_CON/_nul.png"),
        ("/film/shots/a:b/c?.png", "a_b/c_.png"),
        ("/film/shots/ends. /x .png", "ends__/x .png"),
        ("/film/shots/output/old.png", "output_/old.png"),
        ("/film/shots/tex/output/old.png", "tex/output/old.png"),
    ],
)
def test_a_file_has_its_place(path: str, place: str) -> None:
    assert placed(Places(ROOT), path) == place


def test_two_files_that_windows_takes_for_one_are_told_apart() -> None:
    places = Places(ROOT)
    paths = ("/film/shots/Tex/a.png", "/film/shots/tex/A.png", "/film/shots/tex/a.png")
    found = [placed(places, path) for path in paths]
    assert found == ["Tex/a.png", "Tex/A~2.png", "Tex/a~3.png"]
    assert [placed(places, path) for path in paths] == found


def test_a_file_with_two_spellings_has_one_place(tmp_path: Path) -> None:
    (tmp_path / "Wood.png").write_bytes(b"x")
    (tmp_path / "wood.png").hardlink_to(tmp_path / "Wood.png")
    places = Places(tmp_path)
    assert {placed(places, str(tmp_path / name)) for name in ("Wood.png", "wood.png")} == {
        "Wood.png"
    }


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (PureWindowsPath(r"D:\film\wood.png"), "D/film/wood.png"),
        (PureWindowsPath(r"\\nas\films\wood.png"), "nas/films/wood.png"),
        (PurePosixPath("/mnt/films/wood.png"), "mnt/films/wood.png"),
    ],
)
def test_what_lies_elsewhere_goes_by_its_whole_path(path: Path, parts: str) -> None:
    assert Places(ROOT).folder(path.parent) == f"{OUTSIDE}/{parts}".rpartition("/")[0]


@given(st.text(min_size=1, max_size=300))
def test_any_name_becomes_one_that_every_platform_holds(name: str) -> None:
    manifests.check_path(usable(name))
    assert usable(usable(name)) == usable(name)


def test_numbers_of_a_series_stay_and_marks_too() -> None:
    places = Places(ROOT)
    assert places.series("tex", "a:b.<UDIM>.png", ("<UDIM>",)) == "tex/a_b.<UDIM>.png"
    assert places.series("tex", "a:b.1001.png") == "tex/a_b.1001.png"


# --------------------------------------------------------------------------- paths in a .blend


def link(path: str, size: int = 64) -> Link:
    return Link(Shape.FILE, path, 'image "a"', Slot(100, size))


@pytest.mark.parametrize(
    ("path", "blend", "target", "is_found"),
    [
        ("//tex/a.png", "s.blend", "tex/a.png", True),
        ("//tex\\a.png", "s.blend", "tex/a.png", True),
        ("//../tex/a.png", "shot/s.blend", "tex/a.png", True),
        ("//../../tex/a.png", "shot/s.blend", "tex/a.png", False),
        ("//tex/A.png", "s.blend", "tex/a.png", False),
        ("/film/tex/a.png", "s.blend", "tex/a.png", False),
        ("tex/a.png", "s.blend", "tex/a.png", False),
        ("\\\\nas\\a.png", "s.blend", "a.png", False),
        ("//caches/", "s.blend", "caches", True),
    ],
)
def test_whether_a_path_leads_there_as_it_is(
    path: str, blend: str, target: str, is_found: bool
) -> None:
    assert finds(link(path), blend, target) is is_found


def test_a_path_is_written_over_the_whole_field() -> None:
    (patch,) = patches(link("/home/ada/secret/a.png"), "shot/s.blend", "tex/a.png", Path("s.blend"))
    assert (patch.start, patch.end) == (100, 164)
    assert patch.data == b"//../tex/a.png" + bytes(50)


def test_a_path_that_does_not_fit_is_told() -> None:
    with pytest.raises(Unusable, match="longer than Blender can write"):
        list(patches(link("/a.png", size=20), "s.blend", "a" * 30 + ".png", Path("s.blend")))
    list(patches(link("/a.png", size=20), "s.blend", "a" * 13 + ".png", Path("s.blend")))
