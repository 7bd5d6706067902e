"""Routes of machines: everybody may look, an admin changes them."""

from __future__ import annotations

from functools import partial

from renderonline import serving, wire
from renderonline.api.domain.model import User
from renderonline.api.http.handlers import as_user, body, number
from renderonline.api.services import machines
from renderonline.api.services.admin import MACHINE_VERBS
from renderonline.api.services.context import Context

ROOT = "/renderapi/v1/machines"


def routes(app: serving.JsonApp, ctx: Context) -> None:
    """Add the routes."""

    def change(user: User, machine_id: str) -> wire.Message:
        return machines.change(ctx, user, number(machine_id), body(wire.MachineChange))

    def act(verb: str, user: User, machine_id: str) -> wire.Message:
        return machines.act(ctx, user, number(machine_id), verb)

    app.route(ROOT, "GET", as_user(ctx, partial(machines.listed, ctx)))
    app.route(f"{ROOT}/<machine_id>", "PATCH", as_user(ctx, change))
    for verb in MACHINE_VERBS:
        app.route(f"{ROOT}/<machine_id>/{verb}", "POST", as_user(ctx, partial(act, verb)))
