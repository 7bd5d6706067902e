"""Machines of a network, as namespaces of this one: each has an address of its own, and its own loopback.

For root on Linux, with iproute2. What a test starts in one of them reaches the others by 10.77.0.x
and nothing else in the world.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """One machine."""

    namespace: str
    address: str

    def command(self, command: Sequence[str]) -> list[str]:
        """The argv that runs `command` there."""
        return ["ip", "netns", "exec", self.namespace, *command]


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """So many machines on one switch; gone with the block."""
    mark = f"ro{os.getpid()}"
    switch = f"{mark}s"
    with ExitStack() as undo:
        _namespace(undo, switch)
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        found = []
        for number in range(1, count + 1):
            host = Host(f"{mark}h{number}", f"10.77.0.{number}")
            _namespace(undo, host.namespace)
            port = f"port{number}"
            _ip("link", "add", port, "netns", switch, "type", "veth", "peer", "name", "net0", "netns", host.namespace)  # fmt: skip
            _ip("-n", switch, "link", "set", port, "master", "switch", "up")
            _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "net0")
            _ip("-n", host.namespace, "link", "set", "net0", "up")
            _ip("-n", host.namespace, "link", "set", "lo", "up")
            found.append(host)
        yield found


def _namespace(undo: ExitStack, name: str) -> None:
    _ip("netns", "add", name)
    undo.callback(_ip, "netns", "del", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
