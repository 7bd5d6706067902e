"""Who gets the next machine, and what of a task: on a farm of real processes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from support.drawing import Drawing, Plan, draw_farm, is_alive
from support.original_node import original_node
from support.waiting import wait_until

from renderonline.frames import FrameSet

pytestmark = pytest.mark.slow

FOREVER_S = 600.0

LINES = "draw $RENDERONLINE:@uploaded_file -o $RENDERONLINE:@output_dir/frame_#### "
FRAMELESS = {
    "adapter": "generic",
    "render_argument": LINES + "-s $RENDERONLINE:start_frame -e $RENDERONLINE:end_frame",
}
"""The engine as one of which nothing is known but its command line."""


def attempt_ids(drawing: Drawing) -> list[int]:
    """In the order in which machines got them, over all tasks."""
    return [chunk["AttemptId"] for chunk in drawing.chunks]


# --------------------------------------------------------------------------- frames


def test_each_frame_is_rendered_once_by_two_nodes(tmp_path: Path, connection_string: str) -> None:
    """Which both take part, in the sizes that the farm chooses."""
    with draw_farm(tmp_path, "a", "b", connection_string=connection_string) as farm:
        drawing = farm.submit("1-40", Plan(held=range(1, 5), frame_s={"": 0.02}))
        wait_until(lambda: {n.who for n in drawing.notes("begun")} == {"a", "b"}, "both are at it")
        drawing.let_go()
        drawing.assert_rendered_once()
        farm.house.assert_quiet()


def test_frames_with_gaps(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a", "b") as farm:
        drawing = farm.submit("1-9x2,20", Plan(held=(1, 5)), ChunkFrames=2)
        drawing.wait_for_begun(1, 5)
        drawing.let_go()
        drawing.assert_rendered_once()
        assert {"1,3", "5,7", "9,20"} <= {chunk["Frames"] for chunk in drawing.chunks}


STEPPED = {
    **FRAMELESS,
    "render_argument": f"{FRAMELESS['render_argument']} -j $RENDERONLINE:frame_step",
}
"""One whose command line has a place for the step."""


@pytest.mark.parametrize("engine", [{}, STEPPED], ids=["blender", "stepped"])
def test_negative_frames(tmp_path: Path, engine: dict[str, str], connection_string: str) -> None:
    with draw_farm(tmp_path, "a", "b", engine=engine, connection_string=connection_string) as farm:
        for frames, parts in {
            "-7-1": {"-7--5", "-4--2", "-1-1"},
            "-9--1x2,3": {"-9--5x2", "-3,-1", "3"},
        }.items():
            drawing = farm.submit(frames, ChunkFrames=3)
            drawing.assert_rendered_once()
            assert parts <= {chunk["Frames"] for chunk in drawing.chunks}


def test_an_engine_without_a_place_for_the_step_gets_frame_after_frame(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a", "b", engine=FRAMELESS) as farm:
        drawing = farm.submit("-9--1x2,3-5", ChunkFrames=3)
        drawing.assert_rendered_once()
        assert sorted(chunk["Frames"] for chunk in drawing.chunks) == [
            *("-1", "-3", "-5", "-7", "-9", "3-5"),
        ]


def test_preview_frames_come_first(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a") as farm:
        drawing = farm.submit("1-9", PreviewFirst=True)
        drawing.assert_rendered_once()
        assert [note.number for note in drawing.notes("saved")][:3] == [1, 5, 9]


# --------------------------------------------------------------------------- the last frames


@pytest.mark.parametrize("frames", ["1-12", "-9-13x2"])
def test_the_fast_machine_takes_over_from_the_slow_one(
    tmp_path: Path, connection_string: str, frames: str
) -> None:
    """Which would never come to an end; it is stopped."""
    with draw_farm(tmp_path, "slow", "fast", connection_string=connection_string) as farm:
        plan = Plan(held=list(FrameSet.parse(frames)), frame_s={"slow": FOREVER_S})
        drawing = farm.submit(frames, plan)
        wait_until(
            lambda: {note.who for note in drawing.notes("begun")} == {"slow", "fast"},
            "both are at it",
        )
        (slow,) = [note for note in drawing.notes("begun") if note.who == "slow"]
        drawing.let_go()
        drawing.assert_rendered_once()
        assert {note.who for note in drawing.notes("saved")} == {"fast"}
        wait_until(lambda: not is_alive(slow.pid), "the slow one has been stopped")
        states = {chunk["MachineId"]: chunk["State"] for chunk in drawing.chunks}
        assert states[farm.machine_ids["slow"]] == "interrupted"
        farm.house.assert_quiet()


# --------------------------------------------------------------------------- who is next


def test_a_single_task_does_not_wait_for_fifty(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a", "b") as farm:
        many = [farm.submit("1", Plan(held=(1,))) for _ in range(50)]
        for drawing in many[:2]:
            drawing.wait_for_begun(1)
        single = farm.submit("1", who=farm.house.people["other"])
        for drawing in many:
            drawing.let_go()
        single.assert_rendered_once()
        assert attempt_ids(single) == [3]
        for drawing in many:
            drawing.assert_rendered_once()


def test_a_higher_priority_gets_the_next_machine(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a") as farm:
        usual = farm.submit("1-4", Plan(held=(1,)), ChunkFrames=1)
        usual.wait_for_begun(1)
        urgent = farm.submit("1-4", ChunkFrames=1, Priority=80)
        usual.let_go()
        urgent.assert_rendered_once()
        usual.assert_rendered_once()
        assert attempt_ids(usual)[0] < min(attempt_ids(urgent))
        assert max(attempt_ids(urgent)) < attempt_ids(usual)[1]


def test_licences_for_one_machine_are_never_used_by_two(
    tmp_path: Path, connection_string: str
) -> None:
    with draw_farm(
        tmp_path, "a", "b", "c", connection_string=connection_string, engine={"machine_limit": 1}
    ) as farm:
        drawing = farm.submit("1-12", Plan(frame_s={"": 0.02}), ChunkFrames=1)
        drawing.assert_rendered_once()
        words = [note.word for note in drawing.notes("begun", "saved")]
        assert words == ["begun", "saved"] * 12
        farm.house.assert_quiet()


def test_a_tasks_own_limit_of_machines(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a", "b", "c") as farm:
        drawing = farm.submit("1-12", Plan(frame_s={"": 0.02}), ChunkFrames=1, MachineLimit=1)
        drawing.assert_rendered_once()
        assert [n.word for n in drawing.notes("begun", "saved")] == ["begun", "saved"] * 12


def test_tags_choose_the_machine(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "plain", "big", node_settings={"big": {"Tags": ["gpu"]}}) as farm:
        drawing = farm.submit("1-6", Tags=["gpu"], ChunkFrames=1)
        drawing.assert_rendered_once()
        assert {note.who for note in drawing.notes("saved")} == {"big"}
        nobody = farm.submit("1", Tags=["submarine"])
        wait_until(lambda: nobody.detail["Warnings"], "it is said why nobody renders it")
        assert "submarine" in nobody.detail["Warnings"][0]


def test_a_task_waits_for_its_moment(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a") as farm:
        moment = datetime.now(UTC) + timedelta(seconds=3)
        later = farm.submit("1-2", StartAt=moment.isoformat())
        farm.submit("1-2").assert_rendered_once()
        later.assert_rendered_once()
        assert datetime.fromisoformat(later.chunks[0]["StartedAt"]) >= moment


def test_a_task_waits_for_another_one(tmp_path: Path) -> None:
    """Also where a machine has nothing else to do."""
    with draw_farm(tmp_path, "a", "b") as farm:
        first = farm.submit("1", Plan(held=(1,)))
        second = farm.submit("1-2", After=[first.task_id])
        first.wait_for_begun(1)
        farm.submit("1-2").assert_rendered_once()
        assert second.chunks == []
        assert f"waits for task {first.task_id}" in second.detail["Warnings"][0]
        first.let_go()
        first.assert_whole()
        second.assert_rendered_once()


# --------------------------------------------------------------------------- the original's machine


def last(words: Sequence[str], flag: str) -> int:
    """An option's value as Blender has it in the end: a negative one is counted from the 0 before it."""
    return [int(value) for word, value in pairwise(words) if word == flag][-1]


@pytest.mark.parametrize("frames", ["1-12", "-8-14x2"])
def test_the_originals_node_takes_part(tmp_path: Path, connection_string: str, frames: str) -> None:
    """It gets command lines that are whole by themselves, and says no more than that it is done."""
    every = list(FrameSet.parse(frames))
    with original_node(["draw"]) as node:
        ports = {"original": node.port}
        with draw_farm(tmp_path, "ours", others=ports, connection_string=connection_string) as farm:
            drawing = farm.submit(frames, Plan(held=(every[0], every[4])), ChunkFrames=4)
            start = wait_until(lambda: node.starts and node.starts[0], "it gets a part")
            words = start["arguments"].split()
            theirs = range(last(words, "-s"), last(words, "-e") + 1, last(words, "-j"))
            assert list(FrameSet.parse(start["frames"])) == list(theirs)
            assert len(theirs) == 4
            drawing.let_go()
            wait_until(lambda: len(drawing.saved()) == 8, "ours has rendered the rest")
            node.finish()
            task = drawing.wait_for("succeeded")
            assert (task["FramesDone"], len(node.starts)) == (12, 1)
            assert drawing.saved() == {frame: 1 for frame in every if frame not in theirs}
            farm.house.assert_quiet()
