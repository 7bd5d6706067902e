"""Who gets what: waiting tasks and free machines in, assignments out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from renderonline.api.domain.planner import plan
from renderonline.api.domain.queue_index import Queue
from renderonline.api.domain.strain import PATIENCE_S
from renderonline.api.domain.workload import (
    NO_FRAMES,
    ActiveChunk,
    Assignment,
    Record,
    Roster,
    Seat,
    Waiting,
)
from renderonline.frames import FrameSet

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = NOW + timedelta(seconds=10)
GIB = 1024**3


def frames(text: str) -> FrameSet:
    return FrameSet.parse(text) if text else FrameSet()


def task(task_id: int, todo: str | None = "1-100", **fields: object) -> Waiting:
    """Blender frames of user 1 with priority 50, in chunks of one frame, as old as its number."""
    values: dict[str, object] = {
        "user_id": 1,
        "weight": 1.0,
        "order": task_id,
        "priority": 50,
        "engine": "blender",
        "version": None,
        "tags": frozenset(),
        "todo": None if todo is None else frames(todo),
        "chunk_frames": 1,
    }
    return Waiting(task_id=task_id, **(values | fields))  # type: ignore[arg-type]


def seat(machine_id: int, **fields: object) -> Seat:
    values: dict[str, object] = {"engines": {"blender": "4.5.1"}}
    return Seat(machine_id=machine_id, **(values | fields))  # type: ignore[arg-type]


def seats(count: int) -> list[Seat]:
    return [seat(i) for i in range(1, count + 1)]


def at_work(machine_id: int, what: str = "", **fields: object) -> ActiveChunk:
    """A chunk with the number 100 × its machine's."""
    return ActiveChunk(100 * machine_id, machine_id, frames(what), NOW, **fields)  # type: ignore[arg-type]


def decide(
    tasks: list[Waiting], free: list[Seat], *, everyone: list[Seat] | None = None, **more: object
) -> list[Assignment]:
    queue = Queue(tasks)
    decided = plan(queue, free, NOW, everyone=Roster(everyone or free), **more)  # type: ignore[arg-type]
    assert all(queue.get(t.task_id) is t for t in tasks), "it has to leave the queue as it was"
    assert plan(queue, free, NOW, everyone=Roster(everyone or free), **more) == decided  # type: ignore[arg-type]
    return decided


def pairs(decided: list[Assignment]) -> list[tuple[int, int]]:
    return [(d.task_id, d.machine_id) for d in decided]


def chunks(decided: list[Assignment]) -> list[tuple[int, str]]:
    return [(d.machine_id, str(d.frames)) for d in decided]


# --------------------------------------------------------------------------- order


@pytest.mark.parametrize(
    ("tasks", "free", "expected"),
    [
        ([], 1, []),
        ([task(1)], 0, []),
        ([task(1)], 1, [(1, 1)]),
        ([task(1, "1"), task(2, "1")], 1, [(1, 1)]),
        ([task(1, "1")], 2, [(1, 1)]),
        ([task(1, "1"), task(2, "1")], 2, [(1, 1), (2, 2)]),
        # the older one gets all that it wants, whatever its number
        ([task(1, order=9), task(2, "1-2", order=3)], 3, [(2, 1), (2, 2), (1, 3)]),
        # priority before age, and before anybody's share
        ([task(1), task(2, priority=51)], 2, [(2, 1), (2, 2)]),
        ([task(1, user_id=2), task(2, "1", priority=51)], 2, [(2, 1), (1, 2)]),
        # one piece, once
        ([task(1, None)], 2, [(1, 1)]),
        ([task(1, None, active=(at_work(7),))], 1, []),
    ],
)
def test_order(tasks: list[Waiting], free: int, expected: list[tuple[int, int]]) -> None:
    assert pairs(decide(tasks, seats(free))) == expected


