"""Which files an attempt has produced, and where its project comes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from renderonline.node.inputs import NodeInputs, folder_of_first_file
from renderonline.node.refusal import Refusal
from renderonline.node.results import DeskResults, FolderResults, Results, into
from renderonline.wire import HpcStart


def desk(tmp_path: Path) -> tuple[Path, DeskResults]:
    """A desk inside an output folder, as on a shared disk."""
    folder = tmp_path / "output" / ".rendering-here"
    return folder, DeskResults(folder, into(tmp_path / "output"))


def leave(results: Results) -> None:
    """Nobody writes at the same desk afterwards."""
    results.clear()
    results.vacate()


def test_what_was_written_is_changed_whether_taken_away_or_not(tmp_path: Path) -> None:
    folder, results = desk(tmp_path)
    (folder / "new").write_text("x")
    (folder / "deep").mkdir()
    (folder / "deep" / "frame.exr").write_text("x")
    assert results.deliver(folder / "new", None) is None
    assert results.changed() == [Path("deep/frame.exr"), Path("new")]


def test_a_whole_file_appears_among_the_results_and_replaces_an_older_one(tmp_path: Path) -> None:
    folder, results = desk(tmp_path)
    (tmp_path / "output" / "frame_1.png").write_text("of an earlier attempt")
    (folder / "frame_1.png").write_text("whole")
    (folder / "frame_2.png").write_text("ha")
    assert results.deliver(folder / "frame_1.png", 1) is None
    assert (tmp_path / "output" / "frame_1.png").read_text() == "whole"
    assert not (tmp_path / "output" / "frame_2.png").exists()


def test_a_frames_other_files_go_with_it(tmp_path: Path) -> None:
    """A compositor's passes, which are written before it."""
    folder, results = desk(tmp_path)
    for name in (
        "frame_0007.png",
        "mist/pass_0007.exr",
        "0007_depth.exr",
        "pass_0008.exr",
        "x.txt",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    results.deliver(folder / "frame_0007.png", 7)
    output = tmp_path / "output"
    there = {p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file()}
    assert {n for n in there if not n.startswith(".")} == {
        "frame_0007.png", "mist/pass_0007.exr", "0007_depth.exr",
    }  # fmt: skip


def test_what_is_left_of_a_success_is_a_result_and_of_a_failure_is_not(tmp_path: Path) -> None:
    folder, results = desk(tmp_path)
    (folder / "movie.mp4").write_text("whole")
    assert results.deliver_rest() is None
    leave(results)
    assert (tmp_path / "output" / "movie.mp4").read_text() == "whole"
    folder, results = desk(tmp_path)
    (folder / "half.mp4").write_text("ha")
    leave(results)
    assert [p.name for p in (tmp_path / "output").iterdir()] == ["movie.mp4"]


def test_a_desk_begins_empty(tmp_path: Path) -> None:
    folder, _ = desk(tmp_path)
    (folder / "left").write_text("by a killed renderer")
    _, results = desk(tmp_path)
    assert results.changed() == []


def test_a_desk_stays_for_the_next_attempt_without_what_lay_on_it(tmp_path: Path) -> None:
    folder, results = desk(tmp_path)
    number = folder.stat().st_ino
    results.clear()
    assert folder.stat().st_ino == number
    _, results = desk(tmp_path)
    assert folder.stat().st_ino == number
    (folder / "half").write_text("ha")
    results.clear()
    assert not folder.exists() or not list(folder.iterdir())
    _, results = desk(tmp_path)
    leave(results)
    assert list((tmp_path / "output").iterdir()) == []


def test_a_link_to_an_empty_folder_is_no_desk(tmp_path: Path) -> None:
    folder = tmp_path / "output" / ".rendering-here"
    (tmp_path / "elsewhere").mkdir()
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    desk(tmp_path)
    assert not folder.is_symlink()
    assert folder.is_dir()


def test_a_file_that_is_told_of_twice_is_taken_once(tmp_path: Path) -> None:
    folder, results = desk(tmp_path)
    (folder / "frame_1.png").write_text("x")
    assert [results.deliver(folder / "frame_1.png", 1) for _ in range(2)] == [None, None]


def test_a_file_that_was_written_elsewhere_is_none_of_ours(tmp_path: Path) -> None:
    _, results = desk(tmp_path)
    (tmp_path / "frame_1.png").write_text("x")
    assert results.deliver(tmp_path / "frame_1.png", 1) is None
    assert (tmp_path / "frame_1.png").exists()


def test_a_link_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    folder, results = desk(tmp_path)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path, target_is_directory=True)
    assert results.deliver(folder / "link", None) is None
    assert results.deliver(folder / "folder" / "secret", None) is None
    assert results.changed() == []
    assert not [p for p in (tmp_path / "output").iterdir() if p != folder]


