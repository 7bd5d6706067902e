"""Bare connections to measure a farm by: one whose other end writes to disk, and a relay that counts."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from renderonline.config import CertificateFiles

PIECE_BYTES = 1 << 20


# --------------------------------------------------------------------------- the limit of an upload


def to_disk(file: Path, target: Path, certificate: CertificateFiles | None = None) -> float:
    """Seconds for a file through a connection of loopback into another one, flushed: what an upload
    could cost that does nothing else. With a certificate over TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        receiving = threading.Thread(target=_receive, args=(listener, target, certificate))
        receiving.start()
        began = time.perf_counter()
        with _connected(listener, certificate) as connection, file.open("rb") as reader:
            while piece := reader.read(PIECE_BYTES):
                connection.sendall(piece)
            if isinstance(connection, ssl.SSLSocket):
                connection.unwrap()
        receiving.join()
        seconds = time.perf_counter() - began
    if target.stat().st_size != file.stat().st_size:
        raise SystemExit("The bare connection has lost bytes.")
    target.unlink()
    return seconds


def _connected(listener: socket.socket, certificate: CertificateFiles | None) -> socket.socket:
    connection = socket.create_connection(listener.getsockname())
    if certificate is None:
        return connection
    context = ssl.create_default_context(cafile=str(certificate.fullchain_pem_path))
    return context.wrap_socket(connection, server_hostname="127.0.0.1")


def _receive(listener: socket.socket, target: Path, certificate: CertificateFiles | None) -> None:
    connection, _ = listener.accept()
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.fullchain_pem_path, certificate.priv_pem_path)
        connection = context.wrap_socket(connection, server_side=True)
    buffer = bytearray(PIECE_BYTES)
    view = memoryview(buffer)
    with connection, target.open("wb", buffering=0) as writer:
        while count := connection.recv_into(buffer):
            writer.write(view[:count])
        os.fsync(writer.fileno())
        if isinstance(connection, ssl.SSLSocket):
            with suppress(OSError):
                connection.unwrap()


# --------------------------------------------------------------------------- counting


@dataclass
class Relay:
    """A port of loopback that leads to another one, and counts what passes, as it is on the wire."""

    port: int
    target_port: int = 0  # set before anybody calls
    up_bytes: int = 0  # to the target
    down_bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self) -> tuple[int, int]:
        """Up and down since it was asked last."""
        with self.lock:
            counted = self.up_bytes, self.down_bytes
            self.up_bytes = self.down_bytes = 0
        return counted


@contextmanager
def relay() -> Iterator[Relay]:
    """One that lasts as long as the block. Its connections end with those who hold them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        counter = Relay(listener.getsockname()[1])
        threading.Thread(target=_accept, args=(listener, counter), daemon=True).start()
        yield counter


def _accept(listener: socket.socket, counter: Relay) -> None:
    while True:
        try:
            ours, _ = listener.accept()
        except OSError:
            return  # the block is over
        try:
            theirs = socket.create_connection(("127.0.0.1", counter.target_port))
        except OSError:
            ours.close()
            continue
        for ends in ((ours, theirs, True), (theirs, ours, False)):
            threading.Thread(target=_pump, args=(counter, *ends), daemon=True).start()


def _pump(counter: Relay, source: socket.socket, target: socket.socket, is_up: bool) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            with counter.lock:
                counter.up_bytes += len(piece) if is_up else 0
                counter.down_bytes += 0 if is_up else len(piece)
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
