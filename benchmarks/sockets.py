"""Bare connections to measure a farm by: one whose other end writes to disk, and a relay that counts."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

from renderonline.config import CertificateFiles

PIECE_BYTES = 1 << 20
BUFFERS = 8
"""That may wait to be hashed: more than a core's cache holds would have to be fetched again."""


# --------------------------------------------------------------------------- the limit of an upload


def to_disk(
    file: Path,
    target: Path,
    certificate: CertificateFiles | None = None,
    is_hashed: bool = False,
) -> float:
    """Seconds for a file through a connection of loopback into another one, flushed: what an upload
    could cost that does nothing else. With a certificate over TLS; `is_hashed`: whose receiver makes
    the file's SHA-256 as well, on a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        args = (listener, target, certificate, is_hashed)
        receiving = threading.Thread(target=_receive, args=args)
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


def _receive(
    listener: socket.socket, target: Path, certificate: CertificateFiles | None, is_hashed: bool
) -> None:
    connection, _ = listener.accept()
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.fullchain_pem_path, certificate.priv_pem_path)
        connection = context.wrap_socket(connection, server_side=True)
    with connection, target.open("wb", buffering=0) as writer, _hashing(is_hashed) as hashing:
        buffer = hashing.buffer()
        while count := connection.recv_into(buffer):
            writer.write(memoryview(buffer)[:count])
            hashing.take(buffer, count)
            buffer = hashing.buffer()
        os.fsync(writer.fileno())
        if isinstance(connection, ssl.SSLSocket):
            with suppress(OSError):
                connection.unwrap()


class _Hashing:
    """Hashes buffers that were filled, on a thread of its own, and hands them out again."""

    def __init__(self, is_on: bool) -> None:
        self._is_on = is_on
        self._free: Queue[bytearray] = Queue()
        self._filled: Queue[tuple[bytearray, int] | None] = Queue()
        for _ in range(BUFFERS if is_on else 1):
            self._free.put(bytearray(PIECE_BYTES))
        self.thread = threading.Thread(target=self._run)

    def buffer(self) -> bytearray:
        return self._free.get()

    def take(self, buffer: bytearray, count: int) -> None:
        if self._is_on:
            self._filled.put((buffer, count))
        else:
            self._free.put(buffer)

    def end(self) -> None:
        self._filled.put(None)

    def _run(self) -> None:
        digest = hashlib.sha256()
        while (taken := self._filled.get()) is not None:
            buffer, count = taken
            digest.update(memoryview(buffer)[:count])
            self._free.put(buffer)


@contextmanager
def _hashing(is_on: bool) -> Iterator[_Hashing]:
    hashing = _Hashing(is_on)
    hashing.thread.start()
    try:
        yield hashing
    finally:
        hashing.end()
        hashing.thread.join()


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
