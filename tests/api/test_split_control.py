"""Who gets what of a task that machines have failed, or hang on; the clock in the test's hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.original_node import Answer, OriginalNode

from renderonline.api.db import catalog, chunks
from renderonline.api.domain.model import Chunk, MachineState
from renderonline.api.services import states
from renderonline.api.services.watch import LOST_AFTER_POLLS
from renderonline.config import ApiSettings
from renderonline.frames import FrameSet
from renderonline.wire import Cause, EventType, NodeEvent

from .control import Control, started

GIB = 1 << 30


class SizedNode(OriginalNode):
    """A machine of ours, with so much memory. Its renders fail as the test says."""

    memory_bytes = 8 * GIB

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        status, answered = super().answer(method, path, body)
        if path == "/hpc/status" and isinstance(answered, dict):
            answered = answered | {"Protocol": 1, "MemoryBytes": self.memory_bytes}
        return status, answered

    def fail(self, cause: str = "machine", **told: Any) -> None:
        self.finish(success=False)
        assert self.task is not None
        self.task |= {"Cause": cause, "Message": "It cannot.", **told}


@pytest.fixture
def machines() -> Iterator[list[SizedNode]]:
    """Three that are up and idle: two of 8 GiB, one of 32."""
    with ExitStack() as stack:
        nodes = [SizedNode(["any"]) for _ in range(3)]
        nodes[2].memory_bytes = 32 * GIB
        for node in nodes:
            node.up()
            stack.callback(node.down)
        yield nodes


@pytest.fixture
def control(settings: ApiSettings) -> Iterator[Control]:
    running = Control(settings, retries=3)
    yield running
    running.close()


def split_task(control: Control, engine_id: int, frames: str, chunk_frames: int) -> int:
    """A task that is rendered in pieces."""
    template = "any -b x.any -s $RENDERONLINE:start_frame -e $RENDERONLINE:end_frame -a"
    recipe = json.dumps({"template": template, "values": {}})
    columns = {"todo": frames, "command": recipe, "chunk_frames": chunk_frames}
    return control.add_task(engine_id, frames, **columns)


def report(control: Control, chunk: Chunk, sequence: int, **event: Any) -> bool:
    """What the machine of a chunk, as it once was, reports; whether that was taken."""
    return states.report(control.ctx, chunk, sequence, [NodeEvent(**event)])


# --------------------------------------------------------------------------- memory


def test_what_ran_out_of_memory_waits_for_a_larger_machine(
    control: Control, machines: list[SizedNode]
) -> None:
    small, other, large = machines
    engine = control.add_engine("any")
    for node in machines:
        control.add_machine(node)
    heavy, second, third = (control.add_task(engine) for _ in range(3))
    control.turn()
    assert [started(node) for node in machines] == [[heavy], [second], [third]]
    small.fail(Reason="out_of_memory")
    other.finish()
    control.turn()
    control.turn()
    assert control.state(heavy) == "queued", "those that are free are not larger"
    large.finish()
    control.turn()
    assert started(large) == [third, heavy]
    large.finish()
    control.turn()
    assert control.attempts(heavy) == ["failed", "succeeded"]


def test_without_a_larger_machine_the_same_ones_try_again(
    control: Control, machines: list[SizedNode]
) -> None:
    control.add_machine(machines[0])
    task_id = control.add_task(control.add_engine("any"))
    control.turn()
    machines[0].fail(Reason="out_of_memory")
    control.turn()
    control.turn()
    assert control.attempts(task_id) == ["failed", "running"]


# --------------------------------------------------------------------------- bad machines


def test_a_benched_machine_gets_nothing_from_that_moment_on(
    control: Control, machines: list[SizedNode]
) -> None:
    """Also before the machines are read from the database again."""
    bad, good, _ = machines
    engine = control.add_engine("any")
    number = control.add_machine(bad)
    control.add_machine(good)
    ids = [control.add_task(engine) for _ in range(7)]
    control.turn()
    assert started(good) == [ids[1]], "which keeps it busy"
    for task_id in (ids[0], *ids[2:6]):
        (chunk,) = control.chunks(task_id)
        assert report(control, chunk, 1, type=EventType.ENDED, cause=Cause.MACHINE)
        bad.forget()
        control.step_dispatcher()
    assert started(bad) == [ids[0], *ids[2:6]]
    with control.database.reading():
        machine = catalog.machine(number)
    assert machine is not None
    assert machine.state is MachineState.BENCHED
    assert "5 attempts in a row" in (machine.reason or "")


def test_broken_tasks_bench_nobody(control: Control, machines: list[SizedNode]) -> None:
    """Each machine fails them all: it is the tasks."""
    nodes = {control.add_machine(node): node for node in machines}
    engine = control.add_engine("any")
    for _ in range(4):
        control.add_task(engine)
    for _ in range(12):
        control.turn()
        with control.database.reading():
            running = chunks.active()
        for chunk in running:
            assert report(control, chunk, 1, type=EventType.ENDED, cause=Cause.MACHINE)
            nodes[chunk.machine_id].forget()
    with control.database.reading():
        assert {machine.state for machine in catalog.machines()} == {MachineState.ENABLED}


# --------------------------------------------------------------------------- lost attempts


def test_what_a_lost_attempt_reports_late_changes_nothing(
    control: Control, machines: list[SizedNode]
) -> None:
    """What it had saved and told before counts; the rest is another machine's by now."""
    first, second, _ = machines
    number = control.add_machine(first)
    task_id = split_task(control, control.add_engine("any"), "1-10", 5)
    control.turn()
    (lost,) = control.chunks(task_id)
    assert report(control, lost, 1, type=EventType.PROGRESS, frames="1-2")
    first.down()
    for _ in range(LOST_AFTER_POLLS + 1):
        control.turn()
    assert control.attempts(task_id) == ["lost"]
    control.add_machine(second)
    control.turn()
    before = control.job(task_id).task
    assert (str(before.done), str(before.todo)) == ("1-2", "8-10")
    assert not report(control, lost, 2, type=EventType.PROGRESS, frames="1-4")
    assert not report(control, lost, 3, type=EventType.ENDED, is_success=True, exit_code=0)
    assert control.job(task_id).task == before
    assert [c.machine_id == number for c in control.chunks(task_id)] == [True, False]
    assert control.chunks(task_id)[1].frames == "3-7"