def test_user_with_fifty_tasks_and_user_with_one_get_half_of_the_machines_each() -> None:
    many = [task(i, user_id=1) for i in range(1, 51)]
    decided = decide([*many, task(99, user_id=2)], seats(20))
    assert sum(d.task_id == 99 for d in decided) == 10


def test_heavier_subscription_gets_more() -> None:
    decided = decide([task(1), task(2, user_id=2, weight=3.0)], seats(20))
    assert sum(d.task_id == 2 for d in decided) == 15


def test_subscription_without_weight_comes_last_but_comes() -> None:
    weightless = task(1, user_id=2, weight=0.0)
    assert pairs(decide([weightless, task(2, "1-2")], seats(3))) == [(1, 1), (2, 2), (2, 3)]
    held = replace(weightless, active=(at_work(7, "500"),))
    assert pairs(decide([held, task(2, "1-2")], seats(3))) == [(2, 1), (2, 2), (1, 3)]


def test_what_a_user_had_lately_counts_like_machines() -> None:
    decided = decide([task(1), task(2, user_id=2)], seats(6), usage={1: 4.0})
    assert sum(d.task_id == 1 for d in decided) == 1


def test_machines_at_work_count_and_one_with_two_chunks_counts_once() -> None:
    busy = task(1, active=(at_work(7, "101"), at_work(7, "102"), at_work(8, "103")))
    decided = decide([busy, task(2, user_id=2)], seats(4))
    assert sum(d.task_id == 1 for d in decided) == 1


def test_lower_priority_does_not_take_what_a_higher_one_cannot_use() -> None:
    decided = decide(
        [task(1, engine="maya", priority=90), task(2, priority=10)], [seat(1), seat(2)]
    )
    assert pairs(decided) == [(2, 1), (2, 2)]


# --------------------------------------------------------------------------- who may


@pytest.mark.parametrize(
    ("wants", "machine", "may"),
    [
        ({}, {}, True),
        ({"engine": "povray"}, {}, False),
        ({"engine": "povray"}, {"engines": {"blender": None, "povray": None}}, True),
        ({"version": "4.5"}, {}, True),
        ({"version": "4.5"}, {"engines": {"blender": "4.5"}}, True),
        ({"version": "4.5"}, {"engines": {"blender": "4.50.1"}}, False),
        ({"version": "4.5"}, {"engines": {"blender": "3.4.1"}}, False),
        ({"version": "4.5"}, {"engines": {"blender": None}}, False),
        ({}, {"engines": {"blender": None}}, True),
        ({"tags": frozenset({"gpu"})}, {}, False),
        ({"tags": frozenset({"gpu"})}, {"tags": frozenset({"gpu", "big"})}, True),
        ({}, {"tags": frozenset({"gpu"})}, True),
        ({"start_at": SOON}, {}, False),
        ({"start_at": NOW}, {}, True),
        ({"is_blocked": True}, {}, False),
        ({"records": {1: Record(not_before=SOON)}}, {}, False),
        ({"records": {1: Record(not_before=NOW)}}, {}, True),
        ({"records": {2: Record(not_before=SOON)}}, {}, True),
        ({"machine_limit": 1, "active": (at_work(7, "500"),)}, {}, False),
        ({"machine_limit": 2, "active": (at_work(7, "500"), at_work(7, "501"))}, {}, True),
        # nobody else could: benched or too small is better than nobody
        ({"records": {1: Record(avoid=True)}}, {}, True),
        ({"min_memory_bytes": 8 * GIB}, {"memory_bytes": 8 * GIB}, True),
        ({"min_memory_bytes": 8 * GIB}, {}, True),
    ],
)
def test_who_may_have_a_task(
    wants: dict[str, object], machine: dict[str, object], may: bool
) -> None:
    assert bool(decide([task(1, **wants)], [seat(1, **machine)])) is may


