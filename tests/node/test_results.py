"""Which files an attempt has produced, and where its project comes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from renderonline.node.inputs import LocalInputs, folder_of_first_file
from renderonline.node.refusal import Refusal
from renderonline.node.results import LocalResults
from renderonline.wire import HpcStart


def test_new_and_changed_files_are_results(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "output"
    folder.mkdir(parents=True)
    for name in ("old", "rewritten", "replaced"):
        (folder / name).write_text("before")
    results = LocalResults(folder)
    (folder / "rewritten").write_text("after!")  # as long as before
    (folder / "new").write_text("x")
    (folder / "replacement").write_text("before")
    (folder / "replacement").replace(folder / "replaced")
    (folder / "deep").mkdir()
    (folder / "deep" / "frame.exr").write_text("x")
    assert results.changed() == [
        Path("deep/frame.exr"), Path("new"), Path("replaced"), Path("rewritten"),
    ]  # fmt: skip


def test_a_link_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    results = LocalResults(tmp_path / "output")
    (tmp_path / "output" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "output" / "folder").symlink_to(tmp_path, target_is_directory=True)
    assert results.changed() == []


def test_an_output_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "output").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(Refusal, match="output is a link"):
        LocalResults(tmp_path / "output")


def test_a_link_above_the_output_folder_is_none_of_the_renderers(tmp_path: Path) -> None:
    """macOS' /tmp is one, and so may be the farm's share."""
    (tmp_path / "real").mkdir()
    (tmp_path / "share").symlink_to(tmp_path / "real", target_is_directory=True)
    results = LocalResults(tmp_path / "share" / "output")
    (tmp_path / "share" / "output" / "frame").write_text("x")
    assert (results.fault(), results.changed()) == (None, [Path("frame")])


@pytest.mark.parametrize("replaced", ["output", "."])
@pytest.mark.parametrize("target", ["elsewhere", "none", "loop"])
def test_an_output_folder_replaced_by_a_link_holds_no_results(
    tmp_path: Path, replaced: str, target: str
) -> None:
    (tmp_path / "elsewhere" / "output").mkdir(parents=True)
    for folder in (tmp_path / "elsewhere", tmp_path / "elsewhere" / "output"):
        (folder / "secret").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    output = tmp_path / "task" / "output"
    results = LocalResults(output)
    link = output.parent / replaced
    link.rename(tmp_path / "away")
    link.symlink_to(tmp_path / target, target_is_directory=True)
    assert "replaced its output folder" in (results.fault() or "")
    assert results.changed() == []


def test_an_output_folder_may_be_made_anew(tmp_path: Path) -> None:
    """Tools that begin by emptying their output do so."""
    output = tmp_path / "output"
    results = LocalResults(output)
    output.rmdir()
    output.mkdir()
    (output / "frame").write_text("x")
    assert (results.fault(), results.changed()) == (None, [Path("frame")])


def test_the_output_folder_is_made_and_may_vanish(tmp_path: Path) -> None:
    results = LocalResults(tmp_path / "deep" / "output")
    assert (tmp_path / "deep" / "output").is_dir()
    (tmp_path / "deep" / "output").rmdir()
    assert (results.fault(), results.changed()) == (None, [])


def test_an_impossible_output_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match="cannot be used"):
        LocalResults(tmp_path / "file" / "output")
    with pytest.raises(Refusal, match="absolute"):
        LocalResults(Path("output"))


def test_the_project_folder_is_used_where_it_lies(tmp_path: Path) -> None:
    inputs = LocalInputs(tmp_path / "fallback")
    assert inputs.prepare(HpcStart(task_dir=str(tmp_path))) == tmp_path
    assert inputs.prepare(HpcStart()) == tmp_path / "fallback"


@pytest.mark.parametrize("task_dir", ["relative", "", "Z:\\farm\\7", "/no/such/folder"])
def test_a_project_that_is_not_here_is_refused(tmp_path: Path, task_dir: str) -> None:
    with pytest.raises(Refusal, match="not visible from this machine"):
        LocalInputs(tmp_path).prepare(HpcStart(task_dir=task_dir))


def test_an_original_start_works_beside_its_first_file(tmp_path: Path) -> None:
    scene = tmp_path / "my scene.blend"
    scene.write_text("")
    argv = ["-b", "relative.blend", str(tmp_path), str(tmp_path / "none"), str(scene), os.devnull]
    assert folder_of_first_file(argv) == tmp_path
    assert folder_of_first_file(["-b", "-a"]) is None
