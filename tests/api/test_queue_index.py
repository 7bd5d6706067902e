"""The queue's order, against one that is sorted from nothing each time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from renderonline.api.domain.queue_index import Queue
from renderonline.api.domain.workload import Requirement, Waiting
from tests.api.test_planner import NOW, at_work, frames, task

USAGE = {1: 0.5, 2: 2.0}


@st.composite
def tasks(draw: st.DrawFn) -> Waiting:
    task_id = draw(st.integers(1, 12))
    machines = draw(st.lists(st.integers(1, 6), max_size=3))
    start_at = draw(st.sampled_from([None, NOW, NOW + timedelta(seconds=9)]))
    made = task(
        task_id,
        None,
        user_id=draw(st.integers(1, 4)),
        order=draw(st.integers(1, 5)),
        priority=draw(st.sampled_from([10, 50, 90])),
        engine=draw(st.sampled_from(["blender", "povray"])),
        active=tuple(at_work(m, str(200 + m)) for m in machines),
        machine_limit=draw(st.sampled_from([None, 2])),
        is_blocked=draw(st.booleans()),
        start_at=start_at,
    )
    return replace(made, todo=draw(st.sampled_from([None, frames(""), frames("1-9")])))


def is_ready(task: Waiting) -> bool:
    machines = {chunk.machine_id for chunk in task.active}
    if task.is_blocked or (task.start_at is not None and task.start_at > NOW):
        return False
    if task.machine_limit is not None and len(machines) >= task.machine_limit:
        return False
    return not task.active if task.todo is None else bool(task.todo.runs)


def expected_order(known: dict[int, Waiting], requirement: Requirement) -> list[int]:
    at = {(task.user_id, c.machine_id) for task in known.values() for c in task.active}
    running = Counter(user for user, _ in at)

    def rank(task: Waiting) -> tuple[float, ...]:
        share = running[task.user_id] + USAGE.get(task.user_id, 0.0)
        return (-task.priority, share, task.order, task.task_id)

    ready = [t for t in known.values() if is_ready(t) and t.requirement == requirement]
    return [task.task_id for task in sorted(ready, key=rank)]


def order_of(queue: Queue, requirement: Requirement) -> list[int]:
    """Each task that comes first when those before it are passed over."""
    found: list[int] = []
    for group in queue.groups():
        if group.requirement == requirement:
            while (rank := queue.first(group, USAGE, found.__contains__)) is not None:
                found.append(rank.task_id)
    return found


@given(st.lists(tasks() | st.integers(1, 12), max_size=40))
def test_order_is_that_of_sorting_everything(changes: list[Waiting | int]) -> None:
    queue, known = Queue(), dict[int, Waiting]()
    for change in changes:
        if isinstance(change, int):
            queue.drop(change)
            known.pop(change, None)
        else:
            queue.put(change)
            known[change.task_id] = change
        queue.advance(NOW)
        for requirement in {item.requirement for item in known.values()}:
            assert order_of(queue, requirement) == expected_order(known, requirement)
        at = {(item.engine, c.machine_id) for item in known.values() for c in item.active}
        for engine in ("blender", "povray"):
            assert queue.machines_with(engine) == sum(name == engine for name, _ in at)
        assert len(queue) == len(known)


@given(st.lists(tasks(), max_size=20))
def test_nothing_is_kept_of_what_was_dropped(items: list[Waiting]) -> None:
    queue = Queue(items)
    for item in items:
        queue.drop(item.task_id)
    queue.advance(NOW + timedelta(days=1))
    assert list(queue.groups()) == []
    assert queue.machines_with("blender") == 0
    assert queue.at_work(1, 100) is None
    assert queue.next_start() is None
