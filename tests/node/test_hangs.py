"""When the node ends a render by itself: the decision as a table, and real renders that hang."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

from renderonline.config import EngineSetting
from renderonline.node import hangs, memory, watch
from renderonline.node.app import NodeApp
from renderonline.node.hangs import GIB, MIB, Memory, breach
from renderonline.node.record import Sight
from renderonline.wire import Cause, Limits, Reason

from .fake_api import ListeningApi
from .hand_clock import HandClock
from .remote import Json, Remote, ours
from .renderers import BLENDER, TREE, family, is_alive, write_script

PLENTY = Memory(16 * GIB, 12 * GIB)
NOW = 1000.0

STARTING = Sight(began_at=900, line_at=990)
RENDERING = Sight(began_at=500, line_at=990, sign_at=600, gain_at=950, tells_frames=True)
SAVING = dataclasses.replace(RENDERING, frame_at=800)
MUTE = Sight(began_at=500, line_at=990, sign_at=600, gain_at=950)  # tells no frames


@pytest.mark.parametrize(
    ("limits", "sight", "what"),
    [
        ({}, STARTING, None),
        ({}, SAVING, None),
        ({"silence_seconds": 10}, STARTING, None),  # to the second is not above
        ({"silence_seconds": 9.5}, STARTING, "printed nothing for 10 s, where 9.5 s are allowed"),
        ({"silence_seconds": 9}, SAVING, "printed nothing for 10 s, where 9 s are allowed"),
        ({"start_seconds": 100}, STARTING, None),
        ({"start_seconds": 99}, STARTING, "no sign of having begun for 100 s"),
        ({"start_seconds": 1}, RENDERING, None),
        ({"progress_seconds": 100}, STARTING, None),
        ({"progress_seconds": 99}, STARTING, "made no progress for 100 s"),
        ({"progress_seconds": 99, "start_seconds": 200}, STARTING, None),  # loading a large scene
        ({"progress_seconds": 50}, RENDERING, None),
        ({"progress_seconds": 49}, RENDERING, "made no progress for 50 s"),
        ({"frame_seconds": 1}, STARTING, None),
        ({"frame_seconds": 400}, RENDERING, None),
        ({"frame_seconds": 399}, RENDERING, "finished no frame for 400 s"),  # the first
        ({"frame_seconds": 200}, SAVING, None),
        ({"frame_seconds": 199}, SAVING, "finished no frame for 200 s"),
        ({"frame_seconds": 1}, MUTE, None),
    ],
)
def test_hangs(limits: dict[str, float], sight: Sight, what: str | None) -> None:
    verdict = breach(Limits(**limits), sight, PLENTY, NOW)
    if what is None:
        assert verdict is None
        return
    assert verdict is not None
    assert (verdict.is_success, verdict.cause, verdict.reason) == (False, Cause.TIMEOUT, None)
    assert what in (verdict.message or "")


@pytest.mark.parametrize(
    ("limit", "used", "memory", "what"),
    [
        (None, 4 * GIB, PLENTY, None),
        (4 * GIB, 4 * GIB, PLENTY, None),
        (4 * GIB, 4 * GIB + 1, PLENTY, "used 4.0 GiB of memory, where 4.0 GiB are allowed"),
        (4 * GIB, None, PLENTY, None),
        (None, 4 * GIB, Memory(16 * GIB, 300 * MIB, GIB), "300 MiB of 16.0 GiB were left"),
        (None, 4 * GIB, Memory(16 * GIB, 300 * MIB, 5 * GIB), None),  # somebody else's fault
        (None, None, Memory(16 * GIB, 0, 0), None),
        (None, 4 * GIB, Memory(16 * GIB, 328 * MIB, GIB), None),  # 2 % of it
        (None, GIB, Memory(2 * GIB, 199 * MIB, 0), "199 MiB of 2.0 GiB were left"),
        (None, GIB, Memory(2 * GIB, 200 * MIB, 0), None),
        (None, GIB, Memory(512 * GIB, 2 * GIB, 0), None),  # not 2 % of that
        (None, 15 * GIB, Memory(16 * GIB, GIB), "used 15.0 GiB of the machine's 16.0 GiB"),
        (None, 15 * GIB, Memory(16 * GIB, 2 * GIB), None),  # counted twice what is shared
        (None, 14 * GIB, Memory(16 * GIB, GIB), None),
        (None, 20 * GIB, Memory(16 * GIB, GIB), "1.0 GiB were left"),  # it lives in the swap
        (None, 15 * GIB, Memory(16 * GIB, GIB, allowed_bytes=15 * GIB), None),
        (None, 5 * GIB, Memory(16 * GIB, 9 * GIB, allowed_bytes=4 * GIB), "(RenderMemoryBytes)"),
        (GIB, 5 * GIB, Memory(16 * GIB, 9 * GIB, allowed_bytes=4 * GIB), "where 1.0 GiB are"),
    ],
)
def test_memory(limit: int | None, used: int | None, memory: Memory, what: str | None) -> None:
    sight = dataclasses.replace(SAVING, memory_bytes=used)
    verdict = breach(Limits(memory_bytes=limit), sight, memory, NOW)
    if what is None:
        assert verdict is None
        return
    assert verdict is not None
    assert (verdict.cause, verdict.reason) == (Cause.MACHINE, Reason.OUT_OF_MEMORY)
    assert what in (verdict.message or "")


@pytest.mark.parametrize(
    ("grown", "over_s", "available", "pause_s"),
    [
        (0, 1.0, 8 * GIB, 1.0),
        (-GIB, 1.0, GIB, 1.0),  # it gives some back
        (GIB, 1.0, 8 * GIB, 1.0),
        (GIB, 1.0, GIB + 320 * MIB, 0.5),  # a second is left; the floor is at 320 MiB
        (GIB, 0.5, GIB + 320 * MIB, 0.25),
        (GIB, 1.0, 330 * MIB, hangs.SOONEST_S),
        (GIB, 1.0, 0, hangs.SOONEST_S),
        (GIB, 0.0, GIB, 1.0),  # a clock that stands still
    ],
)
def test_who_grows_fast_is_looked_at_soon(
    grown: int, over_s: float, available: int, pause_s: float
) -> None:
    machine = Memory(16000 * MIB, available)
    assert hangs.pause_s(grown, over_s, machine, 1.0) == pytest.approx(pause_s)


def test_memory_comes_before_hangs() -> None:
    """A machine that swaps makes no progress, and that is not the scene's fault."""
    sight = dataclasses.replace(SAVING, memory_bytes=GIB)
    verdict = breach(Limits(silence_seconds=1, memory_bytes=MIB), sight, PLENTY, NOW)
    assert verdict is not None
    assert verdict.reason is Reason.OUT_OF_MEMORY


