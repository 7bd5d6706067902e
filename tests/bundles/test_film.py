"""The bundle of a scene that links to everything, made and rendered by real Blenders."""

from __future__ import annotations

import gzip
import hashlib
import io
from pathlib import Path

import pytest
import zstandard

from renderonline.client import Unusable, bundle
from renderonline.client.blend import OUTSIDE

from . import film

INSIDE = {
    film.NAME,
    "a font.woff2",
    "beep.wav",
    "lib/chair.blend",
    "lib/Größe/chair.png",
    "lib/deep/leg.blend",
    "lib/deep/leg.png",
    *(f"plates/plate_000{number}_left.png" for number in (1, 2, 3)),
    *(f"smoke/smoke_00{number}.vdb" for number in (1, 2)),
    *(f"tiles/tile.{tile}.png" for tile in (1001, 1002)),
}
"""What the scene needs of its folder; there are an unused texture and another image as well."""


def digests(made: bundle.Bundle) -> dict[str, str]:
    """By place: what a bundle's files hold."""
    found = {}
    for part in made.parts:
        with part.source.open() as source:
            found[part.place] = hashlib.file_digest(source, "sha256").hexdigest()
    return found


def test_a_bundle_renders_elsewhere_as_the_original_does(
    scene: Path, which: str, tmp_path: Path
) -> None:
    expected = film.rendered(which, scene, tmp_path / "expected")
    before = scene.read_bytes()
    made = bundle.of(scene)
    places = {part.place for part in made.parts}
    (outside,) = places - INSIDE
    assert (places - {outside}, made.missing) == (INSIDE, ())
    assert outside.startswith(f"{OUTSIDE}/") and outside.endswith("/elsewhere/wood.png")
    main = film.laid_out(made, tmp_path / "node")
    (tmp_path / "work").rename(tmp_path / "gone")
    assert film.rendered(which, main, tmp_path / "found") == expected
    assert len(set(expected)) == len(film.FRAMES)
    assert (tmp_path / "gone/Mein Film" / film.NAME).read_bytes() == before


def test_what_is_in_a_bundle_is_seen(films: dict[str, Path], tmp_path: Path) -> None:
    """Each file that the bundle holds changes the picture: the test above proves something."""
    made = bundle.of(films["bpy"] / "Mein Film" / film.NAME)
    main = film.laid_out(made, tmp_path / "node")
    expected = film.rendered("bpy", main, tmp_path / "expected")
    dull = ("beep.wav", "plates/plate_0003_left.png", film.NAME)  # not heard, frame 3
    for part in made.parts:
        if part.place not in dull:
            file = tmp_path / "node" / part.place
            file.rename(tmp_path / "away")
            target = tmp_path / "without" / part.place
            assert film.rendered("bpy", main, target) != expected, part.place
            (tmp_path / "away").rename(file)


def test_absolute_paths_and_a_project_above(scene: Path, which: str, tmp_path: Path) -> None:
    """Everything named absolutely, the libraries' own links too: they find it in the bundle."""
    script = """
import bpy, sys
for file in sys.argv[sys.argv.index('--') + 1:]:
    bpy.ops.wm.open_mainfile(filepath=file)
    bpy.ops.file.make_paths_absolute()
    bpy.ops.wm.save_mainfile()
"""
    libraries = [scene.parent / "lib" / name for name in ("deep/leg.blend", "chair.blend")]
    film.run(which, script, *libraries, scene)
    expected = film.rendered(which, scene, tmp_path / "expected")
    made = bundle.of(scene, project=tmp_path / "work")
    assert {part.place for part in made.parts} == {
        "elsewhere/wood.png",
        *(f"Mein Film/{place}" for place in INSIDE),
    }
    main = film.laid_out(made, tmp_path / "node")
    (tmp_path / "work").rename(tmp_path / "gone")
    assert film.rendered(which, main, tmp_path / "found") == expected


def test_the_same_scene_has_the_same_bundle(scene: Path, tmp_path: Path) -> None:
    """Also when no copy is left of what was rewritten, and files were only touched."""
    first = digests(bundle.of(scene))
    scenes = [file for file in tmp_path.rglob("*.blend") if "scenes" in file.parts]
    assert len(scenes) == 1
    scenes[0].unlink()
    for file in scene.parent.rglob("*"):
        file.touch()
    assert digests(bundle.of(scene)) == first


@pytest.mark.parametrize("packing", ["none", "gzip", "zstd"])
def test_a_copy_is_packed_as_the_original_is(scene: Path, which: str, packing: str) -> None:
    """And tells neither when it was made, nor under which name."""
    with zstandard.open(scene, "rb") as packed:
        content = packed.read()
    pack = {"none": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}
    scene.write_bytes(pack[packing](content))
    made = bundle.of(scene)
    copy = made.main_part.source.path.read_bytes()
    unpack = {"none": bytes, "gzip": gzip.decompress, "zstd": _unzstd}
    assert copy[:4] == scene.read_bytes()[:4]
    if packing == "gzip":
        assert copy[3:8] == bytes(5)
    changed = unpack[packing](copy)
    assert (len(changed), changed[:12]) == (len(content), content[:12])
    film.run(which, OPEN, made.main_part.source.path)


