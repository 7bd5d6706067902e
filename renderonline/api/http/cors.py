"""Cross-origin access to /renderapi, as the original allows it: any origin, method and header.

Safe because nothing that a browser sends by itself opens anything: a caller must hold the token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

PREFIX = "/renderapi/"
UPLOADS = "/renderapi/v1/files/uploads"


class Cors:
    """WSGI middleware around the api's app."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith(PREFIX):
            return self._app(environ, start_response)
        if environ["REQUEST_METHOD"] == "OPTIONS" and not _is_tus_question(environ):
            start_response("204 No Content", _preflight(environ))
            return []

        def with_headers(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            allowed = [*headers, ("Access-Control-Allow-Origin", "*")]
            allowed.append(("Access-Control-Expose-Headers", "*"))
            return start_response(status, allowed, *rest)

        return self._app(environ, with_headers)


def _is_tus_question(environ: dict[str, Any]) -> bool:
    """A tus client asks what the server can do; a browser's preflight always names a method."""
    return "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in environ and environ["PATH_INFO"].startswith(
        UPLOADS
    )


def _preflight(environ: dict[str, Any]) -> list[tuple[str, str]]:
    asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
    return [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"),
        ("Access-Control-Allow-Headers", asked or "*"),
        ("Access-Control-Max-Age", "600"),
    ]