def test_start_time_that_has_come_counts_without_anybody_saying_so() -> None:
    queue = Queue([task(1, start_at=SOON)])
    everyone = Roster(seats(1))
    assert queue.next_start() == SOON
    assert plan(queue, seats(1), NOW, everyone=everyone) == []
    assert pairs(plan(queue, seats(1), SOON, everyone=everyone)) == [(1, 1)]
    assert queue.next_start() is None


def test_benched_machine_gets_the_task_only_where_no_other_could() -> None:
    benched = task(1, records={1: Record(avoid=True)})
    both_benched = task(1, records={1: Record(avoid=True), 2: Record(avoid=True)})
    backed_off = task(1, records={1: Record(avoid=True), 2: Record(not_before=SOON)})
    two = seats(2)
    assert decide([benched], two[:1], everyone=two) == []
    assert pairs(decide([benched], two)) == [(1, 2)]
    assert pairs(decide([both_benched], two[:1], everyone=two)) == [(1, 1)]
    assert decide([backed_off], two[:1], everyone=two) == []


def test_machine_that_cannot_have_the_oldest_task_gets_the_next() -> None:
    tasks = [task(1, records={1: Record(not_before=SOON)}), task(2, user_id=2), task(3, user_id=1)]
    assert pairs(decide(tasks, seats(1))) == [(2, 1)]
    assert pairs(decide(tasks[::2], seats(1))) == [(3, 1)]


def test_task_that_ran_out_of_memory_goes_to_a_larger_machine_if_there_is_one() -> None:
    hungry = task(1, min_memory_bytes=8 * GIB)
    small, large = seat(1, memory_bytes=8 * GIB), seat(2, memory_bytes=16 * GIB)
    other = seat(3, memory_bytes=64 * GIB, engines={"povray": None})
    assert pairs(decide([hungry], [small, large])) == [(1, 2)]
    assert decide([hungry], [small], everyone=[small, large]) == []
    assert pairs(decide([hungry], [small], everyone=[small, other])) == [(1, 1)]


# --------------------------------------------------------------------------- limits


def test_licences_are_counted_over_all_tasks_and_over_own_decisions() -> None:
    tasks = [task(1, active=(at_work(7, "500"),)), task(2), task(3, engine="povray")]
    both = {"engines": {"blender": None, "povray": None}}
    free = [seat(i, **both) for i in range(1, 6)]
    decided = decide(tasks, free, engine_limits={"blender": 3})
    assert sum(d.task_id in (1, 2) for d in decided) == 2
    assert sum(d.task_id == 3 for d in decided) == 3


def test_machine_limit_of_a_task_holds_within_one_call() -> None:
    limited = task(1, machine_limit=3, active=(at_work(7, "500"),))
    assert pairs(decide([limited, task(2)], seats(4))) == [(1, 1), (1, 2), (2, 3), (2, 4)]


# --------------------------------------------------------------------------- which machine


def test_warm_before_fast_before_first() -> None:
    known = {
        2: Record(frame_s=1.0),
        3: Record(frame_s=9.0, is_warm=True),
        4: Record(frame_s=0.5),
        5: Record(frame_s=9.0),
    }
    # 1 has no record: it is taken to be as fast as the others are on the average
    decided = decide([task(1, records=known)], seats(5))
    assert [d.machine_id for d in decided] == [3, 4, 2, 1, 5]


@pytest.mark.parametrize("records", [{}, {1: Record(is_warm=True, frame_s=1.0)}])
@pytest.mark.parametrize(
    "weary", [{"load": 1.6}, {"memory_free_bytes": 3.5 * GIB}, {"load": 9.0, "memory_bytes": 1}]
)
def test_machine_with_other_things_to_do_gets_work_last(
    weary: dict[str, object], records: dict[int, Record]
) -> None:
    wanted = task(1, "1-2", memory_bytes=4 * GIB, records=records)
    free = [seat(1, **weary), *(seat(i, load=0.4, memory_free_bytes=4 * GIB) for i in (2, 3))]
    assert [d.machine_id for d in decide([wanted], free)] == [2, 3]
    assert [d.machine_id for d in decide([wanted], free[:2])] == [2, 1]