OPEN = """
import bpy, sys
bpy.ops.wm.open_mainfile(filepath=sys.argv[-1])
assert bpy.data.images['wood.png'].filepath.startswith('//_outside_project/')
"""


def _unzstd(packed: bytes) -> bytes:
    with zstandard.open(io.BytesIO(packed), "rb") as file:
        found: bytes = file.read()
        return found


@pytest.mark.parametrize(
    ("deleted", "user"),
    [
        ("tiles/tile.1002.png", 'image "tile.1001.png"'),
        ("a font.woff2", "font "),
        ("lib/deep/leg.png", 'image "leg.png" in lib/deep/leg.blend'),
        ("lib/deep/leg.blend", 'library "leg.blend" in lib/chair.blend'),
        ("lib/chair.blend", 'library "chair.blend"'),
    ],
)
def test_what_is_missing_is_told_with_its_user(copied_scene: Path, deleted: str, user: str) -> None:
    (copied_scene.parent / deleted).unlink()
    (missing,) = bundle.of(copied_scene).missing
    assert missing.path == str(copied_scene.parent / deleted)
    (told,) = missing.users
    assert told.startswith(user)


def test_what_is_missing_outside_is_told(scene: Path, tmp_path: Path) -> None:
    texture = tmp_path / "work/elsewhere/wood.png"
    texture.unlink()
    assert bundle.of(scene).missing == (bundle.Missing(str(texture), ('image "wood.png"',)),)


def test_a_series_of_which_nothing_is_there_is_missing_as_one(copied_scene: Path) -> None:
    for folder in ("plates", "smoke"):
        for file in (copied_scene.parent / folder).iterdir():
            file.unlink()
    assert [Path(missing.path).name for missing in bundle.of(copied_scene).missing] == [
        "smoke_001.vdb",
        "plate_0001_left.png",
    ]


def test_without_links_there_is_one_file(copied_scene: Path) -> None:
    made = bundle.of(copied_scene, follow_links=False)
    assert [part.place for part in made.parts] == [film.NAME]
    assert made.facts.scene() is not None


def test_the_scene_must_lie_in_its_project(copied_scene: Path) -> None:
    with pytest.raises(Unusable, match="does not lie in the project's folder"):
        bundle.of(copied_scene, project=copied_scene.parent / "lib")


@pytest.mark.parametrize("packing", ["none", "cut"])
def test_a_scene_that_cannot_be_read_is_told(scene: Path, packing: str) -> None:
    if packing == "cut":
        scene.write_bytes(scene.read_bytes()[:-2000])
    else:
        scene.write_bytes(b"BLENDER-v405" + bytes(1000))
    with pytest.raises(Unusable, match="cannot be searched for what it links to") as caught:
        bundle.of(scene)
    assert "--no-links" in caught.value.hint
    assert len(bundle.of(scene, follow_links=False).parts) == 1


def test_a_damaged_scene_is_told_and_not_searched_for_hours(tmp_path: Path) -> None:
    """Whatever number or name is wrong in what a .blend says of its structs, for which a library
    that believes it looks for ever."""
    raw = (Path(__file__).parent / "blender_5_packed.blend").read_bytes()
    whole = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
    (scene := tmp_path / "a.blend").write_bytes(whole)
    assert len(bundle.of(scene).parts) == 1, "it is whole"
    structs = whole.index(b"SDNA")
    endless = [(mark, b"\xff" * 4) for mark in (b"NAME", b"TYPE", b"STRC")]
    places = [(whole.index(mark, structs) + 4, wrong) for mark, wrong in endless]
    for right, wrong in (
        (b"[4][4]\0", b"]4[[4]\0"),
        (b"[4][4]\0", b"[4[[4]\0"),
        (b"name[1024]\0", b"na[999999]\0"),
    ):
        places.append((whole.index(right, structs), wrong))
    for at, wrong in places:
        scene.write_bytes(whole[:at] + wrong + whole[at + len(wrong) :])
        with pytest.raises(Unusable, match="or damaged"):
            bundle.of(scene)


def test_a_library_that_cannot_be_read_is_missing(copied_scene: Path) -> None:
    (copied_scene.parent / "lib/chair.blend").write_bytes(b"nothing")
    made = bundle.of(copied_scene)
    (missing,) = made.missing
    assert Path(missing.path).name == "chair.blend"
    assert missing.users == ("it is no .blend file, or damaged",)
