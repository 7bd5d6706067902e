"""The one way to serve a bottle app: waitress for HTTP, cheroot for HTTPS, errors as JSON."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any

from waitress import wasyncore

from renderonline.config import CertificateFiles
from renderonline.serving.answers import (
    LARGE_BODY_BYTES,
    SMALL_BODY_BYTES,
    BodyLimit,
    HttpError,
    JsonApp,
    body_length,
    header,
    read_body,
    reply,
    small_body,
)
from renderonline.serving.plain import listeners, waitress_server
from renderonline.serving.secure import cheroot_server

__all__ = [
    "LARGE_BODY_BYTES",
    "SMALL_BODY_BYTES",
    "BodyLimit",
    "HttpError",
    "JsonApp",
    "Server",
    "body_length",
    "header",
    "read_body",
    "reply",
    "small_body",
]


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
                self._server = waitress_server(app, host, port, max_body_bytes)
                self.port = int(listeners(self._server)[0].effective_port)
            else:
                self._server = cheroot_server(app, host, port, certificate, max_body_bytes)
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
        listener = listeners(self._server)[0]
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
