"""Where the frames of a split task go when one of its chunks ends: nothing lost, nothing twice."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from renderonline.api.domain import ledger
from renderonline.api.domain.failures import FORGIVEN, Judgement
from renderonline.api.domain.ledger import Settlement
from renderonline.api.domain.model import Chunk, Outcome, Task
from renderonline.api.domain.transitions import TaskEvent
from renderonline.frames import FrameSet
from renderonline.wire import Cause, ChunkState, TaskState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = Outcome(True, 0)
LOST = Outcome(False, cause=Cause.LOST, message="gone")
BAD = Outcome(False, 1, Cause.MACHINE, "It crashed.")


def frames(text: str) -> FrameSet:
    return FrameSet.parse(text) if text else FrameSet()


def task(todo: str | None, done: str = "", failed: str = "") -> Task:
    return Task(
        task_id=1,
        user_id=1,
        queue_time=NOW,
        start_time=NOW,
        end_time=None,
        is_running=True,
        is_success=False,
        render_id=1,
        machine_id=1,
        state=TaskState.RUNNING,
        version=1,
        frames="1-10",
        cause=None,
        message=None,
        todo=None if todo is None else frames(todo),
        done=frames(done),
        failed=frames(failed),
    )


def chunk(
    text: str | None, done: str = "", attempt_id: int = 1, copy_of: int | None = None
) -> Chunk:
    return Chunk(
        attempt_id=attempt_id,
        task_id=1,
        machine_id=attempt_id,
        state=ChunkState.RUNNING,
        frames=text,
        key_hash="",
        sequence=0,
        progress=0.0,
        frames_done=0,
        assigned_at=NOW,
        started_at=NOW,
        ended_at=None,
        exit_code=None,
        cause=None,
        message=None,
        done=frames(done),
        copy_of=copy_of,
    )


def settle(
    of: Task, ended: Chunk, outcome: Outcome, *others: Chunk, judgement: Judgement = FORGIVEN
) -> Settlement:
    final = replace(ended, done=ledger.saved(ended, outcome))
    return ledger.settle(of, final, others, outcome, judgement)


@pytest.mark.parametrize(
    ("before", "ended", "outcome", "others", "judgement", "event", "after"),
    [
        pytest.param(
            task("6-10"), chunk("1-5"), GOOD, [], FORGIVEN, "release", ("6-10", "1-5", ""),
            id="more is waiting",
        ),
        pytest.param(
            task(""), chunk("1-5"), GOOD, [chunk("6-10", attempt_id=2)], FORGIVEN, "change",
            ("", "1-5", ""), id="another machine is at work",
        ),
        pytest.param(
            task("", "6-10"), chunk("1-5"), GOOD, [], FORGIVEN, "succeed", ("", "1-10", ""),
            id="the last one",
        ),
        pytest.param(
            task("6-10"), chunk("1-5", "1-3"), LOST, [], FORGIVEN, "release", ("4-10", "1-3", ""),
            id="what a lost machine had saved stays",
        ),
        pytest.param(
            task("", "6-10"), chunk("1-5", "1-5"), LOST, [], FORGIVEN, "succeed", ("", "1-10", ""),
            id="lost after its last frame was saved",
        ),
        pytest.param(
            task("6-10"), chunk("1-5"), BAD, [], FORGIVEN, "release", ("1-10", "", ""),
            id="failed, and tried again",
        ),
        pytest.param(
            task("6-10"), chunk("1-5", "1-2"), BAD, [], Judgement(gives_up=(3,)), "release",
            ("4-10", "1-2", "3"), id="one frame given up, the rest goes on",
        ),
        pytest.param(
            task("", "1-2,4-10"), chunk("3"), BAD, [], Judgement(gives_up=(3,)), "fail",
            ("", "1-2,4-10", "3"), id="nothing is left but what was given up",
        ),
        pytest.param(
            task("9-10"), chunk("1-5", "1"), BAD, [chunk("6-8", "6", 2)],
            Judgement(fails_task=True), "fail", ("2-5,7-10", "1,6", ""),
            id="the whole task fails; what is there stays",
        ),
        pytest.param(
            task("", "1-8"), chunk("9-10", "9"), LOST, [chunk("10", "", 2, 1)], FORGIVEN, "change",
            ("", "1-9", ""), id="the copy still works on what was lost",
        ),
        pytest.param(
            task("", "1-4"), chunk("5-10"), BAD, [chunk("5-10", "", 2, 1)], Judgement(gives_up=(5,)),
            "change", ("", "1-4", ""), id="given up here, but another machine has it",
        ),
        pytest.param(
            task("", "1-9", "10"), chunk("10", "10", 2, 1), GOOD, [], FORGIVEN, "succeed",
            ("", "1-10", ""), id="given up before, and there after all",
        ),
        pytest.param(
            task(None), chunk(None), GOOD, [], FORGIVEN, "succeed", (None, "", ""), id="one piece"
        ),
        pytest.param(
            task(None), chunk(None), LOST, [], FORGIVEN, "release", (None, "", ""),
            id="one piece, lost",
        ),
        pytest.param(
            task(None), chunk(None), BAD, [], Judgement(fails_task=True), "fail", (None, "", ""),
            id="one piece, given up",
        ),
    ],
)  # fmt: skip
def test_end_of_a_chunk(
    before: Task,
    ended: Chunk,
    outcome: Outcome,
    others: list[Chunk],
    judgement: Judgement,
    event: str,
    after: tuple[str | None, str, str],
) -> None:
    settled = settle(before, ended, outcome, *others, judgement=judgement)
    assert settled.event == event
    todo = None if settled.todo is None else str(settled.todo)
    assert (todo, str(settled.done), str(settled.failed)) == after


def test_the_one_that_is_not_needed_any_more_is_named() -> None:
    slow, copy = chunk("9-10", "9"), chunk("10", "", 2, 1)
    settled = settle(task("", "1-8"), copy, GOOD, slow)
    assert settled.superfluous == (slow,)
    assert settled.event is TaskEvent.SUCCEED


def test_a_failed_frame_is_named_in_the_end() -> None:
    settled = settle(task("", "1-2,4-10"), chunk("3"), BAD, judgement=Judgement(gives_up=(3,)))
    assert settled.message is not None
    assert settled.message.startswith("Frame 3 could not be rendered")
    assert "It crashed." in settled.message


@pytest.mark.parametrize(("done", "says"), [("1-2", "; the others are there."), ("", " rendered.")])
def test_others_are_told_of_where_there_are_any(done: str, says: str) -> None:
    settled = settle(task("", done), chunk("3"), BAD, judgement=Judgement(gives_up=(3,)))
    assert says in (settled.message or "")


def test_culprit_is_the_first_frame_that_is_not_there() -> None:
    assert ledger.culprit(task("", "4"), chunk("3-6"), frames("3")) == 5
    assert ledger.culprit(task(None), chunk(None), frames("")) is None


@pytest.mark.parametrize("seed", range(30))
def test_no_frame_is_lost_or_had_twice_whatever_happens(seed: int) -> None:
    """Any course of claims and ends leaves each frame in exactly one place, and comes to an end."""
    dice = random.Random(seed)
    of, everything = task("1-10"), frames("1-10")
    active: dict[int, Chunk] = {}
    for number in range(1, 200):
        assert of.todo is not None
        if of.todo.runs and (not active or dice.random() < 0.5):
            taken = of.todo.take(dice.randint(1, 4))
            taken = FrameSet((taken.runs[0],))
            active[number] = chunk(str(taken), "", number)
            of = replace(of, todo=of.todo - taken)
        elif active:
            ended = active.pop(dice.choice(sorted(active)))
            some = ended.frame_set.take(dice.randint(0, len(ended.frame_set)))
            outcome = dice.choice([GOOD, replace(LOST, frames=some), replace(BAD, frames=some)])
            gone = replace(ended, done=ledger.saved(ended, outcome))
            culprit = ledger.culprit(of, gone, gone.done)
            gives_up = outcome.cause is Cause.MACHINE and culprit and dice.random() < 0.3
            judgement = Judgement(gives_up=(culprit,)) if gives_up and culprit else FORGIVEN
            settled = ledger.settle(of, gone, list(active.values()), outcome, judgement)
            assert settled.todo is not None
            of = replace(of, todo=settled.todo, done=settled.done, failed=settled.failed)
            if settled.event in (TaskEvent.SUCCEED, TaskEvent.FAIL):
                break
        places = [of.todo, of.done, of.failed, *(c.frame_set - of.done for c in active.values())]
        assert sum(len(p or FrameSet()) for p in places) == 10
        whole = FrameSet()
        for place in places:
            whole |= place or FrameSet()
        assert whole == everything
    else:
        pytest.fail("it never came to an end")
    assert of.done | of.failed == everything
