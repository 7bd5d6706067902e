"""Renders that fail, hang or eat memory, on a farm of real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.drawing import DrawFarm, Drawing, Plan, draw_farm, is_alive
from support.waiting import wait_until

from renderonline.frames import FrameSet

pytestmark = pytest.mark.slow

PATIENCE_S = 5.0
"""A limit that a renderer which works keeps on any machine: it starts and prints within it."""

EATEN_BYTES = 400 << 20


def ends(drawing: Drawing, state: str = "failed") -> list[dict[str, Any]]:
    return [chunk for chunk in drawing.chunks if chunk["State"] == state]


# --------------------------------------------------------------------------- a machine's fault


def test_a_chunk_that_fails_on_one_machine_only(tmp_path: Path, connection_string: str) -> None:
    """Others render it; a machine that fails everything gets no more work until it is forgiven."""
    with draw_farm(tmp_path, "bad", "good", connection_string=connection_string) as farm:
        for failures in (2, 2, 1):
            fail_on(farm, "bad", failures)
        benched = farm.machine("bad")
        assert (benched["State"], farm.machine("good")["State"]) == ("benched", "enabled")
        assert "5 attempts in a row" in benched["Reason"]
        fail_on(farm, "bad", 0)
        number = farm.machine_ids["bad"]
        admin = farm.house.people["admin"]
        answer = farm.house.request("POST", f"machines/{number}/forgive", admin)
        assert answer.status_code == 200, answer.text
        both = farm.submit("1-2", Plan(held=(1, 2)), ChunkFrames=1)
        assert {note.who for note in both.wait_for_begun(1, 2)} == {"bad", "good"}
        both.let_go()
        both.assert_rendered_once()
        farm.house.assert_quiet()


def fail_on(farm: DrawFarm, name: str, times: int) -> None:
    """A task that this machine cannot render, and fails so often before others are through."""
    drawing = farm.submit("1-4", Plan(fails_on=[name], held=range(1, 5)), ChunkFrames=2)
    wait_until(lambda: len(ends(drawing)) == times, f"{name} has failed {times} times")
    assert {chunk["Cause"] for chunk in ends(drawing)} <= {"machine"}
    assert {chunk["MachineId"] for chunk in ends(drawing)} <= {farm.machine_ids[name]}
    drawing.let_go()
    drawing.assert_rendered_once()
    assert len(ends(drawing)) == times, "it is not tried again where it failed"


def test_on_a_farm_of_one_a_retry_saves_the_task(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a") as farm:
        drawing = farm.submit("1-6", Plan(fails_at=(2, 4), goes_wrong_once=True), ChunkFrames=3)
        drawing.assert_rendered_once()
        assert len(ends(drawing)) == 2


# --------------------------------------------------------------------------- one bad frame


@pytest.mark.parametrize(("frames", "bad"), [("1-10", 7), ("-13-5x2", -5)])
def test_one_bad_frame_costs_no_other(
    tmp_path: Path, connection_string: str, frames: str, bad: int
) -> None:
    """The others come; it is named; and it comes, too, once the cause is mended."""
    every = set(FrameSet.parse(frames))
    with draw_farm(tmp_path, "a", "b", connection_string=connection_string, Retries=1) as farm:
        drawing = farm.submit(frames, Plan(fails_at=(bad,)), ChunkFrames=5)
        task = drawing.wait_for("failed")
        assert (task["FramesDone"], task["FramesFailed"]) == (9, 1)
        assert task["Cause"].startswith(f"Frame {bad} could not be rendered; the others are there.")
        assert "this cannot be drawn" in task["Cause"]
        assert set(drawing.saved()) == every - {bad}
        assert len(drawing.notes("failed")) == 2
        drawing.mend()
        answer = farm.house.request("POST", f"tasks/{drawing.task_id}/requeue", json={})
        assert answer.status_code == 200, answer.text
        drawing.assert_rendered_once()
        farm.house.assert_quiet()


def test_a_renderer_that_can_nothing_is_not_tried_with_every_frame(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a", "b", Retries=0) as farm:
        drawing = farm.submit("1-100", Plan(fails_at=range(1, 101)), ChunkFrames=1)
        task = drawing.wait_for("failed")
        assert (task["FramesDone"], task["FramesFailed"]) == (0, 100)
        assert len(drawing.chunks) < 10


# --------------------------------------------------------------------------- hangs


@pytest.mark.parametrize("of_engine", [True, False], ids=["engine's limit", "task's limit"])
def test_a_render_that_hangs_is_ended_with_its_tree_and_tried_again(
    tmp_path: Path, of_engine: bool
) -> None:
    engine = {"silence_limit": PATIENCE_S} if of_engine else {}
    limits = {} if of_engine else {"Limits": {"SilenceSeconds": PATIENCE_S}}
    with draw_farm(tmp_path, "a", engine=engine) as farm:
        plan = Plan(hangs_at=(3,), goes_wrong_once=True)
        drawing = farm.submit("1-5", plan, ChunkFrames=5, **limits)
        (hung,) = drawing.wait_for_begun(3)
        drawing.assert_rendered_once()
        (failed,) = ends(drawing)
        assert failed["Cause"] == "timeout"
        assert "printed nothing" in failed["Message"]
        (child,) = drawing.notes("child")
        assert not is_alive(hung.pid)
        assert not is_alive(child.number)


def test_a_frame_that_always_hangs_is_given_up(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a", Retries=0) as farm:
        limits = {"SilenceSeconds": PATIENCE_S}
        drawing = farm.submit("1-3", Plan(hangs_at=(2,)), ChunkFrames=3, Limits=limits)
        task = drawing.wait_for("failed")
        assert task["Cause"].startswith("Frame 2 could not be rendered; the others are there.")
        assert drawing.saved() == {1: 1, 3: 1}


# --------------------------------------------------------------------------- memory


def test_a_render_that_eats_memory_is_ended_and_tried_again(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a") as farm:
        plan = Plan(eats_at=(3,), eats_bytes=EATEN_BYTES, goes_wrong_once=True)
        limits = {"MemoryBytes": EATEN_BYTES // 2}
        drawing = farm.submit("1-5", plan, ChunkFrames=5, Limits=limits)
        drawing.assert_rendered_once()
        (failed,) = ends(drawing)
        assert failed["Cause"] == "machine"
        assert "200 MiB are allowed" in failed["Message"]
