"""The one way to serve a bottle app: waitress for HTTP, cheroot for HTTPS, errors as JSON."""

from __future__ import annotations

import copy
import io
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import bottle
import cheroot.server
import cheroot.wsgi
import waitress.server
from cheroot.ssl.builtin import BuiltinSSLAdapter
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import RequestEntityTooLarge

from renderonline import wire
from renderonline.config import CertificateFiles

log = logging.getLogger(__name__)

SMALL_BODY_BYTES = 1 << 20
"""Largest JSON body that is read, where it does not list a project's files."""

LARGE_BODY_BYTES = 64 << 20
"""Largest JSON body that does: one of 200,000 files is about 30 MB."""

THREADS = 16
TLS_THREADS = 64
"""More than for HTTP: cheroot's threads also wait for slow bodies, and for the TLS handshake."""

HEADER_TIMEOUT_S = 5
"""The longest silence over TLS once a request has begun, until its header is complete."""

IDLE_TIMEOUT_S = 20
"""The longest silence over TLS inside a body, and between two requests, which holds no thread."""

LINGER_S = 5
"""How long a connection is read on after a body was refused unread, so that its sender, who may
still be writing, sees the answer: closing at once would take it back (TCP resets)."""

TOO_LARGE = "renderonline.too_large"
"""In a request's environment: the limit in bytes that its body is above. The body is not there."""

BodyLimit = Callable[[str], int]  # for a request's path, the largest body that is taken at all

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    507: "disk_full",
}


class HttpError(Exception):
    """An answer that is an error. Raised by handlers, turned into ErrorBody in one place."""

    def __init__(self, status: int, error: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = wire.ErrorBody(error=error, error_message=message, hint=hint)


class JsonApp(bottle.Bottle):  # type: ignore[misc]
    """A bottle app that answers every error as wire.ErrorBody, its own mistakes included."""

    def __init__(self, translate: Callable[[Exception], HttpError | None] | None = None) -> None:
        """`translate` makes an answer of an error that the app's own layers raise, or None."""
        super().__init__()
        self._translate = translate or (lambda _error: None)
        self.install(self._errors_as_json)

    def _errors_as_json(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*args: Any, **kwargs: Any) -> Any:
            try:
                return callback(*args, **kwargs)
            except HttpError as error:
                return reply(error.body, error.status)
            except Exception as error:
                known = self._translate(error)
                if known is None:
                    raise
                return reply(known.body, known.status)

        return answer

    def known(self, error: Exception) -> HttpError | None:
        """The answer that `translate` makes of an error, for a route with a shape of its own."""
        return self._translate(error)

    def default_error_handler(self, response: Any) -> bytes:
        """bottle's own errors (no such route, wrong method) and what escaped a handler."""
        if response.status_code >= 500 and getattr(response, "exception", None):
            log.error("a request failed", exc_info=response.exception)
        code = CODES.get(response.status_code, "internal_error")
        message = {
            404: f"There is no {bottle.request.path} here.",
            405: f"{bottle.request.method} is not possible on {bottle.request.path}.",
        }.get(response.status_code, "The server made a mistake; its log says more.")
        bottle.response.content_type = "application/json"
        return wire.encode(wire.ErrorBody(error=code, error_message=message))


def reply(message: wire.Message, status: int = 200) -> bottle.HTTPResponse:
    """A JSON answer."""
    return bottle.HTTPResponse(
        wire.encode(message), status, headers={"Content-Type": "application/json; charset=utf-8"}
    )


def header(name: str) -> str | None:
    """A header's text; None if there is none.

    WSGI hands the bytes over as Latin-1; most clients mean UTF-8, some Latin-1. bottle's own view
    of the headers raises where it is not UTF-8: no code of ours reads that.
    """
    text: str | None = bottle.request.environ.get(f"HTTP_{name.upper().replace('-', '_')}")
    if text is None:
        return None
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def body_length() -> int | None:
    """The request's Content-Length in bytes; None for a chunked body.

    Raises HttpError: 413 above what the server takes at all, 400 where it is no length (cheroot
    lets a negative one through, and would read until the connection ends).
    """
    limit_bytes = bottle.request.environ.get(TOO_LARGE)
    if limit_bytes is not None:
        raise HttpError(413, "too_large", f"The body is larger than {limit_bytes} bytes.")
    text = bottle.request.environ.get("CONTENT_LENGTH") or ""
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise HttpError(400, "bad_request", "The request's Content-Length is not a length.")
    return int(text)


def small_body(limit_bytes: int = SMALL_BODY_BYTES) -> bytes:
    """The request's body, for JSON. Raises HttpError: 413 above the limit, 400 if cut off."""
    body_length()
    try:
        body = read_body(bottle.request.environ["wsgi.input"], limit_bytes + 1)
    except OSError:
        raise HttpError(400, "bad_request", "The body broke off. Send it again.") from None
    if len(body) > limit_bytes:
        raise HttpError(413, "too_large", f"The body is larger than {limit_bytes} bytes.")
    return body


def read_body(stream: Any, size_bytes: int) -> bytes:
    """At most so many bytes off a request's body; fewer only at its end.

    Raises OSError when the connection breaks off, or what comes is no body (cheroot says that of
    chunks by a ValueError).
    """
    try:
        block: bytes = stream.read(size_bytes)
    except ValueError as error:
        raise OSError(str(error)) from None
    return block


class Server:
    """A listening server. Binds in the constructor, so `url` is true before `start`.

    Raises OSError with a sentence when the address cannot be had.
    """

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        certificate: CertificateFiles | None = None,
        max_body_bytes: BodyLimit = lambda _path: SMALL_BODY_BYTES * 2,
    ) -> None:
        self._thread: threading.Thread | None = None
        self._tls = certificate is not None
        try:
            socket.getaddrinfo(host, port)  # for cheroot, which tells of this as of a taken port
            if certificate is None:
                self._server = _waitress(app, host, port, max_body_bytes)
                self.port = int(_listeners(self._server)[0].effective_port)
            else:
                self._server = _cheroot(app, host, port, certificate, max_body_bytes)
                self.port = int(self._server.bind_addr[1])
        except ssl.SSLError as error:
            raise OSError(_unusable(certificate, error)) from None
        except (ValueError, socket.gaierror):  # nothing resolves it
            raise OSError(f"There is no address {host}:{port}. Set another `Host`.") from None
        except OSError as error:
            raise OSError(
                f"Cannot listen on {host}:{port}: {error.strerror or error}. Is another program "
                "(perhaps an earlier start of this one) using that port? Set another `Port`."
            ) from None
        self.host = host

    @property
    def url(self) -> str:
        """The address under which this machine reaches the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        if ":" in host:
            host = f"[{host}]"
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def start(self) -> None:
        """Serve on a thread of its own until `close`."""
        target = self._server.serve if self._tls else self._server.run
        self._thread = threading.Thread(target=target, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop accepting, give running requests a second, end. Idempotent."""
        if self._tls:
            self._server.stop()
        else:
            self._close_waitress()
        if self._thread is not None:
            self._thread.join(timeout=3)

    def _close_waitress(self) -> None:
        self._server.task_dispatcher.shutdown(timeout=1)
        listener = _listeners(self._server)[0]
        if self._thread is None:
            self._server.close()
        elif self._thread.is_alive():
            # In the loop's own thread, which raises when another one closes what it selects on.
            # Kept-alive connections go as well: the loop ends when it has nothing left to wait for.
            sockets = listener._map
            listener.trigger.pull_trigger(lambda: wasyncore.close_all(sockets, ignore_all=True))


