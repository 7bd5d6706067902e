"""What an app on our servers answers with, and reads off a request: errors as JSON, headers, bodies."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import bottle

from renderonline import wire

log = logging.getLogger(__name__)

SMALL_BODY_BYTES = 1 << 20
"""Largest JSON body that is read, where it does not list a project's files."""

LARGE_BODY_BYTES = 64 << 20
"""Largest JSON body that does: one of 200,000 files is about 30 MB."""

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
