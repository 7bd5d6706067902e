"""Nodes that see nothing of the api's disk, and what goes wrong between them: kills in the middle of
each transfer, outages, half frames, full disks, wrong clocks. Nothing that was saved is lost, nothing
is seen half, and what was whole is not sent again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from cli.certificates import make_certificate
from PIL import Image
from support.drawing import DrawFarm, Drawing, Plan, draw_farm, free_port, is_alive
from support.processes import ROOT, Service
from support.valve import Valve, valve
from support.waiting import wait_until

pytestmark = pytest.mark.slow

MB = 1_000_000
SLACK_BYTES = 200_000
"""Reports, answers, manifests."""


@contextmanager
def valved_farm(folder: Path, *nodes: str, **more: Any) -> Iterator[tuple[DrawFarm, Valve]]:
    """A farm whose nodes reach the api through a valve. The api reaches them as ever."""
    with ExitStack() as stack:
        laid: list[Valve] = []

        def public(port: int) -> str:
            laid.append(stack.enter_context(valve(port)))
            return laid[0].url

        farm = stack.enter_context(draw_farm(folder, *nodes, apart=True, public=public, **more))
        yield farm, laid[0]


def returns_of(node: Service) -> list[Path]:
    """The results that a node has still to send."""
    return list((node.config.parent / "data" / "returns").glob("*.file"))


def states(drawing: Drawing) -> list[str]:
    return [chunk["State"] for chunk in drawing.chunks]


def drawn(drawing: Drawing) -> dict[str, str]:
    """Each frame among the results by its name, and who has drawn it. Fails where one is not whole."""
    found = {}
    for file in (drawing.folder / "output").glob("*.png"):
        with Image.open(file) as image:
            image.load()
        found[file.name] = file.read_bytes().rsplit(b"teXt", 1)[1].split(b" ")[0].decode()
    return found


def assert_as_if_nothing_had_been(farm: DrawFarm, drawing: Drawing) -> None:
    """Every frame is there, whole, and no node holds anything back."""
    drawing.assert_whole()
    assert len(drawn(drawing)) == drawing.task["FramesDone"]
    wait_until(lambda: not any(map(returns_of, farm.nodes.values())), "all has been sent")
    assert not list((farm.house.data / "incoming").iterdir())
    farm.house.assert_quiet()
    for node in farm.nodes.values():
        assert "Traceback" not in node.stderr, node.stderr[-6000:]


# --------------------------------------------------------------------------- kills


@pytest.mark.parametrize("who", ["node", "api", "node in good order"])
def test_one_ends_while_a_project_is_fetched(tmp_path: Path, who: str) -> None:
    """The fetch goes on where it was."""
    with valved_farm(tmp_path, "a") as (farm, between):
        between.received.hold_after(5 * MB)
        drawing = farm.submit("1-3", Plan(project_bytes=8 * MB), ChunkFrames=3)
        between.wait_until_it_holds()
        ended = farm.house.service if who == "api" else farm.nodes["a"]
        if who == "node in good order":
            assert ended.terminate() == 0
        else:
            ended.kill()
        before = between.received.bytes
        between.open()
        ended.restart()
        drawing.assert_rendered_once()
        again = between.received.bytes - before
        assert again < 3 * MB + MB + SLACK_BYTES, "what had come, but for the last piece, stayed"
        assert_as_if_nothing_had_been(farm, drawing)


@pytest.mark.parametrize("who", ["node", "api"])
def test_one_is_killed_while_frames_are_sent(tmp_path: Path, who: str) -> None:
    """Four frames are saved, one and a half have arrived. None is rendered again, none is missing."""
    with valved_farm(tmp_path, "a") as (farm, between):
        between.sent.hold_after(3 * MB)
        drawing = farm.submit("1-6", Plan(frame_bytes=2 * MB, held=(5,)), ChunkFrames=6)
        drawing.wait_for_begun(5)
        between.wait_until_it_holds()
        wait_until(lambda: len(returns_of(farm.nodes["a"])) == 3, "three are to be sent")
        assert set(drawn(drawing)) <= {"frame_0001.png"}
        ended = farm.house.service if who == "api" else farm.nodes["a"]
        ended.kill()
        between.open()
        ended.restart()
        drawing.let_go()
        assert_as_if_nothing_had_been(farm, drawing)
        assert drawing.saved() == dict.fromkeys(range(1, 7), 1)
        if who == "api":
            assert states(drawing) == ["succeeded"]


def test_both_are_killed_while_frames_are_sent(tmp_path: Path, connection_string: str) -> None:
    options = {"connection_string": connection_string}
    with valved_farm(tmp_path, "a", **options) as (farm, between):
        between.sent.hold_after(3 * MB)
        drawing = farm.submit("1-6", Plan(frame_bytes=2 * MB, held=(5,)), ChunkFrames=6)
        drawing.wait_for_begun(5)
        between.wait_until_it_holds()
        wait_until(lambda: len(returns_of(farm.nodes["a"])) == 3, "three are to be sent")
        farm.house.service.kill()
        farm.nodes["a"].kill()
        between.open()
        farm.nodes["a"].restart()
        farm.house.service.restart()
        drawing.let_go()
        assert_as_if_nothing_had_been(farm, drawing)
        assert drawing.saved() == dict.fromkeys(range(1, 7), 1)


def test_a_node_is_killed_again_and_again(tmp_path: Path) -> None:
    """At other moments each time; the other one helps. Whatever comes of it, the task does."""
    with draw_farm(tmp_path, "a", "b", apart=True) as farm:
        plan = Plan(frame_bytes=MB, project_bytes=4 * MB, frame_s={"": 0.05})
        drawing = farm.submit("1-60", plan, ChunkFrames=6)
        for done in (1, 9, 20, 31, 45):
            drawing.wait_for_done(done)
            farm.nodes["a"].kill()
            farm.nodes["a"].restart()
        assert_as_if_nothing_had_been(farm, drawing)
        twice = [frame for frame, times in drawing.saved().items() if times > 1]
        assert len(twice) <= 5 + 5, (
            "at most the one that it was at; and a tail that was helped with"
        )


# --------------------------------------------------------------------------- outages


def test_frames_that_are_saved_while_the_api_is_away_come_back(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a", "b", apart=True) as farm:
        drawing = farm.submit("1-12", Plan(held=(2, 8), frame_bytes=MB), ChunkFrames=6)
        drawing.wait_for_begun(2, 8)
        drawing.wait_for_done(2)
        farm.house.service.kill()
        drawing.let_go()
        wait_until(lambda: len(drawing.saved()) == 12, "all is rendered")
        farm.house.service.restart()
        assert_as_if_nothing_had_been(farm, drawing)
        first, second, *helpers = states(drawing)
        assert (first, second) == ("succeeded", "succeeded")
        # Who has sent all may help with frames of which the api does not know yet.
        assert set(helpers) <= {"interrupted"}
        assert helpers or drawing.saved() == dict.fromkeys(range(1, 13), 1)


@pytest.mark.parametrize("is_killed", [False, True], ids=["node stays", "node is killed"])
def test_a_certificate_that_is_renewed_loses_nothing(tmp_path: Path, is_killed: bool) -> None:
    """What a node holds for its api was promised to the old one, and no start will come before that
    has arrived."""
    files = make_certificate(tmp_path / "tls", "127.0.0.1")
    paths = {
        "FullchainPemPath": str(files.fullchain_pem_path),
        "PrivPemPath": str(files.priv_pem_path),
    }
    settings = {"Certificate": paths, "Port": str(free_port())}
    with draw_farm(tmp_path, "a", apart=True, **settings) as farm:
        farm.house.certificate = files.fullchain_pem_path
        drawing = farm.submit("1-6", Plan(held=(3,), frame_bytes=MB), ChunkFrames=6)
        drawing.wait_for_begun(3)
        drawing.wait_for_done(2)
        farm.house.service.kill()
        drawing.let_go()
        wait_until(lambda: len(returns_of(farm.nodes["a"])) == 4, "four wait for it")
        make_certificate(tmp_path / "tls", "127.0.0.1")
        if is_killed:
            farm.nodes["a"].kill()
            farm.nodes["a"].restart()
        farm.house.service.restart()
        assert_as_if_nothing_had_been(farm, drawing)
        assert drawing.saved() == dict.fromkeys(range(1, 7), 1)


def test_what_comes_late_changes_nothing(tmp_path: Path) -> None:
    """A machine that was cut off has frames to send which another one has rendered meanwhile."""
    with draw_farm(tmp_path, "a", "b", apart=True, cabled=["a"]) as farm:
        drawing = farm.submit("1-10", Plan(held=range(1, 11)), ChunkFrames=5)
        wait_until(lambda: {n.who for n in drawing.notes("begun")} == {"a", "b"}, "both are at it")
        wait_until(lambda: states(drawing) == ["running", "running"], "the api knows that")
        farm.cut("a")
        wait_until(lambda: "lost" in states(drawing), "the machine counts as lost")
        (lost,) = [chunk for chunk in drawing.chunks if chunk["State"] == "lost"]
        drawing.let_go()
        wait_until(lambda: returns_of(farm.nodes["a"]), "the lost one has frames to send")
        farm.cables["api"].mend()  # also the other one reaches the api by it
        drawing.assert_whole()
        ended, frames = drawing.detail, drawn(drawing)
        assert set(frames.values()) == {"b"}, (lost, frames)
        farm.cables["a"].mend()
        assert_as_if_nothing_had_been(farm, drawing)
        assert (drawing.detail, drawn(drawing)) == (ended, frames)


# --------------------------------------------------------------------------- half frames, full disks


def test_half_a_frame_is_never_seen(tmp_path: Path) -> None:
    with draw_farm(tmp_path, "a", apart=True) as farm:
        drawing = farm.submit("1-4", Plan(half_at=(3,), frame_bytes=MB, held=(4,)), ChunkFrames=4)
        seen: set[str] = set()

        def is_at_the_fourth() -> bool:
            seen.update(drawn(drawing))  # all that are there are whole
            return any(note.number == 4 for note in drawing.notes("begun"))

        wait_until(is_at_the_fourth, "the fourth is rendered", every_s=0.005)
        assert [note.number for note in drawing.notes("half")] == [3]
        drawing.let_go()
        assert_as_if_nothing_had_been(farm, drawing)
        assert drawing.saved() == dict.fromkeys(range(1, 5), 1)
        assert states(drawing) == ["failed", "succeeded"]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    subprocess.run(["mount", *options], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_project_that_a_node_has_no_room_for_goes_to_the_other(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "4m") as disk:
        tight = {"a": {"DataPath": str(disk)}}
        with draw_farm(tmp_path, "a", "b", apart=True, node_settings=tight) as farm:
            plan = Plan(project_bytes=8 * MB, held=range(1, 5))
            drawing = farm.submit("1-4", plan, ChunkFrames=2)
            wait_until(lambda: "failed" in states(drawing), "it does not fit")
            chunk = next(chunk for chunk in drawing.chunks if chunk["State"] == "failed")
            assert chunk["Cause"] == "machine"
            assert "no room for the project" in chunk["Message"]
            told = requests.get(f"{farm.nodes['a'].url}/hpc/status", timeout=60).json()["Task"]
            assert told["Reason"] == "disk_full"
            drawing.let_go()
            drawing.assert_whole()
            assert set(drawn(drawing).values()) == {"b"}


def test_frames_that_a_node_has_no_room_for_go_to_the_other(tmp_path: Path) -> None:
    """And to the same one, once those before have been sent, without a restart."""
    with small_disk(tmp_path / "small", "9m") as disk:
        tight = {"a": {"DataPath": str(disk)}}
        with valved_farm(tmp_path, "a", node_settings=tight) as (farm, between):
            between.sent.hold_after(MB)
            drawing = farm.submit("1-8", Plan(frame_bytes=2 * MB, frame_s={"": 0.4}), ChunkFrames=8)
            wait_until(lambda: drawing.notes("begun")[3:], "the fourth or fifth has no room")
            wait_until(lambda: not is_alive(drawing.notes("begun")[-1].pid), "it gives up")
            assert len(drawing.saved()) < 8
            told = len(list((disk / "returns").glob("*.file")))
            assert told >= 2
            between.open()
            assert_as_if_nothing_had_been(farm, drawing)
            assert list(drawing.saved().values()).count(1) >= told


def test_frames_wait_while_the_server_has_no_room(tmp_path: Path) -> None:
    """Whoever waits for the task is told so."""
    with (
        small_disk(tmp_path / "data", "60m") as disk,
        draw_farm(tmp_path, "a", apart=True, DiskFloorBytes=20 * MB) as farm,
    ):
        drawing = farm.submit("1-4", Plan(frame_bytes=2 * MB, held=(2,)), ChunkFrames=4)
        drawing.wait_for_done(1)
        filler = disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - 9 * MB))
        drawing.let_go()
        wait_until(lambda: len(returns_of(farm.nodes["a"])) == 3, "three wait")
        wait_until(lambda: drawing.detail["Warnings"], "it is told")
        (told,) = drawing.detail["Warnings"]
        assert told.startswith("Results wait on a machine. The server's disk is full.")
        assert drawing.task["FramesDone"] == 1
        filler.unlink()
        assert_as_if_nothing_had_been(farm, drawing)
        assert drawing.saved() == dict.fromkeys(range(1, 5), 1)


# --------------------------------------------------------------------------- clocks


CLOCK = """
import datetime, time
now, now_ns = time.time, time.time_ns
time.time = lambda: now() + SHIFT_S
time.time_ns = lambda: now_ns() + SHIFT_S * 10**9

