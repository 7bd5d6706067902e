"""Taking a ZIP apart: that all of it arrives, and that nothing leaves the folder."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from renderonline.client.archive import ArchiveError, extract, plan

PROJECT = "scene.blend"


def make_zip(file: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo()
            info.filename = name  # as it is: the constructor would tidy it
            archive.writestr(info, content)
    return file


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def unpack(archive: Path, scratch: Path) -> dict[str, bytes]:
    folder = archive.parent / "results"
    written = extract(archive, folder, scratch)
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in written}
    assert set(found) == {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
    }
    assert list(scratch.iterdir()) == []
    return found


def test_all_of_it_in_its_folders(tmp_path: Path, scratch: Path) -> None:
    files = {PROJECT: b"project", "output/0001.png": b"1", "output/beauty/2.exr": b"2"}
    archive = make_zip(tmp_path / "a.zip", {"output/": b"", **files})
    assert unpack(archive, scratch) == files


def test_a_file_of_the_same_name_is_replaced(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "0001.png").write_bytes(b"of an earlier render")
    archive = make_zip(tmp_path / "a.zip", {"0001.png": b"new"})
    assert unpack(archive, scratch) == {"0001.png": b"new"}


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "output/../../evil",
        "/etc/evil",
        "output//evil",
        "output/./evil",
        "C:/evil",
        "C:evil",
        "output\\..\\..\\evil",
        "\\\\server\\share\\evil",
        "//server/share/evil",
    ],
)
def test_a_name_that_leads_out_stops_all(name: str, tmp_path: Path, scratch: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"output/0001.png": b"1", name: b"evil"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArchiveError, match="evil"):
        extract(archive, tmp_path / "results", scratch)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_stops_all(tmp_path: Path, scratch: Path) -> None:
    info = zipfile.ZipInfo("output/link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match="link"):
        extract(tmp_path / "a.zip", tmp_path / "results", scratch)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("name", "is_fit"),
    [
        ("output/0001.png", True),
        ("output/console.png", True),
        ("output/com10.png", True),
        ("output/NUL", False),
        ("output/com1.png", False),
        ("output/aux .png", False),
        ("output/frame:1.png", False),
        ("output/what?.png", False),
        ("output/dot.", False),
        ("output/space /a.png", False),
        ("output/bell\a.png", False),
    ],
)
def test_names_that_windows_cannot_have(name: str, is_fit: bool) -> None:
    info = zipfile.ZipInfo()
    info.filename = name
    assert len(plan([info], windows=False)) == 1
    if is_fit:
        assert len(plan([info], windows=True)) == 1
    else:
        with pytest.raises(ArchiveError, match="Windows"):
            plan([info], windows=True)


def test_a_damaged_archive_is_named_as_such(tmp_path: Path, scratch: Path) -> None:
    whole = make_zip(tmp_path / "a.zip", {"output/0001.png": b"1" * 1000}).read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[:600])
    with pytest.raises(ArchiveError, match="damaged"):
        extract(tmp_path / "a.zip", tmp_path / "results", scratch)


def test_a_changed_byte_is_noticed_and_leaves_no_such_frame(tmp_path: Path, scratch: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"output/0001.png": b"1" * 1000})
    archive.write_bytes(archive.read_bytes().replace(b"1" * 1000, b"1" * 999 + b"2"))
    with pytest.raises(ArchiveError, match="damaged"):
        extract(archive, tmp_path / "results", scratch)
    assert not (tmp_path / "results" / "0001.png").exists()