# ------------------------------------------------------------------ real renders


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch looks more often, so that the limits here can be short."""
    monkeypatch.setattr(watch, "LOOK_S", 0.1)


CHATTER = "import time\nwhile True: print('still here', flush=True); time.sleep(0.05)"
HOG = "import time; hog = bytearray(300 * 2**20); print('full', flush=True); time.sleep(600)"


@pytest.mark.parametrize(
    ("code", "limits", "what"),
    [
        ("import time; print('x', flush=True); time.sleep(600)", {"SilenceSeconds": 0.5}, "printed nothing"),
        (CHATTER, {"StartSeconds": 0.5, "SilenceSeconds": 60}, "no sign of having begun"),
        (f"print('Progress: 5%')\n{CHATTER}", {"ProgressSeconds": 0.5, "StartSeconds": 60}, "no progress"),
    ],
)  # fmt: skip
def test_a_hung_render_is_ended_with_a_sentence(
    remote: Remote, project: Path, api: ListeningApi, code: str, limits: Json, what: str
) -> None:
    script = write_script(project, code)
    remote.start(**ours(project, script, Limits=limits, ApiUrl=api.url, ReportKey="k"))
    task = remote.ended()
    assert (task["IsSuccess"], task["Cause"], task["Reason"]) == (False, "timeout", None)
    assert what in task["Message"]
    end = wait_until(lambda: api.end_of(3), "the end is told")
    assert (end.cause, end.message) == (Cause.TIMEOUT, task["Message"])


def test_a_hung_render_is_ended_with_its_tree(
    start_node: Callable[..., NodeApp], project: Path
) -> None:
    clock = HandClock()
    remote = Remote(start_node(clock=clock).url)
    script = write_script(project, TREE)
    remote.start(**ours(project, script, str(project / "pids"), Limits={"SilenceSeconds": 600}))
    pids = family(project / "pids")

    def is_over() -> bool:
        clock.seconds += 1000  # again and again: its last line may be on its way still
        return not remote.task()["IsRunning"]

    wait_until(is_over, "it is ended")
    assert "printed nothing for" in remote.task()["Message"]
    assert not any(map(is_alive, pids))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no way to ask there")
def test_a_hung_render_is_asked_first(start_node: Callable[..., NodeApp], project: Path) -> None:
    """It may have a frame to finish writing."""
    clock = HandClock()
    remote = Remote(start_node(clock=clock).url)
    code = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (open("asked", "w"), sys.exit(0)))
open("ready", "w")
time.sleep(600)
"""
    remote.start(**ours(project, write_script(project, code), Limits={"SilenceSeconds": 60}))
    wait_until((project / "ready").exists, "it can be asked")
    clock.seconds += 61
    assert remote.ended()["Cause"] == "timeout"
    assert (project / "asked").exists()


