"""A task that takes more memory than the idle machines have free: it waits, says so, and not for ever."""

from __future__ import annotations

from renderonline.api.db import chunks
from renderonline.api.domain.strain import PATIENCE_S
from renderonline.api.services import tasks as looking

from .control import Control, started
from .our_node import our_node
from .test_control_sql import any_engine, split_task

__all__ = ["any_engine"]


def test_task_waits_for_a_machine_with_room_but_not_for_ever(
    control: Control, any_engine: int
) -> None:
    """Each of the machines has 12 of its 16 GiB free."""
    task_id = split_task(control, any_engine)
    peak = {"peak_bytes": 19 * 2**30}
    control.database.transact(lambda _tx: chunks.set_record(task_id, 99, True, **peak))
    control.ctx.changed(task_id)
    with our_node("any") as first, our_node("any") as second:
        for node in (first, second):
            control.add_machine(node)
        control.turn()
        control.turn()
        assert (started(first), started(second)) == ([], [])
        (warning,) = looking.detail(control.ctx, control.user(), task_id).warnings
        assert warning.startswith("It has taken 19.0 GiB of memory, and the machines that are idle")
        assert "2 minutes at most" in warning
        control.turn(PATIENCE_S)
        assert [*started(first), *started(second)] == [task_id]


def test_the_only_machine_gets_it_at_once(control: Control, any_engine: int) -> None:
    task_id = split_task(control, any_engine)
    peak = {"peak_bytes": 19 * 2**30}
    control.database.transact(lambda _tx: chunks.set_record(task_id, 99, True, **peak))
    control.ctx.changed(task_id)
    with our_node("any") as only:
        control.add_machine(only)
        control.turn()
        control.turn()
        assert started(only) == [task_id]
        assert looking.detail(control.ctx, control.user(), task_id).warnings == []
