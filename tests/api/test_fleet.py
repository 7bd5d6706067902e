"""What the api believes about its machines, without any: a fleet and a clock in the hand."""

from __future__ import annotations

import pytest

from renderonline.api.domain.model import Machine
from renderonline.api.services.fleet import LEAST_S, MOST_S, PROGRESS_PER_S, SETTLED_S, Fleet
from renderonline.wire import HpcStatus, HpcTask, Vitals

from .control import HandClock


def fleet_of(count: int, clock: HandClock) -> Fleet:
    fleet = Fleet(15.0, clock)
    fleet.refresh([Machine(n, "127.0.0.1", 6000 + n) for n in range(1, count + 1)], [], {})
    return fleet


def answer(fleet: Fleet, status: HpcStatus, now: float) -> None:
    for machine, generation in fleet.begin_visits(now):
        fleet.answered(machine.machine_id, generation, status, now)


@pytest.mark.parametrize(
    ("machines", "expected"), [(1, LEAST_S), (200, 200 / PROGRESS_PER_S), (100_000, MOST_S)]
)
def test_progress_is_told_the_rarer_the_more_machines_there_are(
    machines: int, expected: float
) -> None:
    assert fleet_of(machines, HandClock()).report_every_s() == expected


def test_machine_that_reports_is_not_asked_as_well() -> None:
    clock = HandClock()
    fleet = fleet_of(1, clock)
    busy = HpcStatus(protocol=1, task=HpcTask(is_running=True))
    answer(fleet, busy, 0.0)
    clock.pass_s(10)
    fleet.feels(1, Vitals(load=0.5))
    clock.pass_s(10)
    assert fleet.begin_visits(clock.monotonic()) == []
    clock.pass_s(5)
    assert len(fleet.begin_visits(clock.monotonic())) == 1


def test_report_does_not_put_off_a_question_that_is_due() -> None:
    clock = HandClock()
    fleet = fleet_of(1, clock)
    answer(fleet, HpcStatus(protocol=1), 0.0)
    fleet.look_again(1, clock.monotonic())
    fleet.feels(1, Vitals())
    assert len(fleet.begin_visits(clock.monotonic())) == 1


def test_vitals_tell_of_others_once_nothing_of_ours_is_in_them() -> None:
    clock = HandClock()
    fleet = fleet_of(1, clock)
    answer(fleet, HpcStatus(protocol=1, vitals=Vitals(load=2.0)), 0.0)

    def is_settled() -> bool:
        (seat,) = fleet.everyone()
        return seat.is_settled

    assert is_settled(), "it never had anything of ours"
    fleet.given(1, 7, 3)
    assert not is_settled()
    clock.pass_s(100)
    fleet.feels(1, Vitals(load=1.0))
    fleet.freed(1, 7)
    clock.pass_s(SETTLED_S)
    assert not is_settled(), "these are still those of its render"
    fleet.feels(1, Vitals(load=0.0))
    assert is_settled()
