"""HTTPS, by cheroot."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import time
from typing import Any

import cheroot.server
import cheroot.wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter

from renderonline.config import CertificateFiles
from renderonline.serving.answers import SMALL_BODY_BYTES, TOO_LARGE, BodyLimit

log = logging.getLogger(__name__)

TLS_THREADS = 64
"""More than for plain HTTP: cheroot's threads also wait for slow bodies, and for the TLS handshake."""

HEADER_TIMEOUT_S = 5
"""The longest silence over TLS once a request has begun, until its header is complete."""

IDLE_TIMEOUT_S = 20
"""The longest silence over TLS inside a body, and between two requests, which holds no thread."""

LINGER_S = 5
"""How long a connection is read on after a body was refused unread, so that its sender, who may
still be writing, sees the answer: closing at once would take it back (TCP resets)."""


class _HandshakeLater(BuiltinSSLAdapter):
    """Leaves the TLS handshake to the worker's first read.

    cheroot does it in the accepting thread, where one silent connection holds up everybody.
    """

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        secured = self.context.wrap_socket(sock, do_handshake_on_connect=False, server_side=True)
        return secured, {"wsgi.url_scheme": "https", "HTTPS": "on"}


class _TlsConnection(cheroot.server.HTTPConnection):
    """A connection of cheroot: quick with its header, and closed so that the answer arrives."""

    lingers = False

    def communicate(self) -> Any:
        self.socket.settimeout(HEADER_TIMEOUT_S)
        return super().communicate()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        if self.lingers:
            self._read_on()
        super().close()

    def _read_on(self) -> None:
        """Close our half and take what the sender still writes, as long as that may last."""
        ends_at = time.monotonic() + LINGER_S
        try:
            self.socket.shutdown(socket.SHUT_WR)  # from here on, what is read stays encrypted
            while (left_s := ends_at - time.monotonic()) > 0:
                self.socket.settimeout(left_s)
                if not self.socket.recv(1 << 16):
                    return
        except OSError:
            return  # gone, or out of time: there is nobody to wait for


class _TlsGateway(cheroot.wsgi.Gateway_10):
    """Between cheroot and the app: what is too large is the app's to refuse."""

    def get_environ(self) -> Any:
        self.req.conn.socket.settimeout(IDLE_TIMEOUT_S)  # the header is complete
        environ: Any = super().get_environ()  # type: ignore[no-untyped-call]
        limit_bytes = self.req.server.max_body_bytes(environ["PATH_INFO"])
        if getattr(self.req.rfile, "remaining", 0) > limit_bytes:
            environ[TOO_LARGE] = limit_bytes
        return environ

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Close after an answer that leaves much unread: cheroot would read it all, to memory."""
        unread_bytes = getattr(self.req.rfile, "remaining", 0)
        if unread_bytes > SMALL_BODY_BYTES or (self.req.chunked_read and status[0] in "45"):
            self.req.close_connection = self.req.conn.lingers = True
        return super().start_response(status, headers, exc_info)


class _TlsServer(cheroot.wsgi.Server):
    """cheroot's server, with a thread for whoever says something."""

    ConnectionClass = _TlsConnection
    max_body_bytes: BodyLimit

    def process_conn(self, conn: Any) -> None:
        """A new connection waits for its first byte beside the idle ones, in no thread."""
        if conn.last_used is None:
            self._connections.put(conn)  # type: ignore[attr-defined]
        else:
            super().process_conn(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """Takes what cheroot would print, inside the `except` that it prints it from: an OSError
        there is a connection that broke, our app's own do not get so far."""
        if isinstance(sys.exception(), OSError):
            log.info("a connection broke off: %s", msg)
        else:
            log.log(level, "%s", msg, exc_info=traceback)


def cheroot_server(
    app: Any, host: str, port: int, certificate: CertificateFiles, max_body_bytes: BodyLimit
) -> Any:
    server = _TlsServer(
        (host, port), app, numthreads=TLS_THREADS, timeout=IDLE_TIMEOUT_S, shutdown_timeout=1
    )
    server.gateway = _TlsGateway
    server.max_body_bytes = max_body_bytes
    server.ssl_adapter = _HandshakeLater(
        str(certificate.fullchain_pem_path), str(certificate.priv_pem_path)
    )
    server.prepare()
    return server