# --------------------------------------------------------------------------- for some only


def test_machine_that_is_kept_for_users_takes_their_tasks_alone() -> None:
    tasks = [
        task(1, "1", user_id=1, priority=90),
        task(2, "1-5", user_id=2),
        task(3, "1", user_id=3),
    ]
    kept = seat(1, only_users=frozenset({2, 4}))
    assert pairs(decide(tasks, [kept])) == [(2, 1)]
    assert pairs(decide(tasks, [kept, seat(2)])) == [(1, 2), (2, 1)]
    other = seat(2, only_users=frozenset({3}))
    assert pairs(decide(tasks, [kept, other])) == [(2, 1), (3, 2)]
    assert decide(tasks[:1], [kept, other]) == []


def test_machine_that_others_are_kept_from_is_none_that_could_do_it() -> None:
    """A task that is benched on the only machine it may have is rendered there all the same."""
    benched = task(1, "1-9", records={1: Record(avoid=True)})
    everyone = [seat(1), seat(2, only_users=frozenset({2}))]
    assert len(decide([benched], everyone[:1], everyone=everyone)) == 1
    assert decide([replace(benched, user_id=2)], everyone[:1], everyone=everyone) == []
    assert Roster(everyone).able(benched.requirement) == {1, 2}
    assert Roster(everyone).able_for(benched) == {1}
    cramped = task(1, "1-9", **HUNGRY)
    everyone = [seat(1, **FULL), seat(2, **ROOMY, only_users=frozenset({2}))]
    assert len(decide([cramped], everyone[:1], everyone=everyone)) == 1


def test_others_last_frames_are_not_for_a_machine_that_is_kept() -> None:
    slow = task(1, "", active=(at_work(2, "1-9"),), records={2: Record(frame_s=60.0)})
    everyone = [seat(1, only_users=frozenset({2})), seat(2)]
    assert decide([slow], everyone[:1], everyone=everyone) == []


GPU = frozenset({"gpu"})


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        # what asks for the tag has it, whatever else is more urgent
        ([task(1, priority=90), task(2, "1-5", tags=GPU)], [(2, 1), (1, 2)]),
        # nothing asks: it is there for all
        ([task(1, "1-9")], [(1, 1), (1, 2)]),
        ([task(1, "1-9"), task(2, "", tags=GPU, active=(at_work(9, "1"),))], [(1, 1), (1, 2)]),
        ([task(1, "1-9"), task(2, tags=GPU, is_blocked=True)], [(1, 1), (1, 2)]),
        # what asks for it is for a machine that it has not
        ([task(1, "1-9"), task(2, tags=GPU, engine="maya")], [(1, 1), (1, 2)]),
        # among those that ask the order is the usual one
        ([task(1, tags=GPU), task(2, tags=GPU, priority=90)], [(2, 1)]),
        ([task(1, "1-9"), task(2, "1", tags=GPU | {"big"})], [(1, 1), (1, 2)]),
    ],
)
def test_reserved_machine_takes_others_tasks_where_nothing_asks_for_it(
    tasks: list[Waiting], expected: list[tuple[int, int]]
) -> None:
    free = [seat(1, reserve="gpu", tags=GPU), seat(2)]
    assert sorted(pairs(decide(tasks, free))) == sorted(expected)


def test_reserved_machine_is_not_held_up_by_licences() -> None:
    tasks = [task(1, "1-9", engine="povray"), task(2, tags=GPU)]
    free = [seat(1, reserve="gpu", tags=GPU, engines={"blender": None, "povray": None})]
    assert pairs(decide(tasks, free)) == [(2, 1)]
    assert pairs(decide(tasks, free, engine_limits={"blender": 0})) == [(1, 1)]


# --------------------------------------------------------------------------- free memory

HUNGRY = {"memory_bytes": 10 * GIB}
"""A task whose chunks have taken ten GiB."""

