"""How much memory a render holds, and how much the machine has left. Measuring; `hangs` decides."""

from __future__ import annotations

import sys

import psutil

from renderonline.node.hangs import Memory


def family(pid: int) -> list[psutil.Process]:
    """The process and all that it has started, as far as they still run. Looks at every process
    that there is."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def held_bytes(process: psutil.Process) -> int:
    """Resident, and what the system has moved out to its swap (where it tells that: Linux); 0 if it
    has gone."""
    try:
        return int(process.memory_info().rss) + _swapped_bytes(process.pid)
    except psutil.Error:
        return 0


def tree_memory(pid: int) -> int | None:
    """The memory of a process and its descendants in bytes, what they share counted each time; None
    if it has gone."""
    return sum(map(held_bytes, found)) if (found := family(pid)) else None


def machine_memory(pid: int, allowed_bytes: int | None = None) -> Memory:
    """The machine's memory; the largest process outside the tree of `pid` only where it is short.

    `allowed_bytes`: the setting, what a render may hold on this machine.
    """
    state = psutil.virtual_memory()
    memory = Memory(int(state.total), int(state.available), allowed_bytes=allowed_bytes)
    if not memory.is_short:
        return memory
    largest = largest_other(pid)
    return Memory(memory.total_bytes, memory.available_bytes, largest, allowed_bytes)


def largest_other(pid: int) -> int:
    """What the largest process outside the tree of `pid` holds in bytes."""
    ours = {pid, *(process.pid for process in family(pid))}
    others = (process for process in psutil.process_iter() if process.pid not in ours)
    return max(map(held_bytes, others), default=0)


def _swapped_bytes(pid: int) -> int:
    """psutil tells it too, but reads every mapping of the process for it: seconds for a renderer."""
    if sys.platform != "linux":
        return 0
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            return _kib_of(b"VmSwap:", status.read()) * 1024
    except OSError:
        return 0


def _kib_of(name: bytes, status: bytes) -> int:
    """A line of /proc/<pid>/status as proc(5) has it: "VmSwap:      12 kB". 0 if there is none."""
    _, _, rest = status.partition(b"\n" + name)
    number = rest.split(maxsplit=1)[:1]
    return int(number[0]) if number and number[0].isdigit() else 0
