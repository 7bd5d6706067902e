"""A wire to a server on loopback in which the flow stops where a test wants it to, and goes on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .waiting import wait_until

_PIECE_BYTES = 1 << 14


class _Direction:
    """What flows one way, in all connections together."""

    def __init__(self) -> None:
        self.bytes = 0
        self.waiting = 0  # connections that hold something back
        self._may_flow: int | None = None  # so much in all; None: everything
        self._changed = threading.Condition()

    def hold_after(self, more_bytes: int) -> None:
        with self._changed:
            self._may_flow = self.bytes + more_bytes

    def open(self) -> None:
        with self._changed:
            self._may_flow = None
            self._changed.notify_all()

    def passes(self, count: int) -> None:
        """Blocks until so much may flow."""
        with self._changed:
            self.waiting += 1
            self._changed.wait_for(
                lambda: self._may_flow is None or self.bytes + count <= self._may_flow
            )
            self.waiting -= 1
            self.bytes += count


class Valve:
    """Passes connections on to a port of loopback."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.sent = _Direction()  # to the server
        self.received = _Direction()  # from it
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def is_holding(self) -> bool:
        """Whether something waits to flow on."""
        return bool(self.sent.waiting or self.received.waiting)

    def wait_until_it_holds(self) -> None:
        wait_until(lambda: self.is_holding, "the flow has been stopped")

    def open(self) -> None:
        """Let everything flow."""
        self.sent.open()
        self.received.open()

    def close(self) -> None:
        self._listener.close()
        self.open()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._to_port))
        except OSError:
            client.close()
            return
        back = threading.Thread(target=_flow, args=(server, client, self.received), daemon=True)
        back.start()
        _flow(client, server, self.sent)
        back.join()
        client.close()
        server.close()


def _flow(source: socket.socket, target: socket.socket, direction: _Direction) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            direction.passes(len(piece))
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def valve(to_port: int) -> Iterator[Valve]:
    """One for as long as the block lasts."""
    laid = Valve(to_port)
    try:
        yield laid
    finally:
        laid.close()