FULL = {"memory_bytes": 32 * GIB, "memory_free_bytes": 7 * GIB}
ROOMY = {"memory_bytes": 32 * GIB, "memory_free_bytes": 20 * GIB}


@pytest.mark.parametrize(
    ("first", "others", "expected"),
    [
        (FULL, [], 1),  # on a farm of one it runs
        (FULL, [ROOMY], 0),  # the other one will have it, when it is free
        (FULL, [FULL], 0),  # perhaps it finds room there
        (FULL, [{"memory_bytes": 4 * GIB}], 1),  # that one never will
        (FULL, [{}], 0),  # nobody knows how large that one is
        ({**FULL, "memory_free_bytes": 9 * GIB}, [ROOMY], 1),  # nearly enough
        ({**FULL, "memory_free_bytes": None}, [ROOMY], 1),
        # what it holds itself it gives back first
        ({**FULL, "is_settled": False, "last_task": 1}, [ROOMY], 1),
        ({**FULL, "is_settled": False, "last_task": 2}, [ROOMY], 1),
        ({**FULL, "is_settled": False, "last_task": 3}, [ROOMY], 0),
        ({**FULL, "is_settled": False, "last_task": 77}, [ROOMY], 1),  # nobody knows how much
        ({**FULL, "last_task": 1}, [ROOMY], 0),  # that is closed since long
        (FULL, [{**ROOMY, "engines": {"povray": None}}], 1),
    ],
)
def test_machine_without_room_is_passed_by_as_long_as_another_could_have_the_task(
    first: dict[str, object], others: list[dict[str, object]], expected: int
) -> None:
    light = [
        task(i, "", memory_bytes=n * GIB, active=(at_work(50 + i, "9"),))
        for i, n in ((2, 3), (3, 0.5))
    ]
    free = seat(1, **first)
    everyone = [free, *(seat(n, **fields) for n, fields in enumerate(others, start=2))]
    decided = decide([task(1, "1-9", **HUNGRY), *light], [free], everyone=everyone)
    assert len(decided) == expected


def test_what_has_no_room_anywhere_waits_no_longer_than_is_patient() -> None:
    queue = Queue([task(1, "1-9", **HUNGRY)])
    free = [seat(1, **FULL), seat(2, **{**FULL, "memory_free_bytes": 5 * GIB})]

    def at(seconds: float) -> list[int]:
        now = NOW + timedelta(seconds=seconds)
        return [d.machine_id for d in plan(queue, free, now, everyone=Roster(free))]

    assert at(0) == at(PATIENCE_S - 1) == []
    assert at(PATIENCE_S) == [1], "the one with more room; the other one leaves it alone"
    queue.put(task(1, "1-9", **HUNGRY, active=(at_work(3, "10"),)))
    assert at(PATIENCE_S + 1) == [], "another machine is at it"
    queue.put(task(1, "1-9", **HUNGRY))
    assert at(PATIENCE_S + 2) == at(2 * PATIENCE_S + 1) == []
    assert at(2 * PATIENCE_S + 2) == [1], "the wait begins anew"


def test_others_are_not_held_up_by_one_that_waits_for_room() -> None:
    free = [seat(1, **FULL), seat(2, **FULL)]
    decided = decide([task(1, "1-9", **HUNGRY), task(2, "1")], free[:1], everyone=free)
    assert pairs(decided) == [(2, 1)]
    roomy = [seat(1, **FULL), seat(2, **ROOMY)]
    assert pairs(decide([task(1, "1-9", **HUNGRY), task(2, "1")], roomy)) == [(1, 2), (2, 1)]


def test_last_frames_are_not_copied_to_a_machine_without_room() -> None:
    slow = task(1, "", **HUNGRY, active=(at_work(2, "1-9"),), records={2: Record(frame_s=60.0)})
    everyone = [seat(1, **FULL), seat(2, **ROOMY)]
    assert decide([slow], everyone[:1], everyone=everyone) == []
    everyone[0] = seat(1, **ROOMY)
    assert len(decide([slow], everyone[:1], everyone=everyone)) == 1


