"""What goes wrong under a split task: nodes, cables and apis that end in the middle of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from support.drawing import Drawing, Plan, draw_farm, is_alive
from support.processes import Service
from support.waiting import wait_until

pytestmark = pytest.mark.slow


def states(drawing: Drawing) -> list[str]:
    return [chunk["State"] for chunk in drawing.chunks]


def holds_nothing(node: Service) -> bool:
    """Whether the node has neither a render nor something left to tell."""
    return requests.get(f"{node.url}/hpc/status", timeout=60).json()["Tasks"] == []


# --------------------------------------------------------------------------- nodes


def test_a_killed_nodes_saved_frames_are_not_rendered_again(
    tmp_path: Path, connection_string: str
) -> None:
    """Its renderer ends with it; what it had not saved, the other one renders."""
    with draw_farm(tmp_path, "a", "b", connection_string=connection_string) as farm:
        drawing = farm.submit("1-20", Plan(held=(3, 13)), ChunkFrames=10)
        first, second = drawing.wait_for_begun(3, 13)
        drawing.wait_for_done(4)
        farm.nodes[first.who].kill()
        wait_until(lambda: not is_alive(first.pid), "its renderer has ended with it")
        wait_until(lambda: "lost" in states(drawing), "it counts as lost")
        drawing.let_go()
        drawing.assert_rendered_once()
        (lost,) = [chunk for chunk in drawing.chunks if chunk["State"] == "lost"]
        assert (lost["Frames"], lost["FramesDone"]) == ("1-10", 2)
        rest = {note.who for note in drawing.notes("saved") if note.number in range(3, 11)}
        assert rest == {second.who}
        farm.house.assert_quiet()


def test_a_node_that_is_started_again_gets_work_at_once(
    tmp_path: Path, connection_string: str
) -> None:
    """Without a poll: it says by itself that it is there, and what it had."""
    with draw_farm(tmp_path, "a", connection_string=connection_string, PollSeconds=3600) as farm:
        drawing = farm.submit("1-8", Plan(held=(4,)), ChunkFrames=8)
        (note,) = drawing.wait_for_begun(4)
        drawing.wait_for_done(3)
        farm.nodes["a"].kill()
        farm.nodes["a"].restart()
        drawing.let_go()
        drawing.assert_rendered_once()
        assert not is_alive(note.pid)
        assert states(drawing) == ["lost", "succeeded"]
        farm.house.assert_quiet()


def test_a_node_that_ends_in_good_order_gives_its_frames_back(tmp_path: Path) -> None:
    """At once: the other one need not wait until it counts as lost."""
    with draw_farm(tmp_path, "a", "b", PollSeconds=3600) as farm:
        drawing = farm.submit("1-20", Plan(held=(3, 13)), ChunkFrames=10)
        first, _ = drawing.wait_for_begun(3, 13)
        drawing.wait_for_done(4)
        farm.nodes[first.who].terminate()
        drawing.let_go()
        drawing.assert_rendered_once()
        assert set(states(drawing)) == {"interrupted", "succeeded"}
        farm.house.assert_quiet()


# --------------------------------------------------------------------------- cables


def test_a_cable_that_is_cut_for_long(tmp_path: Path, connection_string: str) -> None:
    """The frames go to the other machine; what comes late from the first one changes nothing."""
    with draw_farm(tmp_path, "a", "b", cabled=["a"], connection_string=connection_string) as farm:
        drawing = farm.submit("1-20", Plan(held=range(3, 21)), ChunkFrames=5)
        wait_until(lambda: {n.who for n in drawing.notes("begun")} == {"a", "b"}, "both are at it")
        wait_until(lambda: states(drawing) == ["running", "running"], "the api knows that")
        farm.cut("a")
        wait_until(lambda: "lost" in states(drawing), "the machine counts as lost")
        drawing.let_go()
        drawing.assert_whole()
        ended = drawing.detail
        farm.mend("a")
        wait_until(lambda: all(map(holds_nothing, farm.nodes.values())), "both have told all")
        assert drawing.detail == ended
        both = farm.submit("1-2", Plan(held=(1, 2)), ChunkFrames=1)
        both.wait_for_begun(1, 2)
        both.let_go()
        both.assert_rendered_once()
        farm.house.assert_quiet()


def test_a_cable_that_is_cut_for_a_moment(tmp_path: Path) -> None:
    """Nothing is lost, and nothing rendered twice: reports come late, and the next chunk with them."""
    with draw_farm(tmp_path, "a", cabled=["a"], PollSeconds=30) as farm:
        drawing = farm.submit("1-12", Plan(held=(3, 9)), ChunkFrames=4)
        drawing.wait_for_begun(3)
        farm.cut("a")
        drawing.let_go(3)
        wait_until(lambda: 4 in drawing.saved(), "the chunk is done, which nobody hears")
        farm.mend("a")
        drawing.let_go()
        drawing.assert_rendered_once()
        assert set(states(drawing)) == {"succeeded"}
        farm.house.assert_quiet()


# --------------------------------------------------------------------------- the api


def test_what_is_rendered_while_the_api_is_dead_counts(
    tmp_path: Path, connection_string: str
) -> None:
    with draw_farm(tmp_path, "a", "b", connection_string=connection_string) as farm:
        drawing = farm.submit("1-20", Plan(held=(3, 8, 13, 18)), ChunkFrames=5)
        drawing.wait_for_begun(3, 8)
        drawing.wait_for_done(4)
        farm.house.service.kill()
        drawing.let_go(3, 8)
        wait_until(lambda: set(range(1, 11)) <= set(drawing.saved()), "both chunks are done")
        farm.house.service.restart()
        drawing.wait_for_begun(13, 18)
        farm.house.service.kill()
        farm.house.service.restart()
        drawing.let_go()
        drawing.assert_rendered_once()
        assert states(drawing) == ["succeeded"] * 4
        farm.house.assert_quiet()


def test_api_and_node_are_killed_together(tmp_path: Path, connection_string: str) -> None:
    """What the node had told before is not rendered again; what it had only saved may be."""
    with draw_farm(tmp_path, "a", connection_string=connection_string) as farm:
        drawing = farm.submit("1-10", Plan(held=(4,)), ChunkFrames=10)
        drawing.wait_for_begun(4)
        drawing.wait_for_done(3)
        farm.house.service.kill()
        farm.nodes["a"].kill()
        farm.nodes["a"].restart()
        farm.house.service.restart()
        drawing.let_go()
        drawing.assert_rendered_once()
        farm.house.assert_quiet()
