"""Who gets what: waiting tasks and idle machines in, assignments out."""

from __future__ import annotations

import pytest

from renderonline.api.domain.planner import Assignment, Idle, Waiting, plan


def waiting(*engines: str) -> list[Waiting]:
    """Tasks 1, 2, 3 … in this order, of version 10 × their id."""
    return [Waiting(i, i * 10, engine) for i, engine in enumerate(engines, start=1)]


def idle(*engines: str) -> list[Idle]:
    """Machines 1, 2, 3 …, each with its engines, separated by spaces."""
    return [Idle(i, frozenset(names.split())) for i, names in enumerate(engines, start=1)]


@pytest.mark.parametrize(
    ("tasks", "machines", "pairs"),
    [
        ((), ("blender",), []),
        (("blender",), (), []),
        (("blender",), ("blender",), [(1, 1)]),
        (("blender", "blender"), ("blender",), [(1, 1)]),
        (("blender",), ("blender", "blender"), [(1, 1)]),
        (("blender", "povray"), ("povray", "blender"), [(1, 2), (2, 1)]),
        # nobody has its engine: the tasks behind it go on
        (("maya", "blender"), ("blender",), [(2, 1)]),
        (("blender",), ("povray", ""), []),
        (("Blender",), ("blender",), [(1, 1)]),
        (("a", "a", "b"), ("a b", "a b", "a b"), [(1, 1), (2, 2), (3, 3)]),
    ],
)
def test_plan(
    tasks: tuple[str, ...], machines: tuple[str, ...], pairs: list[tuple[int, int]]
) -> None:
    expected = [Assignment(task, task * 10, machine) for task, machine in pairs]
    assert plan(waiting(*tasks), idle(*machines)) == expected


def test_machine_that_has_just_refused_a_task_is_not_offered_it() -> None:
    two = waiting("blender", "blender")
    decided = plan(two, idle("blender", "blender"), avoid={(1, 1)})
    assert [(d.task_id, d.machine_id) for d in decided] == [(1, 2), (2, 1)]
    assert plan(waiting("blender"), idle("blender"), avoid={(1, 1)}) == []


def test_what_it_is_given_stays_as_it_is() -> None:
    machines = idle("blender")
    plan(waiting("blender"), machines)
    assert machines == idle("blender")
