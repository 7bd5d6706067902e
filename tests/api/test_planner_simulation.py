"""What the planner's decisions come to: whole renders in virtual time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderonline.api.domain.planner import Waiting
from tests.api.simulated_farm import Machine, SimulatedFarm
from tests.api.test_planner import task

ONE_MACHINE_S = 1.2 + 40 * 0.6
"""A start and 40 frames of 0.6 s."""


def machines(count: int, frame_s: float, **fields: object) -> list[Machine]:
    return [Machine(i, lambda _frame: frame_s, **fields) for i in range(1, count + 1)]  # type: ignore[arg-type]


def render(farm: SimulatedFarm, *tasks: Waiting) -> float:
    """The makespan, in seconds; every frame came, and nothing is left behind."""
    for item in tasks:
        farm.submit(item)
    makespan_s = farm.run()
    for item in tasks:
        assert item.todo is not None
        assert set(farm.done[item.task_id]) == set(item.todo)
    assert len(farm.queue) == 0
    return makespan_s


def a_task(task_id: int = 1, last: int = 40, **fields: object) -> Waiting:
    return task(task_id, f"1-{last}", **({"chunk_frames": None} | fields))


@pytest.mark.parametrize(("is_kept_warm", "part"), [(False, 0.60), (True, 0.54)])
def test_two_machines_take_little_more_than_half_of_one(is_kept_warm: bool, part: float) -> None:
    farm = SimulatedFarm(machines(2, 0.6, is_kept_warm=is_kept_warm))
    assert render(farm, a_task()) <= part * ONE_MACHINE_S
    assert set(farm.done[1].values()) == {1}, "nothing was worth doing twice"


def test_cold_machines_start_twice_each() -> None:
    farm = SimulatedFarm(machines(2, 0.6))
    render(farm, a_task())
    assert farm.chunks == 4


@pytest.mark.parametrize("is_kept_warm", [False, True])
def test_frames_with_a_step_cost_what_as_many_others_do(is_kept_warm: bool) -> None:
    def rendered(frames: str, **fields: object) -> tuple[int, float]:
        farm = SimulatedFarm(machines(3, 0.6, is_kept_warm=is_kept_warm))
        makespan_s = render(farm, task(1, frames, chunk_frames=None, **fields))
        return farm.chunks, makespan_s

    assert rendered("-99-99x2") == rendered("-49-50")
    chunks, makespan_s = rendered("-99-99x2", takes_step=False)
    assert chunks == 100, "each by itself, where the engine cannot"
    assert makespan_s >= rendered("-99-99x2")[1]


@pytest.mark.parametrize("is_handed_ahead", [False, True])
def test_twenty_chunks_of_a_second_on_two_machines(is_handed_ahead: bool) -> None:
    farm = SimulatedFarm(machines(2, 1.0, startup_s=0.0), is_handed_ahead=is_handed_ahead)
    assert render(farm, a_task(last=20, chunk_frames=1)) <= (10.1 if is_handed_ahead else 10.6)
    assert farm.chunks == 20


@pytest.mark.parametrize("is_kept_warm", [False, True])
def test_machines_of_different_speed_end_together(is_kept_warm: bool) -> None:
    fast, slow = Machine(1, lambda _frame: 1.0), Machine(2, lambda _frame: 3.0)
    fast.is_kept_warm = slow.is_kept_warm = is_kept_warm
    makespan_s = render(SimulatedFarm([fast, slow]), a_task(last=100))
    assert 100 / (1 + 1 / 3) / makespan_s >= 0.9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("is_handed_ahead", [False, True])
@pytest.mark.parametrize("speeds", [(1.0, 1.0), (0.7, 1.4)])
def test_thousand_uneven_frames_over_fifty_machines(
    seed: int, is_handed_ahead: bool, speeds: tuple[float, float]
) -> None:
    chance = random.Random(seed)
    lengths_s = [chance.lognormvariate(2.0, 0.3) for _ in range(1001)]
    each = [chance.uniform(*speeds) for _ in range(50)]

    def machine(machine_id: int, speed: float) -> Machine:
        return Machine(machine_id, lambda frame: lengths_s[frame] / speed, 2.0, is_kept_warm=True)

    farm = SimulatedFarm(
        [machine(i, speed) for i, speed in enumerate(each, start=1)],
        is_handed_ahead=is_handed_ahead,
    )
    makespan_s = render(farm, a_task(last=1000))
    assert sum(lengths_s[1:]) / sum(each) / makespan_s >= 0.9


def test_last_chunk_of_a_slow_machine_is_finished_by_a_fast_one() -> None:
    """It is ten times as slow, and nobody knew when it got its first frames."""
    slow = Machine(2, lambda _frame: 100.0)
    farm = SimulatedFarm([*machines(1, 10.0, is_kept_warm=True), slow])
    assert render(farm, a_task(last=20)) < 200
    assert farm.done[1][2] + farm.done[1][3] + farm.done[1][4] >= 3


def test_idle_machines_share_what_one_would_long_be_at() -> None:
    """A chunk of 25 frames of 10 s was asked for; alone it takes 251 s, with one helper 126 s, and
    eleven machines need 10 s for the first frame, and a start and two or three more."""
    farm = SimulatedFarm(machines(11, 10.0))
    assert render(farm, a_task(last=25, chunk_frames=25)) <= 70
    assert set(farm.done[1].values()) == {1}, "nobody did what another one did"


def test_user_with_many_tasks_holds_up_nobody() -> None:
    """The one with a single task has half of the machines until it is done."""
    farm = SimulatedFarm(machines(10, 5.0, is_kept_warm=True))
    many = [a_task(i, 20, user_id=1) for i in range(1, 51)]
    render(farm, *many, a_task(99, 50, user_id=2))
    assert farm.ended_s[99] <= 1.3 * 50 * 5.0 / 5
    assert farm.ended_s[99] < farm.ended_s[12]


def test_more_urgent_task_gets_each_machine_that_comes_free() -> None:
    farm = SimulatedFarm(machines(4, 1.0, is_kept_warm=True))
    render(farm, a_task(1, 400), a_task(2, 100, priority=90, order=9))
    assert farm.ended_s[2] <= 100 / 4 + 1.2 + 5


def test_start_ups_do_not_eat_a_farm_with_many_tasks() -> None:
    farm = SimulatedFarm(machines(10, 5.0))
    makespan_s = render(farm, *(a_task(i, 50) for i in range(1, 41)))
    assert 40 * 50 * 5.0 / 10 / makespan_s >= 0.9


paces = st.tuples(st.integers(1, 8), st.floats(0.01, 50), st.floats(0, 20), st.booleans())
"""Of a machine: its id, seconds per frame and per start, whether it is kept warm."""

works = st.fixed_dictionaries(
    {
        "user_id": st.integers(1, 3),
        "priority": st.sampled_from([10, 50]),
        "todo": st.sampled_from(["1", "1-30", "1-30x3", "-5-5,9,20-22", "-9-9x2,11,14,20"]),
        "takes_step": st.booleans(),
        "chunk_frames": st.sampled_from([None, None, 1, 7]),
        "machine_limit": st.sampled_from([None, 1, 3]),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(paces, min_size=1, max_size=8, unique_by=lambda pace: pace[0]),
    st.lists(works, min_size=1, max_size=5),
    st.booleans(),
)
def test_every_frame_of_every_task_comes(
    farm_of: list[tuple[int, float, float, bool]],
    wanted: list[dict[str, object]],
    is_handed_ahead: bool,
) -> None:
    def machine(number: int, frame_s: float, startup_s: float, is_kept_warm: bool) -> Machine:
        return Machine(number, lambda _frame: frame_s, startup_s, is_kept_warm)

    farm = SimulatedFarm([machine(*pace) for pace in farm_of], is_handed_ahead=is_handed_ahead)
    tasks = [task(i, **fields) for i, fields in enumerate(wanted, start=1)]  # type: ignore[arg-type]
    render(farm, *tasks)
    saved = sum(sum(frames.values()) for frames in farm.done.values())
    assert saved <= 2 * sum(len(item.todo or ()) for item in tasks)
