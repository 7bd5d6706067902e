"""`renderonline machines`: what renders on this farm, and how it does."""

from __future__ import annotations

import argparse

from renderonline import wire
from renderonline.commands import output, signin
from renderonline.commands.table import print_table
from renderonline.commands.tasks import kept_text

GIB = 1 << 30


def run(args: argparse.Namespace) -> int:
    with signin.connect(args) as client:
        machines = client.machines()
    if args.json:
        output.emit(wire.MachinesResponse(machines=machines))
        return 0
    names = ("id", "name", "state", "works on", "engines", "tags", "cores", "memory", "load")
    print_table(names, (_row(machine) for machine in machines))
    for machine in machines:
        for mapping in machine.path_map:
            output.say(f"{machine.name}: {mapping}")
        for rule in rules(machine):
            output.say(f"{machine.name}: {rule}")
        if machine.reason:
            output.say(f"{machine.name}: {machine.reason}")
        for kept in machine.kept_from:
            output.say(f"{machine.name}: {_kept_text(kept)}")
    return 0


def rules(machine: wire.Machine) -> list[str]:
    """What an admin has said of the work that it gets."""
    told = [f"takes work {machine.hours}"] if machine.hours else []
    told += [f"is kept for {', '.join(machine.only_users)}"] if machine.only_users else []
    return told + ([f"is reserved for {machine.reserve}"] if machine.reserve else [])


def _row(machine: wire.Machine) -> tuple[str, ...]:
    return (
        str(machine.machine_id),
        machine.name,
        machine.state,
        _work_text(machine),
        ", ".join(f"{e.engine_id} {e.version or ''}".strip() for e in machine.engines),
        ", ".join(machine.tags),
        "" if machine.cores is None else str(machine.cores),
        _memory_text(machine),
        "" if machine.load is None else f"{machine.load:.0%}",
    )


def _work_text(machine: wire.Machine) -> str:
    tasks = sorted({work.task_id for work in machine.work})
    if tasks:
        return f"task{'s' if len(tasks) > 1 else ''} {', '.join(map(str, tasks))}"
    return "busy" if machine.is_busy else ""


def _kept_text(kept: wire.KeptFrom) -> str:
    """Which task a machine gets nothing of, how long, and why."""
    times = f"{kept.failures} times" if kept.failures > 1 else "once"
    why = f" ({kept.cause})" if kept.cause else ""
    said = f": {kept.message}" if kept.message else ""
    return f"kept from task {kept.task_id} {kept_text(kept)}; it failed it {times}{why}{said}"


def _memory_text(machine: wire.Machine) -> str:
    """Free and all of it."""
    sizes = [machine.memory_free_bytes, machine.memory_bytes]
    known = [f"{size / GIB:.1f}" for size in sizes if size is not None]
    return f"{' of '.join(known)} GiB" if known else ""
