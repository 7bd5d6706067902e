"""When each task of the queue will be done: as a table, and against what then happens."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from renderonline.api.domain import forecast as forecasts
from renderonline.api.domain.dealing import equalized
from renderonline.api.domain.forecast import (
    NEVER_FREE,
    NO_MACHINE,
    NOT_KNOWN,
    PAUSED,
    Pace,
    forecast,
)
from renderonline.api.domain.planner import Record, Roster, Waiting
from renderonline.frames import FrameSet
from tests.api.simulated_farm import START, Machine, SimulatedFarm
from tests.api.test_planner import NOW, at_work, seat, task

WARM = {9: Record(frame_s=2.0, startup_s=3.0, is_warm=True)}
"""What a machine that is gone has shown: two seconds per frame, and a start of three."""

HELD = {9: Record(frame_s=2.0)}
COLD = {9: Record(frame_s=2.0, startup_s=3.0)}

TWO = [seat(7), seat(8)]


def known(task_id: int, todo: str = "1-10", **fields: object) -> Waiting:
    return task(task_id, todo, **({"records": HELD} | fields))


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        # idle machines that will join are counted
        ([known(1)], {1: 10.0}),
        ([known(1, records=WARM)], {1: 3.0 + 10.0}),
        ([known(1, records=COLD, chunk_frames=5)], {1: 3.0 + 10 / 2 * (2.0 + 3.0 / 5)}),
        ([known(1, machine_limit=1)], {1: 20.0}),
        ([known(1, "1")], {1: 2.0}),
        # one behind the other
        ([known(1), known(2)], {1: 10.0, 2: 20.0}),
        ([known(1), known(2, priority=60)], {2: 10.0, 1: 20.0}),
        ([known(1, "1"), known(2)], {1: 2.0, 2: 2.0 + 9.0}),
        # two users halve the farm, whoever came first
        ([known(1), known(2), known(3, "1-5", user_id=2)], {1: 20.0 - 5.0, 2: 25.0, 3: 10.0}),
        # a machine that is at work comes when it is done with its chunk
        ([known(1, "", active=(at_work(7, "101-105"), at_work(8, "106-110")))], {1: 9.0}),
        (
            [
                known(1, "", active=(at_work(7, "101-110", frame_since=NOW),)),
                known(2, "", active=(at_work(8, "101-110", frame_since=NOW),)),
                known(3, "1-5", priority=90),
            ],
            {1: 19.0, 2: 19.0, 3: 19.0 + 5.0},
        ),
        # a start time, and one that comes behind it
        ([known(1, start_at=NOW + timedelta(seconds=100)), known(2)], {1: 110.0, 2: 10.0}),
        # after a task, and after a whole that is its variants
        ([known(1), known(2, is_blocked=True, waits_for=frozenset({1}), priority=90)], {1: 10.0, 2: 20.0}),
        (
            [
                known(1, family=40),
                known(2, family=40),
                known(3, is_blocked=True, waits_for=frozenset({40}), user_id=2),
            ],
            {1: 10.0, 2: 20.0, 3: 30.0},
        ),
        # everything is saved, only the end has not been told
        ([known(1, "")], {1: 0.0}),
        # by what its variants have shown
        ([task(1, "1-10", family=40), known(2, "1", family=40)], {1: 10.0, 2: 12.0}),
        ([task(1, "1-10", family=41)], {1: 10.0}),
        # one that nothing is known of takes its place, and gets none
        ([task(1, "1-10"), known(2)], {1: NOT_KNOWN, 2: 20.0}),
        ([task(1, "1-10")], {1: NOT_KNOWN}),
        ([task(1, "1-10"), task(2, None)], {1: NOT_KNOWN, 2: NOT_KNOWN}),
        ([known(1, is_blocked=True, is_paused=True)], {1: PAUSED}),
        ([known(1, tags=frozenset({"gpu"}))], {1: NO_MACHINE}),
        (
            [
                known(1, is_blocked=True, is_paused=True),
                known(2, is_blocked=True, waits_for=frozenset({1})),
                known(3, is_blocked=True, waits_for=frozenset({77})),
                task(4, "1-10"),
                known(5, is_blocked=True, waits_for=frozenset({4})),
            ],
            {
                1: PAUSED,
                2: "It waits for task 1, whose end is not known.",
                3: "It waits for task 77, which is not in the queue.",
                4: NOT_KNOWN,
                5: "It waits for task 4, whose end is not known.",
            },
        ),
        # a movie that is rendered: as long as its progress says
        ([task(50, None, active=(at_work(7),)), known(1, priority=40)], {50: 30.0, 1: 20.0}),
        (
            [task(51, None, active=(at_work(7),)), task(52, None, active=(at_work(8),)), known(1)],
            {51: NOT_KNOWN, 52: NOT_KNOWN, 1: NEVER_FREE},
        ),
    ],
)  # fmt: skip
def test_forecast(tasks: list[Waiting], expected: dict[int, float | str]) -> None:
    found = forecast(tasks, Roster(TWO), NOW, families={41: Pace(2.0)}, pieces={50: 30.0, 99: 1.0})
    assert set(found) == set(expected)
    for task_id, wanted in expected.items():
        told = found[task_id]
        if isinstance(wanted, str):
            assert (told.seconds, told.why) == (None, wanted)
        else:
            assert told.why is None
            assert told.seconds == pytest.approx(wanted, abs=1.01), task_id


def test_what_a_user_used_lately_and_licences_count() -> None:
    tasks = [known(1, "1-100"), known(2, "1-100", user_id=2)]
    found = forecast(tasks, Roster(TWO), NOW, usage={1: 1.0})
    assert found[2].seconds < found[1].seconds  # type: ignore[operator]
    found = forecast([known(1)], Roster(TWO), NOW, engine_limits={"blender": 1})
    assert found[1].seconds == pytest.approx(20.0)


def test_machines_that_are_kept_for_some_are_not_counted_for_others() -> None:
    kept = [seat(7), seat(8, only_users=frozenset({2}))]
    found = forecast([known(1), known(2, user_id=2)], Roster(kept), NOW)
    assert {n: told.seconds for n, told in found.items()} == pytest.approx(
        {1: 20.0, 2: 20.0}, abs=1
    )
    found = forecast([known(1)], Roster(kept[1:]), NOW)
    assert found[1].why == NO_MACHINE


def test_what_is_not_played_follows_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [known(i) for i in range(1, 31)]
    played = forecast(tasks, Roster(TWO), NOW)
    monkeypatch.setattr(forecasts, "MOST_DEALS", 5)
    rest = forecast(tasks, Roster(TWO), NOW)
    assert rest.keys() == played.keys()
    for task_id, told in played.items():
        assert rest[task_id].seconds == pytest.approx(told.seconds, rel=0.1, abs=1.0)
    monkeypatch.setattr(forecasts, "MOST_TASKS", 10)
    assert set(forecast(tasks, Roster(TWO), NOW)) == set(range(1, 11))


@pytest.mark.parametrize(
    ("count", "entries", "expected"),
    [
        (6, {1: (0, 1)}, {1: 6}),
        (6, {1: (0, 1), 2: (0, 2)}, {1: 2, 2: 4}),
        (6, {1: (4, 1), 2: (0, 1)}, {1: 1, 2: 5}),
        (3, {1: (9, 1), 2: (0, 1)}, {1: 0, 2: 3}),
        (0, {1: (1, 1), 2: (0, 1)}, {1: 0, 2: 0}),
    ],
)
def test_shares_are_equalized(
    count: float, entries: dict[int, tuple[float, float]], expected: dict[int, float]
) -> None:
    assert equalized(count, entries) == pytest.approx(expected)


# --------------------------------------------------------------------------- what then happens

NEAR = 0.4
"""So far off an estimate may be, of what is left; most are within 0.15. Nobody can know who gets which of
the machines,"""

FRAMES_OFF = 2.5
"""and besides that so many frames of the task: machines end one by one, and start-ups are in between."""


def farm_of(seed: int) -> tuple[SimulatedFarm, list[Waiting]]:
    """Eight machines of unlike speed, three users with tasks of unlike frames that have begun before."""
    chance = random.Random(seed)
    frame_s = {task_id: chance.uniform(2.0, 20.0) for task_id in range(1, 9)}
    machines = [
        Machine(number, lambda _frame: 1.0, startup_s=2.0, is_kept_warm=True)
        for number in range(1, 9)
    ]
    speed = {machine.machine_id: chance.uniform(0.8, 1.25) for machine in machines}
    for machine in machines:
        machine.frame_s = lambda _frame, m=machine: (  # type: ignore[misc]
            frame_s[m.work.task_id] / speed[m.machine_id]
        )
    before = [{99: Record(frame_s=frame_s[n], startup_s=2.0, is_warm=True)} for n in range(1, 9)]
    tasks = [
        task(
            n,
            f"1-{chance.randint(30, 200)}",
            user_id=chance.randint(1, 3),
            priority=chance.choice([50, 50, 60]),
            machine_limit=chance.choice([None, None, 3]),
            chunk_frames=None,
            records=before[n - 1],
        )
        for n in range(1, 9)
    ]
    return SimulatedFarm(machines, is_handed_ahead=True), tasks


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("asked_s", [0.0, 100.0])
def test_what_then_happens_is_what_was_told(seed: int, asked_s: float) -> None:
    farm, tasks = farm_of(seed)
    for item in tasks:
        farm.submit(item)
    told: dict[int, float] = {}

    def ask() -> None:
        waiting = [found for n in range(1, 9) if (found := farm.queue.get(n)) is not None]
        now = START + timedelta(seconds=farm.now_s)
        for task_id, known_of in forecast(waiting, farm.roster, now).items():
            assert known_of.seconds is not None, known_of
            told[task_id] = known_of.seconds

    farm.at(asked_s, ask)
    farm.run()
    assert told
    for task_id, seconds in told.items():
        real_s = farm.ended_s[task_id] - asked_s
        frame_s = tasks[task_id - 1].records[99].frame_s or 0.0
        assert seconds == pytest.approx(real_s, rel=NEAR, abs=FRAMES_OFF * frame_s), task_id


def test_frames_of_a_million_cost_no_more_than_those_of_ten() -> None:
    tasks = [replace(known(n), todo=FrameSet.between(1, 1_000_000)) for n in range(1, 5)]
    found = forecast(tasks, Roster(TWO), NOW)
    assert found[4].seconds == pytest.approx(4_000_000, rel=0.01)


def test_a_thousand_tasks_on_a_thousand_machines_are_dealt_few_times() -> None:
    """What it costs: each deal looks at one task, and at kinds of machines instead of machines."""
    farm = Roster([seat(n, tags=frozenset({"gpu"}) if n % 3 else frozenset()) for n in range(1000)])
    tasks = [known(n, f"1-{100 + 7 * n % 197}", user_id=n % 20) for n in range(1000)]
    played = forecasts._Play(tasks, farm, NOW, {}, {}, {}, {})
    played.run()
    assert all(told.seconds is not None for told in played.told().values())
    assert played._line.deals <= 25 * len(tasks)