def test_a_render_that_eats_the_memory_is_ended(remote: Remote, project: Path) -> None:
    start = ours(project, write_script(project, HOG), Limits={"MemoryBytes": 200 * MIB})
    remote.start(**start)
    task = remote.ended()
    assert (task["Cause"], task["Reason"]) == ("machine", "out_of_memory")
    assert "where 200 MiB are allowed" in task["Message"]
    assert task["MemoryBytes"] > 200 * MIB


def test_a_render_that_would_end_the_machine_is_ended(
    remote: Remote, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any limit. Every other process of the machine is taken for a small one."""
    monkeypatch.setattr(hangs, "FLOOR_LEAST_BYTES", 2**60)
    monkeypatch.setattr(hangs, "FLOOR_MOST_BYTES", 2**60)
    monkeypatch.setattr(memory, "largest_other", lambda _pid: 100 * MIB)
    remote.start(**ours(project, write_script(project, HOG)))
    task = remote.ended()
    assert (task["Cause"], task["Reason"]) == ("machine", "out_of_memory")
    assert "The machine ran out of memory" in task["Message"]


def test_what_a_render_may_hold_is_a_setting(
    start_node: Callable[..., NodeApp], project: Path
) -> None:
    """The renderer's children count."""
    remote = Remote(start_node(render_memory_bytes=250 * MIB).url)
    code = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {HOG!r}])
"""
    remote.start(**ours(project, write_script(project, code)))
    task = remote.ended()
    assert (task["Cause"], task["Reason"]) == ("machine", "out_of_memory")
    assert "this machine allows 250 MiB (RenderMemoryBytes)" in task["Message"]


def test_a_render_that_fills_the_machine_is_ended(
    remote: Remote, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any limit, and before the memory is short: here a machine of 310 MiB."""
    machine = Memory(310 * MIB, 20 * MIB)
    monkeypatch.setattr(watch, "machine_memory", lambda *_: machine)
    monkeypatch.setattr(hangs, "FLOOR_LEAST_BYTES", MIB)
    remote.start(**ours(project, write_script(project, HOG)))
    task = remote.ended()
    assert (task["Cause"], task["Reason"]) == ("machine", "out_of_memory")
    assert "of the machine's 310 MiB of memory" in task["Message"]


def test_what_is_swapped_out_counts() -> None:
    """No machine that runs tests can be relied on to swap: the line is proc(5)'s."""
    status = b"Name:\tblender\nVmRSS:\t     100 kB\nVmSwap:\t    2048 kB\nThreads:\t1\n"
    assert memory._kib_of(b"VmSwap:", status) == 2048
    assert memory._kib_of(b"VmSwap:", b"Name:\tkthread\n") == 0
    assert (memory.tree_memory(os.getpid()) or 0) > 10 * MIB


def test_a_larger_process_is_not_the_renders_fault() -> None:
    assert memory.largest_other(os.getpid()) > 0
    assert memory.machine_memory(1).largest_other_bytes == 0  # not looked at without need


def test_limits_that_are_none(remote: Remote, project: Path) -> None:
    start = ours(project, write_script(project, "pass"), Limits={"SilenceSeconds": 0})
    assert "Limits.SilenceSeconds is 0" in remote.refused("start", start)
    start["Limits"] = {"MemoryBytes": -1}
    assert "Limits.MemoryBytes is -1" in remote.refused("start", start)


# ------------------------------------------------------------------ frames, and stops between them


@pytest.fixture
def blender(start_node: Callable[..., NodeApp]) -> Remote:
    """A node whose Blender is a script."""
    return Remote(start_node(engines=(EngineSetting("python", sys.executable, "blender"),)).url)