# --------------------------------------------------------------------------- which frames


@pytest.mark.parametrize(
    ("wanted", "free", "expected"),
    [
        ({"chunk_frames": 4}, 2, [(1, "1-4"), (2, "5-8")]),
        ({"chunk_frames": 4, "todo": "1-2,9-20"}, 2, [(1, "1-2"), (2, "9-12")]),
        ({"chunk_frames": 4, "todo": "1-9x2"}, 2, [(1, "1-7x2"), (2, "9")]),
        ({"chunk_frames": 4, "todo": "1,5,10-20"}, 2, [(1, "1,5"), (2, "10-13")]),
        ({"chunk_frames": 2, "todo": "-9--1x4,7"}, 3, [(1, "-9,-5"), (2, "-1,7")]),
        # an engine that takes no step
        ({"chunk_frames": 4, "todo": "1-9x2", "takes_step": False}, 2, [(1, "1"), (2, "3")]),
        ({"chunk_frames": 4, "todo": "1,5,10-20", "takes_step": False}, 2, [(1, "1"), (2, "5")]),
        ({"chunk_frames": 4, "todo": "-3-1"}, 2, [(1, "-3-0"), (2, "1")]),
        # previews first, each by itself, however large the chunks are
        (
            {"chunk_frames": 4, "preview": frames("1,50,100")},
            4,
            [(1, "1"), (2, "50"), (3, "100"), (4, "2-5")],
        ),
        # automatic: nothing is known, so it is little
        ({"chunk_frames": None}, 2, [(1, "1-2"), (2, "3-4")]),
        ({"chunk_frames": None, "todo": "1-9"}, 2, [(1, "1"), (2, "2")]),
    ],
)
def test_frames(wanted: dict[str, object], free: int, expected: list[tuple[int, str]]) -> None:
    assert chunks(decide([task(1, **wanted)], seats(free))) == expected


def test_start_up_counts_for_more_where_other_tasks_wait_for_the_machine() -> None:
    cold = Record(frame_s=0.6, startup_s=1.2)
    wanted = task(1, "1-36", chunk_frames=None, records={1: cold, 2: cold})
    wanted = replace(wanted, active=(at_work(2, "40"),))
    assert chunks(decide([wanted], seats(1))) == [(1, "1-18")]
    assert chunks(decide([wanted, task(2)], seats(1))) == [(1, "1-36")]


# --------------------------------------------------------------------------- ahead of time


def busy(machine_id: int, free_in_s: float = 0.5) -> Seat:
    return seat(machine_id, free_in_s=free_in_s, after=100 * machine_id)


def test_busy_machine_gets_its_next_chunk_after_the_idle_ones() -> None:
    task_1 = task(1, "10-20", active=(at_work(1, "5"), at_work(2, "6")))
    decided = decide([task_1], [busy(1), busy(2, 0.1), seat(3)])
    assert [(d.machine_id, d.after, str(d.frames)) for d in decided] == [
        (3, None, "10"),
        (2, 200, "11"),
        (1, 100, "12"),
    ]


def test_slow_machine_is_not_handed_what_a_faster_one_will_be_free_for() -> None:
    records = {1: Record(frame_s=1.0), 2: Record(frame_s=9.0)}
    last = task(1, "10", active=(at_work(1, "5"), at_work(2, "6")), records=records)
    assert [d.machine_id for d in decide([last], [busy(1), busy(2, 0.1)])] == [1]


def test_one_piece_is_handed_over_ahead_too() -> None:
    decided = decide([task(1, None)], [busy(1)])
    assert decided == [Assignment(1, 1, None, after=100)]


# --------------------------------------------------------------------------- the last frames


