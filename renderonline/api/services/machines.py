"""The machines as users see them, and what an admin does to one while the farm runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from renderonline import wire
from renderonline.api.db import catalog, chunks, tasks
from renderonline.api.domain.model import Chunk, Machine, MachineState, Outcome, Role, User
from renderonline.api.domain.transitions import QUEUED_TASK, ChunkEvent
from renderonline.api.services import admin, states, troubles
from renderonline.api.services.context import Context, Refused
from renderonline.api.services.fleet import View
from renderonline.wire import Cause, ChunkState

UNREACHABLE = "unreachable"
"""Shown in place of `enabled` where a machine does not answer."""

CLOSED = "closed"
"""Shown in place of `enabled` where a machine is outside its hours."""

CHANGEABLE = tuple(wire.MachineChange.__struct_fields__)

NOBODY: Mapping[int, tuple[str, bool]] = MappingProxyType({})

MOST_TASKS = 1000
"""How many of a user's tasks are looked through for machines at work on them."""


def listed(ctx: Context, user: User) -> wire.MachinesResponse:
    """All machines, in the order of their ids. Only admins see addresses, and others' tasks."""
    with ctx.database.reading():
        machines, active = catalog.machines(), chunks.active()
        visible = active if user.role is Role.ADMIN else _own(user, active)
        kept = troubles.of_machines(ctx, user)
        emails = _emails(machines) if user.role is Role.ADMIN else {}
    views = {view.machine.machine_id: view for view in ctx.fleet.views()}
    busy = {chunk.machine_id for chunk in active}
    return wire.MachinesResponse(
        machines=[
            _machine(
                machine,
                views.get(machine.machine_id) or View(machine),
                [chunk for chunk in visible if chunk.machine_id == machine.machine_id],
                machine.machine_id in busy,
                user.role is Role.ADMIN,
                kept.get(machine.machine_id, []),
                emails.get(machine.machine_id, []),
            )
            for machine in machines
        ]
    )


def change(ctx: Context, user: User, machine_id: int, wanted: wire.MachineChange) -> wire.Machine:
    """Set what is given. Raises Refused."""
    _check_admin(user)
    given = {name: getattr(wanted, name) for name in CHANGEABLE}
    columns = {name: value for name, value in given.items() if value is not msgspec.UNSET}
    try:
        if columns:
            admin.change(ctx.database, "machine", machine_id, columns)
    except admin.AdminError as error:
        raise _refused(error) from None
    _look_again(ctx)
    return _one(ctx, user, machine_id)


def act(ctx: Context, user: User, machine_id: int, verb: str) -> wire.Machine:
    """Do one of `admin.MACHINE_VERBS` to a machine, with what follows for its work. Raises Refused."""
    _check_admin(user)
    try:
        admin.set_machine(ctx.database, machine_id, verb)
    except admin.AdminError as error:
        raise _refused(error) from None
    _look_again(ctx)
    return _one(ctx, user, machine_id)


def enforce(ctx: Context, machines: Iterable[Machine], active: Sequence[Chunk]) -> None:
    """Take from machines what they are not to render. Any thread; does nothing where all is well."""
    for chunk, reason in withdrawn(machines, active, ctx.fleet.closed()):
        outcome = Outcome(False, cause=Cause.INTERRUPTED, message=reason)
        if states.end(ctx, chunk.attempt_id, ChunkEvent.INTERRUPT, outcome):
            ctx.background(ctx.stop_render, chunk, reason)


def withdrawn(
    machines: Iterable[Machine],
    active: Sequence[Chunk],
    closed: Mapping[int, tuple[str, bool]] = NOBODY,
) -> list[tuple[Chunk, str]]:
    """The active chunks that their machines must give back, each with the reason: all of one that is
    disabled; of one that gets no more work, what it was handed ahead of time and has not begun.

    `closed`: those that are outside their hours, why, and whether they stop what they render.
    """
    idle = {m.machine_id: _why_idle(m) for m in machines if m.state is not MachineState.ENABLED}
    found = []
    for chunk in active:
        machine_id = chunk.machine_id
        reason, stops = idle.get(machine_id) or closed.get(machine_id) or (None, False)
        is_ahead = chunk.after is not None and chunk.state is ChunkState.ASSIGNED
        if reason is not None and (is_ahead or stops):
            found.append((chunk, reason))
    return found


