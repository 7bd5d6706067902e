"""Machines that have hours, or are kept for some: what they get, and what people see."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.original_node import OriginalNode

from renderonline import wire
from renderonline.api.db import tasks
from renderonline.api.domain.model import Role
from renderonline.api.services import admin, machines
from renderonline.api.services import tasks as looking

from .control import Control, started
from .test_control_sql import any_engine, split_task

__all__ = ["any_engine"]


def window(control: Control, begins_in_m: int, ends_in_m: int) -> str:
    """Hours that begin and end so many minutes from now, by the wall clock of whoever tests."""
    local = control.clock.now().astimezone()
    begin, end = (local + timedelta(minutes=away) for away in (begins_in_m, ends_in_m))
    return f"{begin:%a %H:%M}-{end:%H:%M}".lower()


def shown(control: Control, machine_id: int) -> wire.Machine:
    boss = replace(control.user(), role=Role.ADMIN)
    listed = machines.listed(control.ctx, boss).machines
    return next(machine for machine in listed if machine.machine_id == machine_id)


def setup(control: Control, node: OriginalNode, **columns: Any) -> int:
    machine_id = control.add_machine(node)
    admin.change(control.database, "machine", machine_id, columns)
    return machine_id


def test_machine_takes_work_within_its_hours_only(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    machine_id = setup(control, machine, hours=window(control, 60, 90))
    task_id = split_task(control, any_engine)
    control.turn()
    seen = shown(control, machine_id)
    assert (seen.state, started(machine)) == ("closed", [])
    opens = control.clock.now().astimezone() + timedelta(minutes=60)
    assert seen.reason is not None
    assert seen.reason.endswith(f"{opens:%H:%M}.")
    (warning,) = looking.detail(control.ctx, control.user(), task_id).warnings
    assert warning.startswith("No machine takes work at present")
    control.turn(60 * 60)
    assert started(machine) == [task_id], "at the window's begin, without a report or a submission"
    assert shown(control, machine_id).state == "enabled"
    control.turn(30 * 60)
    assert (shown(control, machine_id).state, machine.stops) == ("closed", [])
    machine.finish()
    control.turn()
    assert (started(machine), control.attempts(task_id)) == ([task_id], ["succeeded"])
    admin.change(control.database, "machine", machine_id, {"hours": "none"})
    control.turn()
    assert started(machine) == [task_id, task_id]


def test_machine_may_stop_when_its_hours_end(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    machine_id = setup(control, machine, hours=f"{window(control, -10, 30)} stop")
    task_id = split_task(control, any_engine)
    control.turn()
    assert started(machine) == [task_id]
    control.turn(30 * 60)
    assert (control.attempts(task_id), len(machine.stops)) == (["interrupted"], 1)
    assert "outside its hours" in (control.chunks(task_id)[0].message or "")
    assert shown(control, machine_id).work == []


def test_machine_that_is_kept_for_a_user_leaves_others_tasks_alone(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    for email in ("ada@example.com", "bob@example.com"):
        admin.add(control.database, "user", {"email": email})
    machine_id = setup(control, machine, only_users=["ADA@example.com"])
    theirs, adas = (split_task(control, any_engine) for _ in range(2))
    (ada,) = (row for row in admin.rows(control.database, "user") if row["email"][:3] == "ada")
    control.database.transact(
        lambda _tx: tasks.set_task(adas, 1, user_id=ada["user_id"], start_at=None)
    )
    control.turn()
    control.turn(2.1)
    assert started(machine) == [adas]
    (warning,) = looking.detail(control.ctx, control.user(), theirs).warnings
    assert warning == "The machines that could do it are kept for other users."
    assert shown(control, machine_id).only_users == ["ada@example.com"]
    (seen,) = machines.listed(control.ctx, control.user()).machines
    assert seen.only_users == [], "who that is, is an admin's business"
    admin.change(control.database, "user", "ada@example.com", {"email": "lovelace@example.com"})
    assert shown(control, machine_id).only_users == ["lovelace@example.com"]
    (row,) = (r for r in admin.rows(control.database, "machine"))
    assert row["only_users"] == ["lovelace@example.com"]
    admin.change(control.database, "machine", machine_id, {"only_users": "bob@example.com"})
    with pytest.raises(admin.AdminError, match="is kept for this user"):
        admin.remove(control.database, "user", "bob@example.com")
    admin.change(control.database, "machine", machine_id, {"only_users": "none"})
    assert shown(control, machine_id).only_users == []


def test_reserved_machine_has_the_tag_that_it_is_reserved_for(
    control: Control, any_engine: int, machine: OriginalNode
) -> None:
    machine_id = setup(control, machine, reserve="film")
    control.turn()
    plain, film = (split_task(control, any_engine) for _ in range(2))
    control.database.transact(lambda _tx: tasks.set_task(film, 1, tags="film"))
    control.turn()
    assert started(machine) == [film], "though the other one is older"
    seen = shown(control, machine_id)
    assert (seen.reserve, seen.tags) == ("film", ["film"])
    assert control.state(plain) == "queued"


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"hours": "9-17"}, "are no hours"),
        ({"hours": "x" * 300}, "longer than"),
        ({"only_users": ["nobody@example.com"]}, "There is no user nobody@example.com"),
        ({"only_users": "7, 8"}, "There is no user 7"),
        ({"reserve": "a b"}, "is not a tag"),
        ({"reserve": "x" * 41}, "is not a tag"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    control: Control, machine: OriginalNode, columns: dict[str, Any], says: str
) -> None:
    machine_id = control.add_machine(machine)
    with pytest.raises(admin.AdminError, match=says):
        admin.change(control.database, "machine", machine_id, columns)
    boss = replace(control.user(), role=Role.ADMIN)
    change = wire.MachineChange(
        **{
            n: v.split() if n == "only_users" and isinstance(v, str) else v
            for n, v in columns.items()
        }
    )
    with pytest.raises(machines.Refused) as refused:
        machines.change(control.ctx, boss, machine_id, change)
    assert (refused.value.status, says in refused.value.message) == (400, True)