def tail(what: str, machine_id: int = 7, **fields: object) -> Waiting:
    """Nothing waits; one machine has these frames left, of 10 s each, after a start of 1 s."""
    since = fields.pop("taken_s", 0.0)
    chunk = at_work(
        machine_id,
        what,
        frame_since=NOW - timedelta(seconds=since),  # type: ignore[arg-type]
        is_copy=fields.pop("is_copy", False),  # type: ignore[arg-type]
        helped=fields.pop("helped", NO_FRAMES),  # type: ignore[arg-type]
    )
    values: dict[str, object] = {
        "active": (replace(chunk, started_at=NOW - timedelta(hours=1)),),
        "records": {machine_id: Record(frame_s=10.0, startup_s=1.0)},
    }
    return task(1, "", **(values | fields))


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (tail("1-10"), "6-10"),
        (tail("1-2"), "2"),
        (tail("1"), None),  # on its way, and nobody would be faster
        (tail("1", taken_s=14.0), None),
        (tail("1", taken_s=16.0), "1"),  # overdue
        (tail("1-3", taken_s=100.0), "1-3"),  # it may hang
        (tail("1-10", is_copy=True), None),
        (tail("1-10", helped=FrameSet.parse("6-10")), "4-5"),
        (tail("1-10", helped=FrameSet.parse("2-10")), None),
        (tail("1-10", machine_limit=1), None),
        (tail("1-10", is_blocked=True), None),
        (tail("1-10", machine_id=1), None),  # its own
        # who is faster here takes more of it, who is slower less
        (tail("1-10", records={7: Record(frame_s=10.0), 1: Record(frame_s=2.5)}), "3-10"),
        (tail("1-10", records={7: Record(frame_s=10.0), 1: Record(frame_s=40.0)}), "9-10"),
        (tail("1", records={7: Record(frame_s=10.0), 1: Record(frame_s=2.5)}), "1"),
        # not worth a start
        (tail("1-10", records={7: Record(frame_s=0.5, startup_s=3.0)}), None),
        (tail("1-3", records={7: Record(frame_s=1.0)}), None),
        # nothing is known
        (tail("1-9", records={}), "6-9"),
        (tail("1", records={}), None),
        # evenly spaced, where the engine can do that
        (tail("1-19x2"), "11-19x2"),
        (tail("1-19x2", takes_step=False), "19"),
        (tail("1-6x3,12", records={}), "12"),
        # a machine that has failed the task before
        (tail("1", records={7: Record(avoid=True, frame_s=10.0)}), "1"),
        (tail("1-10", records={1: Record(not_before=SOON)}), None),
    ],
)
def test_idle_machine_helps_with_the_last_frames(left: Waiting, expected: str | None) -> None:
    both = [seat(1), seat(7)]
    decided = decide([left], [seat(1)], everyone=both)
    assert [str(d.frames) for d in decided] == ([] if expected is None else [expected])
    assert all(d.copy_of == left.active[0].attempt_id for d in decided)


@pytest.mark.parametrize(
    ("left", "machines", "expected"),
    [
        # 25 frames of 10 s and a start of 1 s: eleven machines need 30 s and not 125
        (tail("1-25", 20), 10, ["23-25", "20-22", "18-19", "16-17", "14-15"]),
        (tail("1-25", 20), 1, ["14-25"]),
        (tail("1-25", 20), 2, ["18-25", "10-17"]),
        (tail("1-4", 20), 9, ["4", "3", "2"]),  # the first is on its way
        (tail("1-25", 20, machine_limit=3), 9, ["18-25", "10-17"]),
        (tail("1-9", 20, records={}), 2, ["7-9", "4-6"]),  # nothing is known
    ],
)
def test_as_many_help_as_make_it_sooner(left: Waiting, machines: int, expected: list[str]) -> None:
    decided = decide([left], seats(machines), everyone=seats(20))
    found = [str(d.frames) for d in decided]
    assert found[: len(expected)] == expected
    assert {d.copy_of for d in decided} == {left.active[0].attempt_id}
    parts = [frame for d in decided for frame in d.frames or ()]
    assert len(parts) == len(set(parts))
    owed = len(left.active[0].frames) - len(parts)
    if left.records:  # all of them are done at about the same time
        assert max(owed * 10, 1 + 10 * max(len(d.frames or ()) for d in decided)) <= (
            10 * (len(left.active[0].frames) / (len(decided) + 1) + 1) + 1
        )


