"""Folders and ZIPs as projects: what goes along, and what is refused before anything is sent."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from renderonline.client import Unusable, bundle, warnings, zips
from renderonline.client.blend import OUTSIDE

from . import film

POV = {"scenes/castle.pov": b"#include", "textures/stone ü.inc": b"stone", "empty.inc": b""}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(file: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file


def contents(made: bundle.Bundle) -> dict[str, bytes]:
    found = {}
    for part in made.parts:
        with part.source.open() as source:
            found[part.place] = source.read()
            assert len(found[part.place]) == part.size_bytes
    return found


# --------------------------------------------------------------------------- folders


@pytest.mark.parametrize("main", ["scenes/castle.pov", "scenes\\castle.pov"])
def test_a_folder_goes_as_it_is(tmp_path: Path, main: str) -> None:
    made = bundle.of(write(tmp_path / "castle", POV), main)
    assert (made.main, contents(made)) == ("scenes/castle.pov", POV)
    assert warnings(made) == []


@pytest.mark.parametrize(
    ("main", "says"), [(None, "is a folder."), ("gone.pov", "There is no file gone.pov in")]
)
def test_a_folder_needs_a_main_file(tmp_path: Path, main: str | None, says: str) -> None:
    with pytest.raises(Unusable, match=says):
        bundle.of(write(tmp_path / "castle", POV), main)


def test_results_and_leftovers_stay_here(tmp_path: Path) -> None:
    write(
        tmp_path, {"s.pov": b"x", "Output/0001.png": b"x", ".DS_Store": b"x", "a/Thumbs.db": b"x"}
    )
    made = bundle.of(tmp_path, "s.pov")
    assert set(contents(made)) == {"s.pov"}
    assert warnings(made) == ["Its folder output is left out: that is where a task's results lie."]


def test_links_in_a_folder(tmp_path: Path) -> None:
    """A link to a file is that file; one to a folder could lead in circles."""
    write(tmp_path, {"here/s.pov": b"x", "there/a.inc": b"a"})
    (tmp_path / "here/a.inc").symlink_to(tmp_path / "there/a.inc")
    (tmp_path / "here/circle").symlink_to(tmp_path / "here", target_is_directory=True)
    (tmp_path / "here/gone").symlink_to(tmp_path / "nowhere")
    made = bundle.of(tmp_path / "here", "s.pov")
    assert contents(made) == {"s.pov": b"x", "a.inc": b"a"}
    assert [warning.partition(" is left out")[0] for warning in warnings(made)] == [
        str(tmp_path / "here/circle"),
        str(tmp_path / "here/gone"),
    ]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("A.inc", "a.inc"), "are one file on Windows and macOS"),
        (("ab:c.inc",), "which Windows refuses"),
        (("con.inc",), "reserved on Windows"),
        (("a", "A/b.inc"), "lies in it"),
    ],
)
def test_names_that_some_platform_refuses_are_told(
    tmp_path: Path, names: tuple[str, ...], says: str
) -> None:
    write(tmp_path, {"s.pov": b"x", **dict.fromkeys(names, b"x")})
    with pytest.raises(Unusable, match=says):
        bundle.of(tmp_path, "s.pov")


def test_a_program_stays_one(tmp_path: Path) -> None:
    write(tmp_path, {"s.sh": b"x", "data": b"x"})
    (tmp_path / "s.sh").chmod(0o755)
    made = bundle.of(tmp_path, "s.sh")
    assert {part.place: part.is_executable for part in made.parts} == {"s.sh": True, "data": False}


def test_an_empty_main_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="is empty"):
        bundle.of(write(tmp_path, POV), "empty.inc")


def test_a_folder_with_a_scene_takes_its_links_along(scene: Path) -> None:
    made = bundle.of(scene.parent, film.NAME)
    places = {part.place for part in made.parts}
    assert "lib/unused.png" in places  # since it lies in the folder
    assert any(place.startswith(OUTSIDE) for place in places)
    assert not any(place.startswith(OUTSIDE) for place in contents_of_no_links(scene))


def contents_of_no_links(scene: Path) -> set[str]:
    made = bundle.of(scene.parent, film.NAME, follow_links=False)
    return {part.place for part in made.parts}


# --------------------------------------------------------------------------- ZIPs


def test_a_zip_goes_unpacked(tmp_path: Path) -> None:
    made = bundle.of(zipped(tmp_path / "castle.zip", POV), "scenes/castle.pov")
    assert contents(made) == POV


def test_a_zip_with_a_scene_tells_its_facts(films: dict[str, Path], tmp_path: Path) -> None:
    scene = films["blender"] / "Mein Film" / film.NAME
    file = zipped(
        tmp_path / "film.zip", {"a/scene.blend": scene.read_bytes(), "output/1.png": b"x"}
    )
    made = bundle.of(file, "a/scene.blend")
    found = made.facts.scene()
    assert found is not None and (found.frame_start, found.frame_end) == (1, 2)
    assert len(made.parts) == 1 and len(warnings(made)) == 1


@pytest.mark.parametrize(
    "name", ["../s.pov", "/s.pov", "a/../../s.pov", "C:/s.pov", "a\\s.pov", "a//s"]
)
def test_a_name_that_leaves_the_zip_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unusable, match="is not taken"):
        bundle.of(zipped(tmp_path / "p.zip", {"s.pov": b"x", name: b"x"}), "s.pov")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    file = zipped(tmp_path / "p.zip", {"s.pov": b"x"})
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("passwords")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(Unusable, match="holds the link"):
        bundle.of(file, "s.pov")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    file = zipped(tmp_path / "p.zip", {"s.pov": b"x"})
    packed = bytearray(file.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(mark) + flags] |= 1
    file.write_bytes(packed)
    with pytest.raises(Unusable, match="is encrypted"):
        bundle.of(file, "s.pov")


@pytest.mark.parametrize("names", [("a.inc", "a.inc"), ("A.inc", "a.inc")])
def test_one_file_twice_in_a_zip_is_refused(
    tmp_path: Path, names: tuple[str, str], recwarn: pytest.WarningsRecorder
) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("s.pov", *names):
            archive.writestr(name, b"x")
    with pytest.raises(Unusable, match="are one file"):
        bundle.of(tmp_path / "p.zip", "s.pov")


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zips, "FREE_BYTES", 1 << 20)
    file = zipped(tmp_path / "p.zip", {"s.pov": b"x", "zeros": bytes(4 << 20)})
    with pytest.raises(Unusable, match="would unpack to 4 MiB"):
        bundle.of(file, "s.pov")


def test_a_zip_that_lies_about_a_size_is_noticed(tmp_path: Path) -> None:
    """What is unpacked is never more than what was announced."""
    file = zipped(tmp_path / "p.zip", {"s.pov": b"x", "zeros": bytes(4 << 20)})
    packed = bytearray(file.read_bytes())
    at = packed.index(b"PK\x01\x02", packed.index(b"PK\x01\x02") + 1)
    packed[at + 24 : at + 28] = struct.pack("<I", 1000)
    file.write_bytes(packed)
    made = bundle.of(file, "s.pov")
    (part,) = (part for part in made.parts if part.place == "zeros")
    with pytest.raises(OSError, match="is damaged"), part.source.open() as source:
        assert len(source.read()) <= 1000


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_zip_that_is_damaged_anywhere_is_a_sentence(tmp_path: Path, method: int) -> None:
    """Each byte of it in turn: it is taken, or refused, and reading it is an error of the disk's."""
    path, wrong = tmp_path / "a.zip", Random(5)
    with zipfile.ZipFile(path, "w", method) as zipped:
        zipped.writestr("scene.pov", bytes(wrong.choices(range(8), k=300)))
        zipped.writestr("tex/ü.png", b"a texture")
    whole = path.read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= wrong.choice((1, 0x7F, 0x80, 0xFF))
        path.write_bytes(damaged)
        with suppress(Unusable):
            for part in bundle.of(path, "scene.pov").parts:
                with suppress(OSError), part.source.open() as file:
                    file.read()


@pytest.mark.parametrize("content", [b"nothing", b"PK\x05\x06" + bytes(18), b""])
def test_what_is_no_zip_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.zip").write_bytes(content)
    with pytest.raises(Unusable):
        bundle.of(tmp_path / "p.zip", "s.pov")


def test_one_file_of_any_kind_goes_alone(tmp_path: Path) -> None:
    write(tmp_path, POV)
    made = bundle.of(tmp_path / "scenes/castle.pov")
    assert set(contents(made)) == {"castle.pov"}
    made = bundle.of(tmp_path / "scenes/castle.pov", project=tmp_path)
    assert (made.main, set(contents(made))) == ("scenes/castle.pov", {"scenes/castle.pov"})