def _why_idle(machine: Machine) -> tuple[str, bool]:
    """As a sentence, and whether it stops what it renders."""
    said = f"The machine is {machine.state}. {machine.reason or ''}".strip()
    return said, machine.state is MachineState.DISABLED


def name_of(machine: Machine, with_address: bool) -> str:
    """What people call it."""
    address = f" ({_address(machine)})" if with_address else ""
    return machine.name or f"machine {machine.machine_id}{address}"


def _look_again(ctx: Context) -> None:
    """Have this process know at once what has just been written; others read it every second."""
    before = ctx.fleet.generations()
    with ctx.database.reading():
        machines, active = catalog.machines(), chunks.active()
    ctx.fleet.refresh(machines, active, before)
    enforce(ctx, machines, active)
    ctx.wake()


def _one(ctx: Context, user: User, machine_id: int) -> wire.Machine:
    for machine in listed(ctx, user).machines:
        if machine.machine_id == machine_id:
            return machine
    raise _none(machine_id)


def _emails(machines: Sequence[Machine]) -> dict[int, list[str]]:
    """Whose tasks alone machines render. Inside a reading."""
    return {m.machine_id: admin.emails(m.only_users) for m in machines if m.only_users}


def _own(user: User, active: Sequence[Chunk]) -> list[Chunk]:
    """The chunks that belong to the user's tasks. Inside a reading."""
    own = {
        job.task.task_id
        for state in QUEUED_TASK
        for job in tasks.jobs(user.user_id, MOST_TASKS, state=state.value)
    }
    return [chunk for chunk in active if chunk.task_id in own]


def _machine(
    machine: Machine,
    view: View,
    work: Sequence[Chunk],
    is_busy: bool,
    is_for_admin: bool,
    kept_from: list[wire.KeptFrom],
    only_users: list[str],
) -> wire.Machine:
    status = view.status or wire.HpcStatus()
    vitals = view.vitals or wire.Vitals()
    state, reason = _state(machine, view)
    versions = view.engines
    return wire.Machine(
        machine_id=machine.machine_id,
        name=name_of(machine, is_for_admin),
        address=_address(machine) if is_for_admin else None,
        state=state,
        reason=reason,
        is_busy=is_busy or (view.reachable is True and view.is_taken),
        work=[
            wire.MachineWork(
                task_id=chunk.task_id,
                attempt_id=chunk.attempt_id,
                state=chunk.state,
                frames=chunk.frames,
            )
            for chunk in work
        ],
        engines=[
            wire.MachineEngine(engine_id=name, version=versions[name.lower()])
            for name in status.engine_ids
            if name.lower() in versions
        ],
        tags=sorted(view.tags | machine.tags),
        only_engines=sorted(machine.only_engines),
        platform=status.platform,
        cores=status.cores,
        memory_bytes=status.memory_bytes,
        memory_free_bytes=vitals.memory_free_bytes,
        load=vitals.load,
        path_map=list(machine.path_map) if is_for_admin else [],
        kept_from=kept_from,
        hours=machine.hours,
        only_users=only_users,
        reserve=machine.reserve or None,
    )


def _state(machine: Machine, view: View) -> tuple[str, str | None]:
    """What people are told, and why it gets no work."""
    if machine.state is not MachineState.ENABLED:
        return machine.state, machine.reason
    if view.reachable is False:
        return UNREACHABLE, "It does not answer."
    return (CLOSED, view.closed) if view.closed is not None else (machine.state, machine.reason)


def _address(machine: Machine) -> str:
    host = f"[{machine.ip_address}]" if ":" in machine.ip_address else machine.ip_address
    return f"{host}:{machine.port}"


def _check_admin(user: User) -> None:
    if user.role is not Role.ADMIN:
        raise Refused(403, "forbidden", "Only an admin of the farm can do that.")


def _refused(error: admin.AdminError) -> Refused:
    is_missing = isinstance(error, admin.NoSuchRow)
    status, code = (404, "no_such_machine") if is_missing else (400, "bad_request")
    return Refused(status, code, str(error))


def _none(machine_id: int) -> Refused:
    return Refused(404, "no_such_machine", f"There is no machine {machine_id}.")
