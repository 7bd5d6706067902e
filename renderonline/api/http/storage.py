"""Routes of the farm's disk: an admin sees who uses what, and cleans up."""

from __future__ import annotations

from renderonline import serving, wire
from renderonline.api.domain.model import Role, User
from renderonline.api.http.handlers import as_user
from renderonline.api.services.context import Context, Refused

ROOT = "/renderapi/v1/storage"


def routes(app: serving.JsonApp, ctx: Context) -> None:
    """Add the routes."""

    def report(user: User) -> wire.Message:
        _check_admin(user)
        return ctx.storekeeper.report()

    def clean(user: User) -> wire.Message:
        _check_admin(user)
        return ctx.storekeeper.clean(ctx.clock.now())

    app.route(ROOT, "GET", as_user(ctx, report))
    app.route(f"{ROOT}/clean", "POST", as_user(ctx, clean))


def _check_admin(user: User) -> None:
    """Raises Refused 403."""
    if user.role is not Role.ADMIN:
        raise Refused(403, "forbidden", "Only an admin may see and clean the farm's storage.")
