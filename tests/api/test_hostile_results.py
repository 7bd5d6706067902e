"""What a renderer may leave in a task's folder: names that are no UTF-8, links in any place."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from renderonline.api.storage import archive, trees
from renderonline.api.storage.folders import remove_tree


def names(folder: Path) -> list[str]:
    packed = b"".join(archive.live(trees.entries(folder)))
    return zipfile.ZipFile(io.BytesIO(packed)).namelist()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "key.pem").write_text("not yours")
    return folder


def test_name_that_is_no_utf8_does_not_lose_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"frame")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/inv\377.txt")).write_text("z")
    assert names(tmp_path) == ["a.png", "inv\ufffd.txt"]


def test_links_are_left_out(tmp_path: Path, secret: Path) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"frame")
    (folder / "folder").symlink_to(secret)
    (folder / "file.pem").symlink_to(secret / "key.pem")
    assert names(folder) == ["a.png"]


def test_folder_that_became_a_link_goes_and_its_target_stays(tmp_path: Path, secret: Path) -> None:
    folder = tmp_path / "task"
    folder.symlink_to(secret)
    assert remove_tree(folder)
    assert not os.path.lexists(folder)
    assert (secret / "key.pem").is_file()
