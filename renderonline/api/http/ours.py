"""Our own routes for clients: health and engines; tasks and machines have modules of their own."""

from __future__ import annotations

from typing import Any

from renderonline import __version__, serving, wire
from renderonline.api.http import files as file_routes
from renderonline.api.http import machines as machine_routes
from renderonline.api.http import results as result_routes
from renderonline.api.http import storage as storage_routes
from renderonline.api.http import tasks as task_routes
from renderonline.api.http.handlers import as_user
from renderonline.api.services import tasks
from renderonline.api.services.context import Context


def routes(app: serving.JsonApp, ctx: Context) -> None:
    """Add the routes."""
    app.route("/renderapi/v1/engines", "GET", as_user(ctx, lambda _user: tasks.engines(ctx)))
    app.route("/health", "GET", _health)
    app.route("/ready", "GET", lambda: _ready(ctx))
    task_routes.routes(app, ctx)
    file_routes.routes(app, ctx)
    storage_routes.routes(app, ctx)
    result_routes.routes(app, ctx)
    machine_routes.routes(app, ctx)


def _health() -> Any:
    return serving.reply(wire.HealthResponse(name="RenderOnline", version=__version__))


def _ready(ctx: Context) -> Any:
    tasks.engines(ctx)  # any read will do: without a database the app answers 503
    return _health()