class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

datetime.datetime = Shifted
"""


def clock(folder: Path, shift_s: int) -> dict[str, str]:
    """An environment in which a program of ours believes that it is another day."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK.replace("SHIFT_S", str(shift_s)))
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def test_clocks_that_are_a_day_apart(tmp_path: Path) -> None:
    day_s = 24 * 3600
    tomorrow = datetime.now() + timedelta(days=1)
    clocks = {"a": clock(tmp_path / "ahead", day_s), "b": clock(tmp_path / "behind", -day_s)}
    with draw_farm(tmp_path, "a", "b", apart=True, environments=clocks) as farm:
        drawing = farm.submit("1-12", Plan(frame_bytes=MB, held=(2, 8)), ChunkFrames=6)
        drawing.wait_for_begun(2, 8)
        drawing.wait_for_done(2)
        for node in farm.nodes.values():
            node.kill()
            node.restart()
        drawing.let_go()
        assert_as_if_nothing_had_been(farm, drawing)
        assert drawing.saved() == dict.fromkeys(range(1, 13), 1)
        assert set(drawn(drawing).values()) == {"a", "b"}
        assert f"{tomorrow:%Y-%m-%d} " in farm.nodes["a"].stderr, "its clock is another one"
        for chunk in drawing.chunks:  # by the api's clock alone
            assert chunk["StartedAt"] is None or chunk["StartedAt"] <= chunk["EndedAt"], chunk
