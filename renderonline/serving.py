"""The one way to serve a bottle app: waitress for HTTP, cheroot for HTTPS, errors as JSON."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any

import bottle
import waitress.server
from waitress import wasyncore

from renderonline import wire
from renderonline.config import CertificateFiles

log = logging.getLogger(__name__)

SMALL_BODY_BYTES = 1 << 20
"""Largest JSON body that is read; the largest of ours, an enqueue, is a few KiB."""

THREADS = 16
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
    """The request's Content-Length in bytes; None for a chunked body. Raises HttpError 400.

    cheroot lets a negative length through, and would read until the connection ends.
    """
    text = bottle.request.environ.get("CONTENT_LENGTH") or ""
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise HttpError(400, "bad_request", "The request's Content-Length is not a length.")
    return int(text)


def small_body() -> bytes:
    """The request's body, for JSON. Raises HttpError: 413 above SMALL_BODY_BYTES, 400 if cut off."""
    body_length()
    try:
        body = read_body(bottle.request.environ["wsgi.input"], SMALL_BODY_BYTES + 1)
    except OSError:
        raise HttpError(400, "bad_request", "The body broke off. Send it again.") from None
    if len(body) > SMALL_BODY_BYTES:
        raise HttpError(413, "too_large", f"The body is larger than {SMALL_BODY_BYTES} bytes.")
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
        max_body_bytes: int = SMALL_BODY_BYTES * 2,
    ) -> None:
        self._thread: threading.Thread | None = None
        self._tls = certificate is not None
        try:
            if certificate is None:
                self._server = _waitress(app, host, port, max_body_bytes)
                self.port = int(self._server.effective_port)
            else:
                self._server = _cheroot(app, host, port, certificate, max_body_bytes)
                self.port = int(self._server.bind_addr[1])
        except ssl.SSLError as error:
            raise OSError(
                f"The `Certificate` cannot be used ({error.reason or error}): it takes the paths "
                "of two PEM files, the chain and the private key that belongs to it."
            ) from None
        except ValueError:  # waitress's, of a name that nothing resolves
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
        if self._thread is None:
            self._server.close()
        elif self._thread.is_alive():
            # In the loop's own thread, which raises when another one closes what it selects on.
            # Kept-alive connections go as well: the loop ends when it has nothing left to wait for.
            sockets = self._server._map
            self._server.trigger.pull_trigger(lambda: wasyncore.close_all(sockets, ignore_all=True))


def _waitress(app: Any, host: str, port: int, max_body_bytes: int) -> Any:
    return waitress.server.create_server(
        app,
        host=host,
        port=port,
        threads=THREADS,
        ident=None,
        # Measured: 1 MiB reads with a spool that begins at 64 MiB take a large upload seven
        # times faster than waitress's defaults.
        recv_bytes=1 << 20,
        inbuf_overflow=64 << 20,
        max_request_body_size=max_body_bytes,
        channel_timeout=60,
        connection_limit=1000,
        clear_untrusted_proxy_headers=True,
    )


def _cheroot(
    app: Any, host: str, port: int, certificate: CertificateFiles, max_body_bytes: int
) -> Any:
    from cheroot.ssl.builtin import BuiltinSSLAdapter
    from cheroot.wsgi import Server as CherootServer

    class HandshakeLater(BuiltinSSLAdapter):
        """Leaves the TLS handshake to the worker's first read.

        cheroot does it in the accepting thread, where one silent connection holds up everybody.
        """

        def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
            secured = self.context.wrap_socket(
                sock, do_handshake_on_connect=False, server_side=True
            )
            return secured, {"wsgi.url_scheme": "https", "HTTPS": "on"}

    class LoggingServer(CherootServer):
        def error_log(
            self, msg: str = "", level: int = logging.INFO, traceback: bool = False
        ) -> None:
            _log_cheroot(msg, level, traceback)

    server = LoggingServer(
        (host, port), app, numthreads=THREADS * 2, timeout=20, shutdown_timeout=1
    )
    server.max_request_body_size = max_body_bytes
    server.ssl_adapter = HandshakeLater(
        str(certificate.fullchain_pem_path), str(certificate.priv_pem_path)
    )
    server.prepare()
    return server


def _log_cheroot(message: str, level: int, traceback: bool) -> None:
    """Takes what cheroot would print, inside the `except` that it prints it from.

    An OSError there is a connection that broke, which is no mistake of ours: our app's own do not
    get so far.
    """
    if isinstance(sys.exception(), OSError):
        log.info("a connection broke off: %s", message)
    else:
        log.log(level, "%s", message, exc_info=traceback)