def test_an_output_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "output").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(Refusal, match="output is a link"):
        into(tmp_path / "output")


def test_a_link_above_the_output_folder_is_none_of_the_renderers(tmp_path: Path) -> None:
    """macOS' /tmp is one, and so may be the farm's share."""
    (tmp_path / "real").mkdir()
    (tmp_path / "share").symlink_to(tmp_path / "real", target_is_directory=True)
    folder, results = desk(tmp_path / "share")
    (folder / "frame").write_text("x")
    assert (results.fault(), results.changed()) == (None, [Path("frame")])


@pytest.mark.parametrize("replaced", ["output", "."])
@pytest.mark.parametrize("target", ["elsewhere", "none", "loop"])
def test_a_desk_replaced_by_a_link_holds_no_results(
    tmp_path: Path, replaced: str, target: str
) -> None:
    for folder in (tmp_path / "elsewhere", tmp_path / "elsewhere" / "output"):
        folder.mkdir()
        (folder / "secret").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    output = tmp_path / "task" / "output"
    results = DeskResults(output, into(tmp_path / "results"))
    link = output.parent / replaced
    link.rename(tmp_path / "away")
    link.symlink_to(tmp_path / target, target_is_directory=True)
    assert "replaced its output folder" in (results.fault() or "")
    assert "replaced its output folder" in (results.deliver(output / "secret", 1) or "")
    assert results.changed() == []
    leave(results)
    assert (tmp_path / "elsewhere" / "secret").exists()


def test_a_desk_may_be_made_anew(tmp_path: Path) -> None:
    """Tools that begin by emptying their output do so."""
    folder, results = desk(tmp_path)
    folder.rmdir()
    folder.mkdir()
    (folder / "frame").write_text("x")
    assert (results.fault(), results.changed()) == (None, [Path("frame")])


def test_a_desk_may_vanish(tmp_path: Path) -> None:
    folder, results = desk(tmp_path / "deep")
    folder.rmdir()
    assert (results.fault(), results.changed(), results.deliver_rest()) == (None, [], None)


def test_an_impossible_output_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match="cannot be used"):
        into(tmp_path / "file" / "output")
    with pytest.raises(Refusal, match="cannot be used"):
        DeskResults(tmp_path / "file" / "desk", into(tmp_path / "output"))
    with pytest.raises(Refusal, match="absolute"):
        into(Path("output"))


def test_a_folder_that_a_renderer_finds_by_itself_is_compared(tmp_path: Path) -> None:
    for name in ("old", "rewritten", "replaced"):
        (tmp_path / name).write_text("before")
    results = FolderResults(tmp_path)
    (tmp_path / "rewritten").write_text("after!")  # as long as before
    (tmp_path / "new").write_text("x")
    (tmp_path / "replacement").write_text("before")
    (tmp_path / "replacement").replace(tmp_path / "replaced")
    assert results.changed() == [Path("new"), Path("replaced"), Path("rewritten")]
    leave(results)
    assert (tmp_path / "old").exists()


def test_the_project_folder_is_used_where_it_lies(tmp_path: Path) -> None:
    inputs = NodeInputs(tmp_path / "fallback")
    assert inputs.place(HpcStart(task_dir=str(tmp_path))).working_dir == tmp_path
    assert inputs.place(HpcStart()).working_dir == tmp_path / "fallback"


@pytest.mark.parametrize("task_dir", ["relative", "", "Z:\\farm\\7", "/no/such/folder"])
def test_a_project_that_is_not_here_is_refused(tmp_path: Path, task_dir: str) -> None:
    with pytest.raises(Refusal, match="not visible from this machine"):
        NodeInputs(tmp_path).place(HpcStart(task_dir=task_dir))


def test_an_original_start_works_beside_its_first_file(tmp_path: Path) -> None:
    scene = tmp_path / "my scene.blend"
    scene.write_text("")
    argv = ["-b", "relative.blend", str(tmp_path), str(tmp_path / "none"), str(scene), os.devnull]
    assert folder_of_first_file(argv) == tmp_path
    assert folder_of_first_file(["-b", "-a"]) is None