def _unusable(certificate: CertificateFiles | None, error: ssl.SSLError) -> str:
    named = certificate and f"{certificate.fullchain_pem_path} and {certificate.priv_pem_path}"
    return (
        f"The `Certificate` cannot be used ({error.reason or 'no PEM'}): {named} should be two PEM "
        "files, the chain and the private key that belongs to it."
    )


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    adj: Any

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        self.adj = copy.copy(self.adj)
        self.adj.max_request_body_size = self.adj.body_limit(self.path)


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection of waitress that leaves the refusal of a large body to the app.

    waitress would answer by itself, in plain text, and close while the sender is still writing.
    """

    parser_class = _Parser
    lingers = False  # set by the refusal: close our half first
    _is_half_closed = False

    @staticmethod
    def error_task_class(channel: Any, request: Any) -> Any:
        """What answers a request that waitress refuses; it calls this as it would a class."""
        if isinstance(request.error, RequestEntityTooLarge):
            return _RefusedBody(channel, request)
        return ErrorTask(channel, request)

    def handle_close(self) -> None:
        if not self.lingers or self._is_half_closed:
            super().handle_close()
            return
        self._is_half_closed, self.will_close = True, False
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            super().handle_close()

    def handle_read(self) -> None:
        """Reads nothing into a request any more once we have closed our half.

        It is no activity either: waitress ends the connection when its timeout is over.
        """
        if not self._is_half_closed:
            super().handle_read()
            return
        try:
            self.recv(self.adj.recv_bytes)  # at the end it calls handle_close
        except OSError:
            self.handle_close()


class _RefusedBody(WSGITask):  # type: ignore[misc]
    """Asks the app for its answer to a request whose body is too large and was not read."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ["wsgi.input"] = io.BytesIO()
        environ[TOO_LARGE] = self.request.adj.max_request_body_size
        return environ

    def execute(self) -> None:
        self.set_close_on_finish()  # what follows is the body, not another request
        self.channel.lingers = True
        super().execute()


def _waitress(app: Any, host: str, port: int, max_body_bytes: BodyLimit) -> Any:
    server = waitress.server.create_server(
        app,
        host=host,
        port=port,
        threads=THREADS,
        ident=None,
        # Measured: 1 MiB reads with a spool that begins at 64 MiB take a large upload seven
        # times faster than waitress's defaults.
        recv_bytes=1 << 20,
        inbuf_overflow=64 << 20,
        # So that an answer never goes through a file: what a slow reader has not taken yet is less
        # than what is kept in memory.
        outbuf_high_watermark=1 << 20,
        outbuf_overflow=4 << 20,
        # An OSError inside an answer (a download whose file has changed) ends the connection without
        # a traceback; the app has said why.
        log_socket_errors=False,
        channel_timeout=60,
        connection_limit=1000,
        clear_untrusted_proxy_headers=True,
    )
    for listener in _listeners(server):
        listener.channel_class = _Channel
        listener.adj.body_limit = max_body_bytes
    return server


def _listeners(server: Any) -> list[Any]:
    """The listening sockets of what waitress makes: itself, or several in its map."""
    if isinstance(server, waitress.server.MultiSocketServer):
        return [s for s in server.map.values() if isinstance(s, waitress.server.BaseWSGIServer)]
    return [server]


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


def _cheroot(
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