# --------------------------------------------------------------------------- ahead of time


@pytest.mark.parametrize(
    ("frame_s", "frames"), [(0.04, ["2", "3"]), (0.2, ["2"])], ids=["over at once", "longer"]
)
def test_a_chunk_that_is_over_at_once_brings_the_one_behind_it(
    control: Control, machines: list[SizedNode], frame_s: float, frames: list[str]
) -> None:
    """Nothing is told of it before its end: the machine would wait for an answer then."""
    machine_id = control.add_machine(machines[0])
    task_id = split_task(control, control.add_engine("any", "blender"), "1-9", 1)
    control.turn()
    (first,) = control.chunks(task_id)
    ended = {"is_success": True, "exit_code": 0, "frames": "1", "warm": True}
    spans = {"startup_seconds": 0.01, "render_seconds": frame_s}
    assert report(control, first, 1, type=EventType.ENDED, **ended, **spans)
    starts = control.next_for(machine_id)
    assert [start.frames for start in starts] == frames
    assert [start.after for start in starts] == [None, *(s.attempt_id for s in starts[:-1])]
    if len(frames) == 2:
        _, second, _ = control.chunks(task_id)
        ended["frames"] = "2"
        assert report(control, second, 1, type=EventType.ENDED, **ended, **spans)
        (start,) = control.next_for(machine_id)
        assert (start.frames, start.after) == ("4", starts[1].attempt_id)


# --------------------------------------------------------------------------- the last frames


def helped(control: Control, machines: list[SizedNode]) -> tuple[int, Chunk, Chunk]:
    """A task of ten frames that one machine has, the last five of which another has rendered.

    The task, the first attempt, and the second.
    """
    for node in machines[:2]:
        control.add_machine(node)
    task_id = split_task(control, control.add_engine("any", "blender"), "1-10", 10)
    control.turn()
    control.turn()
    first, copy = control.chunks(task_id)
    assert (first.frames, copy.frames, copy.copy_of) == ("1-10", "6-10", first.attempt_id)
    machines[1].finish()
    ended = {"is_success": True, "exit_code": 0, "frames": "6-10"}
    assert report(control, copy, 1, type=EventType.ENDED, **ended)
    assert str(control.job(task_id).task.done) == "6-10"
    return task_id, first, copy


def test_frames_that_a_helper_has_rendered_are_not_rendered_again(
    control: Control, machines: list[SizedNode]
) -> None:
    """Also when the helper is long through: who comes to them next is stopped."""
    task_id, first, _ = helped(control, machines)
    assert report(control, first, 1, type=EventType.PROGRESS, frames="1-4")
    assert control.attempts(task_id)[0] == "running"
    assert report(control, first, 2, type=EventType.PROGRESS, frames="1-5")
    assert control.state(task_id) == "succeeded"
    assert control.attempts(task_id)[0] == "interrupted"
    assert [stop["attemptid"] for stop in machines[0].stops] == [first.attempt_id]


def test_nobody_helps_where_nobody_knows_which_frames_are_done(
    control: Control, machines: list[SizedNode]
) -> None:
    for node in machines[:2]:
        control.add_machine(node)
    task_id = split_task(control, control.add_engine("any", "generic"), "1-10", 10)
    for _ in range(5):
        control.turn(after_s=60)
    assert [chunk.frames for chunk in control.chunks(task_id)] == ["1-10"]