def frames(project: Path, *numbers: int, **more: Any) -> tuple[Json, Path]:
    """A start of BLENDER, and the folder that lets frames through."""
    gates, output = project / "gates", project / "output"
    gates.mkdir(exist_ok=True)
    script = write_script(project, BLENDER)
    start = ours(project, script, str(output), str(gates), *map(str, numbers), **more)
    return start | {"Owes": {"Frames": ",".join(map(str, numbers))}}, gates


def test_frames_are_told_one_by_one(blender: Remote, project: Path, api: ListeningApi) -> None:
    start, gates = frames(project, 1, 2, 3, 5, ApiUrl=api.url, ReportKey="k")
    blender.start(**start)
    for number, told in ((1, "1"), (2, "1-2"), (3, "1-3")):
        (gates / f"{number}").touch()
        wait_until(lambda told=told: blender.task()["Frames"] == told, "the frame is seen")
    wait_until(lambda: "1-3" in [event.frames for event in api.events], "they are reported")
    (gates / "5").touch()
    task = blender.ended()
    assert (task["IsSuccess"], task["Frames"], task["FramesDone"]) == (True, "1-3,5", 4)
    end = wait_until(lambda: api.end_of(3), "the end is told")
    assert (end.frames, end.is_success) == ("1-3,5", True)
    assert (end.startup_seconds or 0) > 0
    assert (end.render_seconds or 0) > 0


def test_a_chunk_that_fails_tells_what_is_good(blender: Remote, project: Path) -> None:
    start, gates = frames(project, 1, 2, 3)
    blender.start(**start)
    (gates / "1").touch()
    wait_until(lambda: blender.task()["Frames"] == "1", "the frame is seen")
    blender.post("stop", {"TaskId": 7})
    task = blender.task()
    assert (task["IsSuccess"], task["Frames"], task["Cause"]) == (False, "1", "interrupted")


def test_a_stop_waits_for_the_frame(blender: Remote, project: Path) -> None:
    start, gates = frames(project, 1, 2, 3)
    blender.start(**start)
    wait_until(lambda: blender.task()["StartupSeconds"] is not None, "it is at frame 1")
    answer = blender.post("stop", {"TaskId": 7, "AfterFrame": True, "Reason": "paused"})
    assert answer.json() == {"IsSuccess": True, "Message": "Active render ends with its frame."}
    assert blender.task()["IsRunning"]
    (gates / "1").touch()
    task = blender.ended()
    assert (task["Frames"], task["Cause"], task["Message"]) == (
        "1",
        "interrupted",
        "Stopped: paused",
    )
    assert not (project / "output" / "0002.png").exists()


def test_a_stop_that_waits_for_the_last_frame_is_a_success(blender: Remote, project: Path) -> None:
    start, gates = frames(project, 1)
    blender.start(**start)
    wait_until(lambda: blender.task()["StartupSeconds"] is not None, "it is at frame 1")
    blender.post("stop", {"TaskId": 7, "AfterFrame": True})
    (gates / "1").touch()
    task = blender.ended()
    assert (task["IsSuccess"], task["Frames"]) == (True, "1")


def test_a_stop_between_frames_is_at_once(remote: Remote, project: Path) -> None:
    """The engine has not begun, or tells no frames."""
    remote.start(**ours(project, write_script(project, CHATTER)))
    answer = remote.post("stop", {"TaskId": 7, "AfterFrame": True})
    assert answer.json()["Message"] == "Active render terminated!"
    assert not remote.task()["IsRunning"]


def test_a_second_stop_does_not_wait(blender: Remote, project: Path) -> None:
    start, _gates = frames(project, 1, 2)
    blender.start(**start)
    wait_until(lambda: blender.task()["StartupSeconds"] is not None, "it is at frame 1")
    blender.post("stop", {"TaskId": 7, "AfterFrame": True})
    assert blender.post("stop", {"TaskId": 7}).json()["Message"] == "Active render terminated!"
    assert blender.task()["Frames"] is None


def test_a_frame_that_takes_too_long(start_node: Callable[..., NodeApp], project: Path) -> None:
    clock = HandClock()
    engine = EngineSetting("python", sys.executable, "blender")
    blender = Remote(start_node(clock=clock, engines=(engine,)).url)
    start, gates = frames(project, 1, 2)
    blender.start(**start, Limits={"FrameSeconds": 60})
    (gates / "1").touch()
    wait_until(lambda: blender.task()["Frames"] == "1", "the frame is seen")
    clock.seconds += 61
    task = blender.ended()
    assert (task["Cause"], task["Frames"]) == ("timeout", "1")
    assert "finished no frame for 61 s" in task["Message"]