def test_longest_chunk_is_helped_with_first() -> None:
    task_1 = tail("1-10")
    task_2 = replace(tail("1-20", 8), task_id=2)
    decided = decide([task_1, task_2], seats(3), everyone=seats(9))
    assert [(d.copy_of, d.machine_id) for d in decided] == [(800, 1), (800, 2), (700, 3)]
    assert len({(d.copy_of, str(d.frames)) for d in decided}) == 3


def test_waiting_frames_come_before_helping() -> None:
    assert pairs(decide([tail("1-10"), task(2, "1", priority=1)], seats(1))) == [(2, 1)]


def test_helping_counts_as_a_licence_and_a_machine() -> None:
    two = replace(tail("1-10"), active=(at_work(7, "1-10"), at_work(8, "11-20")), machine_limit=3)
    assert len(decide([two], seats(3), everyone=seats(9))) == 1
    unlimited = replace(two, machine_limit=None)
    assert len(decide([unlimited], seats(3), everyone=seats(9))) == 3
    assert len(decide([unlimited], seats(3), engine_limits={"blender": 3})) == 1
    assert decide([unlimited], seats(3), engine_limits={"blender": 2}) == []


# --------------------------------------------------------------------------- what a start costs


def warm_at(frame_s: float, startup_s: float, frames_done: int) -> Record:
    return Record(frame_s=frame_s, startup_s=startup_s, is_warm=True, frames_done=frames_done)


def test_a_machine_stays_with_the_task_it_is_warm_for_while_its_start_has_not_paid_off() -> None:
    """Two tasks of one user: the older one comes first, but for whom a start there would cost more."""
    older = task(1, "1-2", records={5: Record(frame_s=1.0, startup_s=10.0)})
    newer = task(2, records={1: warm_at(1.0, 10.0, frames_done=3)})
    assert pairs(decide([older, newer], [seat(1, last_task=2)])) == [(2, 1)]
    # one that has nothing open there begins with the older
    assert pairs(decide([older, newer], [seat(2)])) == [(1, 2)]
    # and so does one whose start has paid off: it rendered for twenty times as long
    paid = task(2, records={1: warm_at(1.0, 10.0, frames_done=300)})
    assert pairs(decide([older, paid], [seat(1, last_task=2)])) == [(1, 1)]


def test_a_machine_leaves_for_a_user_who_has_none() -> None:
    own = task(2, user_id=1, records={1: warm_at(1.0, 10.0, frames_done=3)})
    others = [task(3, user_id=1, active=(at_work(8, "1"),)), task(9, user_id=2, priority=50)]
    assert pairs(decide([own, *others], [seat(1, last_task=2)])) == [(9, 1)]


def test_priority_comes_before_any_start() -> None:
    own = task(2, records={1: warm_at(1.0, 10.0, frames_done=3)})
    assert pairs(decide([own, task(9, priority=51)], [seat(1, last_task=2)])) == [(9, 1)]


def test_a_machine_that_would_come_too_late_is_left_out() -> None:
    """Two frames are left, and the machine at work has done them before another has started."""
    nearly = {
        "records": {7: warm_at(1.0, 10.0, 50)},
        "active": (at_work(7, "1", frame_since=NOW),),
        "chunk_frames": None,
    }
    assert decide([task(1, "2-3", **nearly)], [seat(1)]) == []
    assert pairs(decide([task(1, "2-300", **nearly)], [seat(1)])) == [(1, 1)]