def test_a_helper_does_not_help_with_the_same_frames_again(
    control: Control, machines: list[SizedNode]
) -> None:
    task_id, _, _ = helped(control, machines)
    for _ in range(3):
        control.turn(after_s=60)
    helping = [chunk for chunk in control.chunks(task_id)[2:] if chunk.copy_of is not None]
    assert helping, "the first machine is still at its first frame"
    assert not [
        chunk.frames for chunk in helping if (chunk.frame_set & FrameSet.parse("6-10")).runs
    ]


def at_work_with_help(
    control: Control, machines: list[SizedNode]
) -> tuple[int, Chunk, list[Chunk]]:
    """A task of twelve frames that one of the machines has, and the others help with."""
    for node in machines:
        control.add_machine(node)
    task_id = split_task(control, control.add_engine("any", "blender"), "1-12", 12)
    control.turn()
    control.turn()
    first, *helping = control.chunks(task_id)
    assert [chunk.copy_of for chunk in helping] == [first.attempt_id] * (len(machines) - 1)
    return task_id, first, helping


def test_two_help_with_different_frames_of_one_chunk(
    control: Control, machines: list[SizedNode]
) -> None:
    """Whoever ends first, and however, each frame is there once and nothing is left behind."""
    task_id, first, helping = at_work_with_help(control, machines)
    parts = [chunk.frame_set for chunk in helping]
    assert not (parts[0] & parts[1]).runs
    left = first.frame_set - parts[0] - parts[1]
    assert left.runs
    ended = {"is_success": True, "exit_code": 0}
    # One helper fails: its frames are still the first machine's.
    lost = {"is_success": False, "exit_code": 1, "cause": Cause.MACHINE, "message": "No memory."}
    assert report(control, helping[0], 1, type=EventType.ENDED, **lost)
    assert str(control.job(task_id).task.todo) == ""
    assert report(control, helping[1], 1, type=EventType.ENDED, frames=helping[1].frames, **ended)
    assert control.job(task_id).task.done == parts[1]
    assert report(control, first, 1, type=EventType.PROGRESS, frames=str(left))
    # It would come to frames that are there; what the failed helper had is for whoever is free.
    assert control.attempts(task_id)[0] == "interrupted"
    assert control.job(task_id).task.done == left | parts[1]
    assert control.job(task_id).task.todo == parts[0]


def test_who_has_ended_in_front_leaves_the_rest_to_the_helpers(
    control: Control, machines: list[SizedNode]
) -> None:
    task_id, first, helping = at_work_with_help(control, machines)
    left = first.frame_set - helping[0].frame_set - helping[1].frame_set
    lost = {"is_success": False, "exit_code": 1, "cause": Cause.MACHINE, "message": "No memory."}
    assert report(control, first, 1, type=EventType.PROGRESS, frames=str(left))
    first = control.chunks(task_id)[0]
    assert report(control, first, 2, type=EventType.ENDED, **lost)
    assert str(control.job(task_id).task.todo) == "", "the helpers have all of it"
    for chunk in helping:
        assert control.state(task_id) == "running"
        ended = {"is_success": True, "exit_code": 0, "frames": chunk.frames}
        assert report(control, chunk, 1, type=EventType.ENDED, **ended)
    assert control.state(task_id) == "succeeded"


def test_what_a_helper_has_saved_already_keeps_nobody_from_helping_too(
    control: Control, machines: list[SizedNode]
) -> None:
    task_id, first, (helper,) = at_work_with_help(control, machines[:2])
    saved = helper.frame_set.take(1)
    assert report(control, helper, 1, type=EventType.PROGRESS, frames=str(saved))
    control.add_machine(machines[2])
    control.turn()
    control.turn()
    *_, third = control.chunks(task_id)
    assert third.copy_of == first.attempt_id
    assert not (third.frame_set & helper.frame_set).runs


def test_a_helper_that_is_left_alone_is_helped(control: Control, machines: list[SizedNode]) -> None:
    """It may be the slowest of all: whom it helped is through, and ended at the first frame that it
    had saved."""
    task_id, first, (helper,) = at_work_with_help(control, machines[:2])
    saved = helper.frame_set.take(1)
    assert report(control, helper, 1, type=EventType.PROGRESS, frames=str(saved))
    own = first.frame_set - helper.frame_set
    assert report(control, first, 1, type=EventType.PROGRESS, frames=str(own))
    assert control.attempts(task_id) == ["interrupted", "running"]
    machines[0].finish()
    control.turn(after_s=60)
    control.turn(after_s=60)
    *_, third = control.chunks(task_id)
    assert third.copy_of == helper.attempt_id
    assert (third.frame_set & helper.frame_set).runs
    assert not (third.frame_set & saved).runs
