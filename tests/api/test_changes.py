"""What a user's wish does to the frames of a split task: none lost, none in two places."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from renderonline.api.domain import changes, frame_states
from renderonline.api.domain.changes import Again
from renderonline.api.domain.model import Chunk, Task
from renderonline.api.domain.transitions import QUEUED_TASK, TaskEvent
from renderonline.frames import FrameSet
from renderonline.wire import ChunkState, TaskState

from .test_ledger import chunk, frames, task


def where(of: Task) -> tuple[str, str, str]:
    assert of.todo is not None
    return str(of.todo), str(of.done), str(of.failed)


@pytest.mark.parametrize(
    ("before", "active", "wanted", "after"),
    [
        pytest.param(
            task("6-10", "1-4", "5"), [], Again.FAILED, ("5-10", "1-4", ""),
            id="what failed joins what is missing",
        ),
        pytest.param(
            task("", "1-10"), [], Again.FAILED, ("", "1-10", ""), id="nothing is missing",
        ),
        pytest.param(
            task("", "1-9", "10"), [], Again.ALL, ("1-10", "", ""), id="all, also what is done",
        ),
        pytest.param(
            task("9-10", "1-3"), [chunk("4-8", "4")], Again.ALL, ("1-3,9-10", "", ""),
            id="what a machine has stays with it",
        ),
        pytest.param(
            task("", "1-8", "9-10"), [], frames("2-3,9"), ("2-3,9", "1,4-8", "10"),
            id="some, whether done or failed",
        ),
        pytest.param(
            task("10", "1-4"), [chunk("5-9")], frames("4-6"), ("4,10", "1-3", ""),
            id="of some, those that no machine has",
        ),
    ],
)  # fmt: skip
def test_frames_that_are_owed_again(
    before: Task, active: list[Chunk], wanted: Again | FrameSet, after: tuple[str, str, str]
) -> None:
    assert where(changes.requeued(before, active, wanted)) == after


@pytest.mark.parametrize(
    ("before", "active", "wanted", "after", "dropped", "trimmed"),
    [
        pytest.param(
            task("6-10", "1-5"), [], "1-12", ("6-12", "1-5", ""), [], [], id="more",
        ),
        pytest.param(
            task("6-10", "1-4", "5"), [], "1-3,7", ("7", "1-3", ""), [], [], id="fewer",
        ),
        pytest.param(
            task("", "1-4"), [chunk("5-10", "5")], "1-5", ("", "1-5", ""), [1], [],
            id="a chunk that has nothing left to do is dropped, what it saved stays",
        ),
        pytest.param(
            task("", "1-4"), [chunk("5-10", "5-6")], "1-3,6-8", ("", "1-3", ""), [],
            [("6-8", "6")], id="a chunk that has too much is trimmed",
        ),
        pytest.param(
            task("", "1-4"), [chunk("5-10", "5-10")], "1-8", ("", "1-4", ""), [],
            [("5-8", "5-8")], id="a chunk that is just ending counts for what is wanted of it",
        ),
        pytest.param(
            task("", "1-4"), [chunk("5-10", "5-10")], "1-4", ("", "1-4", ""), [1], [],
            id="or not at all",
        ),
        pytest.param(
            task("", "1-4"), [chunk("5-10"), chunk("9-10", "9", 2, copy_of=1)], "1-8",
            ("", "1-4", ""), [2], [("5-8", "")], id="a copy goes with its frames",
        ),
    ],
)  # fmt: skip
def test_a_task_gets_exactly_the_frames_that_are_wanted(
    before: Task,
    active: list[Chunk],
    wanted: str,
    after: tuple[str, str, str],
    dropped: list[int],
    trimmed: list[tuple[str, str]],
) -> None:
    cut = changes.cut(before, active, frames(wanted))
    assert where(cut.task) == after
    assert cut.task.frames == wanted
    assert [c.attempt_id for c in cut.dropped] == dropped
    assert [(c.frames, str(c.done)) for c in cut.trimmed] == trimmed


@pytest.mark.parametrize("seed", range(200))
def test_each_frame_stays_in_one_place_whatever_is_wished(seed: int) -> None:
    rng = random.Random(seed)
    places = {
        number: rng.choice(["todo", "done", "failed", "held", "saved"]) for number in range(1, 31)
    }

    def of(*names: str) -> FrameSet:
        return FrameSet.of(number for number, place in places.items() if place in names)

    held = replace(chunk(str(of("held", "saved")) or None), done=of("saved"))
    before = replace(
        task("", "", ""), frames="1-30", todo=of("todo"), done=of("done"), failed=of("failed")
    )
    active = [held] if held.frames else []
    wanted = FrameSet.of(rng.sample(range(1, 41), 20))
    if seed % 2:
        after = changes.requeued(
            before, active, rng.choice([Again.ALL, Again.FAILED, wanted & frames("1-30")])
        )
        whole = frames("1-30")
    else:
        cut = changes.cut(before, active, wanted)
        after, whole = cut.task, wanted
        trimmed = {c.attempt_id: c for c in cut.trimmed}
        active = [trimmed.get(c.attempt_id, c) for c in active if c not in cut.dropped]
    assert after.todo is not None
    parts = [after.todo, after.done, after.failed, *(c.frame_set for c in active)]
    assert sum(map(len, parts)) == len(whole)
    assert all(not (part - whole).runs for part in parts)


@pytest.mark.parametrize(
    ("state", "after", "expected"),
    [
        ("succeeded", task("11-12", "1-10"), True),
        ("succeeded", task("", "1-5"), False),
        ("failed", task("", "1-5"), True),
        ("failed", task("", "1-5", "6"), False),
        ("cancelled", task("6", "1-5"), False),
        ("cancelled", task("", "1-5"), True),
    ],
)
def test_an_ended_task_comes_back_for_new_frames_or_to_have_succeeded(
    state: str, after: Task, expected: bool
) -> None:
    assert after.todo is not None
    whole = after.todo | after.done | after.failed
    assert (
        changes.comes_back(
            replace(task(""), state=TaskState(state)), replace(after, frames=str(whole))
        )
        is expected
    )


@pytest.mark.parametrize("state", QUEUED_TASK)
@pytest.mark.parametrize(
    ("of", "active", "event"),
    [
        (task("", "1-5"), [], {TaskEvent.SUCCEED}),
        (task("", "1-4", "5"), [], {TaskEvent.FAIL}),
        (task("6", "1-5"), [chunk("6-10")], {TaskEvent.CHANGE}),
        (task("6", "1-5"), [], {TaskEvent.CHANGE, TaskEvent.RELEASE}),
    ],
)
def test_what_follows_is_a_change_that_the_state_allows(
    state: TaskState, of: Task, active: list[Chunk], event: set[TaskEvent]
) -> None:
    settled = changes.conclude(replace(of, state=state), active)
    assert settled.event in event
    assert (state is TaskState.QUEUED) <= (settled.event is not TaskEvent.RELEASE)


def test_where_each_frame_is_and_who_had_it() -> None:
    of = task("8-10", "1-3", "7")
    first = replace(chunk("1-4", "1-3"), state=ChunkState.FAILED)
    second = replace(chunk("4-6", "4", 2), machine_id=9)
    told = frame_states.told(of, [first, second], frames("1,4-5,7-8"))
    assert [(f.frame, f.state.value, f.machine_id, f.attempts) for f in told] == [
        (1, "done", 1, 1),
        (4, "done", 9, 2),
        (5, "running", 9, 1),
        (7, "failed", None, 0),
        (8, "queued", None, 0),
    ]


@pytest.mark.parametrize(
    ("state", "expected"),
    [("succeeded", "done"), ("failed", "failed"), ("cancelled", "cancelled"), ("paused", "queued")],
)
def test_a_frame_that_nobody_rendered_is_what_its_task_is(state: str, expected: str) -> None:
    of = replace(task(None), state=TaskState(state))
    assert [f.state.value for f in frame_states.told(of, [], frames("3"))] == [expected]
