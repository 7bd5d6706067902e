"""A real api process and simulated machines in real time, over HTTP on loopback: `scale.py --real`.

Owns the network of the machines: each listens on a port of its own, and keeps one connection to the
api open, as a node does. All machines share this process and its one thread (asyncio).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from farm import cpu_s, program, write_config
from scenario import Scenario, fill
from simulated_nodes import Answered, Node, Tally

from renderonline import wire
from renderonline.config import ApiSettings

LOOK_S = 0.05
OPEN_FILES = 8192
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class RealWorld:
    """The nodes' world."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}  # by port
        self._loop = asyncio.get_running_loop()
        self._api = ("", 0)
        self._connections: dict[int, Connection] = {}  # by the node's port
        self._turns: dict[int, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    async def listen(self) -> int:
        """Another port, for a node that is to be put into `nodes`."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def meet(self, url: str) -> None:
        """Where the api is."""
        parts = urlsplit(url)
        self._api = (str(parts.hostname), int(parts.port or 80))

    async def close(self) -> None:
        """End what is on its way, too."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            server.close()
        for _, writer in self._connections.values():
            writer.close()

    # ----------------------------------------------------------------- what nodes need

    def now_s(self) -> float:
        return self._loop.time()

    def at(self, delay_s: float, event: Callable[[], None]) -> None:
        self._loop.call_later(delay_s, event)

    def report(
        self, node: Node, start: wire.HpcStart, report: wire.NodeReport, answered: Answered
    ) -> None:
        async def send() -> None:
            path = f"/renderapi/v1/node/attempts/{start.attempt_id}/events"
            body = await self._post(node, path, wire.encode(report), start.report_key or "")
            answered(None if body is None else wire.decode(body, wire.ReportAnswer))

        self._soon(send())

    def hello(self, node: Node) -> None:
        async def send() -> None:
            body = wire.encode(wire.NodeHello(port=node.port))
            await self._post(node, "/renderapi/v1/node/hello", body, "")

        self._soon(send())

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ----------------------------------------------------------------- HTTP

    async def _post(self, node: Node, path: str, body: bytes, key: str) -> bytes | None:
        """The body of the api's answer; None if there is none. A node's requests keep their order."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n"
            f"X-Attempt-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        async with self._turns.setdefault(node.port, asyncio.Lock()):
            for _ in range(2):  # the second time if the connection was closed meanwhile
                with suppress(OSError, asyncio.IncompleteReadError):
                    reader, writer = await self._connection(node)
                    writer.write(head.encode() + body)
                    return (await _read(reader))[1]
                self._connections.pop(node.port, None)
        return None

    async def _connection(self, node: Node) -> Connection:
        if node.port not in self._connections:
            self._connections[node.port] = await asyncio.open_connection(*self._api)
        return self._connections[node.port]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node = self.nodes[writer.get_extra_info("sockname")[1]]
        with suppress(OSError, asyncio.IncompleteReadError):
            while node.is_up:
                head, body = await _read(reader)
                answer = _answer(node, head.split(b" ", 2)[1], body)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer))
                await writer.drain()
        writer.close()


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of a request or an answer. Raises IncompleteReadError at the connection's end."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head, await reader.readexactly(int(line.split(b":")[1]))
    return head, b""


def _answer(node: Node, path: bytes, body: bytes) -> bytes:
    if path == b"/hpc/start":
        return wire.encode(node.start(wire.decode(body, wire.HpcStart)))
    if path == b"/hpc/stop":
        return wire.encode(node.stop(wire.decode(body, wire.HpcStop)))
    return wire.encode(node.status())


def run(scenario: Scenario, folder: Path, tally: Tally) -> tuple[float, float, list[Node]]:
    """Render a scenario in real time: seconds, CPU seconds of the api's process, and the machines."""
    _allow_files()
    return asyncio.run(_run(scenario, folder, tally))


async def _run(scenario: Scenario, folder: Path, tally: Tally) -> tuple[float, float, list[Node]]:
    world = RealWorld()
    ports = [await world.listen() for _ in range(scenario.machines)]
    places = [("127.0.0.1", port) for port in ports]
    world.nodes |= {
        at[1]: Node(number, at, scenario.behaviour, world, tally)
        for number, at in enumerate(places)
    }
    await asyncio.to_thread(fill, ApiSettings(data_path=folder), scenario, places)
    config = write_config(folder, "RenderAPI.json", Port="0", DataPath=str(folder))
    running = program("api", config)
    url, process = await asyncio.to_thread(running.__enter__)
    try:
        world.meet(url)
        return *await _watch(scenario, tally, world, process), list(world.nodes.values())
    finally:
        await world.close()
        await asyncio.to_thread(partial(running.__exit__, None, None, None))


async def _watch(
    scenario: Scenario, tally: Tally, world: RealWorld, process: psutil.Process
) -> tuple[float, float]:
    """Wait until the run is over; seconds, and CPU seconds of the api."""
    began_s, before_s = world.now_s(), cpu_s(process)
    ended, over_s = 0, began_s
    while True:
        await asyncio.sleep(LOOK_S)
        if tally.ended != ended:
            ended, over_s = tally.ended, world.now_s()
        saved = sum(map(len, tally.seen.values()))
        is_rendered = saved == scenario.tasks * scenario.frames
        is_cut = scenario.stop_after is not None and ended >= scenario.stop_after
        if is_cut or (is_rendered and all(node.is_idle for node in world.nodes.values())):
            return over_s - began_s, cpu_s(process) - before_s
        if process.status() == psutil.STATUS_ZOMBIE:
            raise SystemExit("The api has ended.")


def _allow_files() -> None:
    """A machine takes three sockets or so; the usual limit is 1,024."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
