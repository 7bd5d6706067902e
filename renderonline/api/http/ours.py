"""Our own routes for clients: engines, tasks, health."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bottle

from renderonline import __version__, serving, wire
from renderonline.api.domain.model import User
from renderonline.api.http import callers
from renderonline.api.services import tasks
from renderonline.api.services.context import Context, Refused


def routes(app: serving.JsonApp, ctx: Context) -> None:
    """Add the routes."""

    def as_user(act: Callable[..., wire.Message]) -> Callable[..., Any]:
        def handle(**arguments: str) -> Any:
            user = callers.user(ctx)
            try:
                return serving.reply(act(user, **arguments))
            except Refused as error:
                raise serving.HttpError(
                    error.status, error.code, error.message, error.hint
                ) from None

        return handle

    def one(user: User, task_id: str) -> wire.Message:
        return tasks.detail(ctx, user, _number(task_id))

    def many(user: User) -> wire.Message:
        query = bottle.request.query
        after = _number(query.after) if query.after else None
        limit = _number(query.limit) if query.limit else 50
        return tasks.page(ctx, user, query.state or None, after, limit)

    app.route("/renderapi/v1/engines", "GET", as_user(lambda _user: tasks.engines(ctx)))
    app.route("/renderapi/v1/tasks", "GET", as_user(many))
    app.route("/renderapi/v1/tasks/<task_id>", "GET", as_user(one))
    app.route("/health", "GET", _health)
    app.route("/ready", "GET", lambda: _ready(ctx))


def _health() -> Any:
    return serving.reply(wire.HealthResponse(name="RenderOnline", version=__version__))


def _ready(ctx: Context) -> Any:
    tasks.engines(ctx)  # any read will do: without a database the app answers 503
    return _health()


def _number(text: str) -> int:
    """An id or a count from a URL. Raises HttpError 400."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(wire.MAX_ID))
    if not is_number or int(text) > wire.MAX_ID:
        raise serving.HttpError(
            400, "bad_request", f"{text[:30]!r} is not a number that can be here."
        )
    return int(text)
