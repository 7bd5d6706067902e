"""Plain HTTP, by waitress."""

from __future__ import annotations

import copy
import io
import socket
from typing import Any

import waitress.server
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import RequestEntityTooLarge

from renderonline.serving.answers import TOO_LARGE, BodyLimit

THREADS = 16


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


def waitress_server(app: Any, host: str, port: int, max_body_bytes: BodyLimit) -> Any:
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
    for listener in listeners(server):
        listener.channel_class = _Channel
        listener.adj.body_limit = max_body_bytes
    return server


def listeners(server: Any) -> list[Any]:
    """The listening sockets of what waitress makes: itself, or several in its map."""
    if isinstance(server, waitress.server.MultiSocketServer):
        return [s for s in server.map.values() if isinstance(s, waitress.server.BaseWSGIServer)]
    return [server]
