"""Whose fault it was, and who tries again: tables of failures and what follows from them."""

from __future__ import annotations

import pytest

from renderonline.api.domain import failures
from renderonline.api.domain.failures import FORGIVEN, Judgement
from renderonline.api.domain.model import Failure
from renderonline.wire import Cause

FAILS = Judgement(fails_task=True)
SCENE, ASSET, MACHINE, TIMEOUT = Cause.SCENE, Cause.ASSET_MISSING, Cause.MACHINE, Cause.TIMEOUT
ONE, TWO, MANY = {1}, {1, 2}, {1, 2, 3, 4}


def gives_up(frame: int) -> Judgement:
    return Judgement(gives_up=(frame,))


@pytest.mark.parametrize(
    ("told", "able", "has_done", "given_up", "expected"),
    [
        # the scene: two machines agree, or the only one says so
        ([(1, SCENE, 1)], ONE, False, 0, FAILS),
        ([(1, SCENE, 1)], TWO, False, 0, FORGIVEN),
        ([(1, SCENE, 1), (1, SCENE, 2)], TWO, False, 0, FORGIVEN),
        ([(1, SCENE, 1), (2, SCENE, 9)], TWO, False, 0, FAILS),
        ([(1, SCENE, 1), (2, ASSET, 1)], MANY, False, 0, FAILS),
        ([(1, SCENE, None), (3, SCENE, None)], MANY, False, 0, FAILS),
        ([(7, SCENE, 1)], set(), False, 0, FAILS),  # the farm has lost all others meanwhile
        # frames came out: it is that frame, not the scene
        ([(1, SCENE, 4), (2, SCENE, 4)], TWO, True, 0, gives_up(4)),
        ([(1, SCENE, 4), (2, SCENE, 5)], TWO, True, 0, FORGIVEN),
        # a machine's fault: tried again, elsewhere or here
        ([(1, MACHINE, 1)], ONE, False, 0, FORGIVEN),
        ([(1, MACHINE, 1)] * 3, ONE, False, 0, FORGIVEN),
        ([(1, MACHINE, 1)] * 4, ONE, False, 0, gives_up(1)),
        ([(1, MACHINE, None)] * 4, ONE, False, 0, FAILS),
        ([(1, TIMEOUT, 5)] * 4, TWO, True, 3, gives_up(5)),
        ([(1, MACHINE, 3)] * 4, ONE, False, 2, FAILS),  # the third of which nothing came
        ([(1, MACHINE, 3)] * 4, ONE, True, 2, gives_up(3)),
        (
            [(1, MACHINE, 1), (1, MACHINE, 2), (1, MACHINE, 3), (1, MACHINE, 4)],
            ONE,
            False,
            0,
            FORGIVEN,
        ),
        # nobody's
        ([(1, Cause.LOST, 1)] * 9, ONE, False, 0, FORGIVEN),
        ([(1, Cause.INTERRUPTED, None)] * 9, ONE, False, 0, FORGIVEN),
    ],
)
def test_what_a_failure_leads_to(
    told: list[tuple[int, Cause, int | None]],
    able: set[int],
    has_done: bool,
    given_up: int,
    expected: Judgement,
) -> None:
    known = [Failure(machine, cause, frame) for machine, cause, frame in told]
    assert failures.judge(known, able, 4, has_done, given_up) == expected


def test_without_retries_the_first_failure_of_a_machine_counts() -> None:
    assert failures.judge([Failure(1, MACHINE, None)], TWO, 1, False, 0) == FAILS


def test_back_off_grows_and_ends() -> None:
    pauses = [failures.back_off(n).total_seconds() for n in range(1, 8)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 2
    assert pauses[-1] == pauses[-2] <= 120


@pytest.mark.parametrize(
    ("cause", "in_a_row", "expected"),
    [
        (SCENE, 1, True),
        (ASSET, 1, True),
        (MACHINE, 1, False),
        (MACHINE, 2, True),
        (TIMEOUT, 2, True),
    ],
)
def test_others_first(cause: Cause, in_a_row: int, expected: bool) -> None:
    assert failures.is_avoided(cause, in_a_row) is expected


@pytest.mark.parametrize(
    ("latest", "suspect", "expected"),
    [
        ([(1, MACHINE), (1, TIMEOUT), (2, MACHINE), (2, MACHINE), (2, MACHINE)], set(), True),
        ([(1, MACHINE)] * 5, set(), False),  # it may be the task
        ([(1, MACHINE), (2, MACHINE), (3, MACHINE), (4, MACHINE)], set(), False),  # not enough
        ([(1, MACHINE), (2, MACHINE), (3, None), (4, MACHINE), (5, MACHINE)], set(), False),
        ([(1, MACHINE)] * 4 + [(5, MACHINE), (6, None)], set(), True),
        # others failed these as well
        ([(n, MACHINE) for n in range(9)], set(range(9)), False),
        ([(9, MACHINE), (1, MACHINE)] * 5, {9}, False),
        ([(9, MACHINE), *[(1, MACHINE), (2, MACHINE)] * 3], {9}, True),
        # the scene's fault
        ([(1, SCENE), (2, MACHINE)] * 4, set(), False),
    ],
)
def test_benched_altogether(
    latest: list[tuple[int, Cause | None]], suspect: set[int], expected: bool
) -> None:
    assert failures.is_benched(latest, suspect) is expected
