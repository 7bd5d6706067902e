"""A wire between a client and a server on loopback that can be measured and cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_PIECE_BYTES = 1 << 16


class Tap:
    """Passes connections on to a port. `sent_bytes` counts what came from clients."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._cut_at: list[int] = []
        self.sent_bytes = 0
        self.connections = 0
        self.on_bytes: Callable[[int], None] | None = None  # told `sent_bytes` as it grows

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut_at(self, *sent_bytes: int) -> None:
        """Break all connections each time that so many bytes more have come from clients."""
        self._cut_at = sorted(self.sent_bytes + count for count in sent_bytes)

    def run(self) -> None:
        """Until it is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self._break()

    def _pass_on(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            client.close()
            return
        with self._lock:
            self._open |= {client, server}
        threading.Thread(target=self._copy, args=(server, client, None), daemon=True).start()
        self._copy(client, server, self._count)

    def _copy(
        self, source: socket.socket, target: socket.socket, count: Callable[[int], None] | None
    ) -> None:
        try:
            while piece := source.recv(_PIECE_BYTES):
                target.sendall(piece)
                if count is not None:
                    count(len(piece))
        except OSError:
            pass
        finally:
            with self._lock:
                self._open -= {source, target}
            for end in (source, target):
                _hang_up(end)

    def _count(self, count: int) -> None:
        with self._lock:
            self.sent_bytes += count
            is_cut = bool(self._cut_at) and self.sent_bytes >= self._cut_at[0]
            if is_cut:
                self._cut_at.pop(0)
        if is_cut:
            self._break()
        if self.on_bytes is not None:
            self.on_bytes(self.sent_bytes)

    def _break(self) -> None:
        with self._lock:
            broken = list(self._open)
        for end in broken:
            _hang_up(end)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def tapped(port: int) -> Iterator[Tap]:
    """A wire to this port of loopback, until the block ends."""
    tap = Tap(port)
    threading.Thread(target=tap.run, daemon=True).start()
    try:
        yield tap
    finally:
        tap.close()
