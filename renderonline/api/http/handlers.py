"""What the handlers of our own routes share: a signed-in caller, numbers in a URL, a JSON body."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from renderonline import serving, wire
from renderonline.api.http import callers
from renderonline.api.services.context import Context, Refused

M = TypeVar("M", bound=wire.Message)


def as_user(ctx: Context, act: Callable[..., wire.Message]) -> Callable[..., Any]:
    """A handler that finds out who calls, and answers what `act(user, …)` returns or refuses."""
    return for_user(ctx, lambda user, **arguments: serving.reply(act(user, **arguments)))


def for_user(ctx: Context, act: Callable[..., Any]) -> Callable[..., Any]:
    """The same for an `act` whose answer is no JSON: an answer of bottle's."""

    def handle(**arguments: str) -> Any:
        user = callers.user(ctx)
        try:
            return act(user, **arguments)
        except Refused as error:
            raise serving.HttpError(error.status, error.code, error.message, error.hint) from None

    return handle


def number(text: str) -> int:
    """An id or a count from a URL. Raises HttpError 400."""
    return _number(text, "[0-9]{1,19}")


def frame_number(text: str) -> int:
    """The same, and also below 0."""
    return _number(text, "-?[0-9]{1,10}")


def _number(text: str, pattern: str) -> int:
    if not re.fullmatch(pattern, text, re.ASCII) or int(text) > wire.MAX_ID:
        raise serving.HttpError(
            400, "bad_request", f"{text[:30]!r} is not a number that can be here."
        )
    return int(text)


def body(shape: type[M], limit_bytes: int = serving.SMALL_BODY_BYTES) -> M:
    """The request's JSON body; without one, the message's defaults. Raises HttpError 400, 413."""
    sent = serving.small_body(limit_bytes)
    try:
        return wire.decode(sent, shape) if sent.strip() else shape()
    except wire.WireError as error:
        raise serving.HttpError(400, "bad_request", str(error)) from None
