"""Routes of tasks: looking, and what their owner (or an admin) does to one."""

from __future__ import annotations

import bottle

from renderonline import serving, wire
from renderonline.api.domain.model import User
from renderonline.api.http.handlers import as_user, body, frame_number, number
from renderonline.api.services import control, enqueue, frame_list, tasks
from renderonline.api.services.context import Context

ROOT = "/renderapi/v1/tasks"
FIRST_FRAME = -(2**31 - 1)


def routes(app: serving.JsonApp, ctx: Context) -> None:
    """Add the routes."""
    _looking(app, ctx)
    _doing(app, ctx)


def _looking(app: serving.JsonApp, ctx: Context) -> None:
    def many(user: User) -> wire.Message:
        query = bottle.request.query
        after = number(query.after) if query.after else None
        limit = number(query.limit) if query.limit else 50
        return tasks.page(ctx, user, query.state or None, after, limit)

    def one(user: User, task_id: str) -> wire.Message:
        return tasks.detail(ctx, user, number(task_id))

    def frames(user: User, task_id: str) -> wire.Message:
        query = bottle.request.query
        first = frame_number(query["from"]) if query.get("from") else FIRST_FRAME
        limit = number(query.limit) if query.limit else 100
        return frame_list.page(ctx, user, number(task_id), first, limit)

    app.route(ROOT, "GET", as_user(ctx, many))
    app.route(f"{ROOT}/<task_id>", "GET", as_user(ctx, one))
    app.route(f"{ROOT}/<task_id>/frames", "GET", as_user(ctx, frames))


def _doing(app: serving.JsonApp, ctx: Context) -> None:
    def submit(user: User) -> wire.Message:
        request = body(wire.EnqueueRequest, serving.LARGE_BODY_BYTES)
        return wire.TaskCreated(task_id=enqueue.submit(ctx, user, request))

    def pause(user: User, task_id: str) -> wire.Message:
        return control.pause(ctx, user, number(task_id), body(wire.PauseRequest).now)

    def resume(user: User, task_id: str) -> wire.Message:
        return control.resume(ctx, user, number(task_id))

    def cancel(user: User, task_id: str) -> wire.Message:
        return control.cancel(ctx, user, number(task_id))

    def requeue(user: User, task_id: str) -> wire.Message:
        return control.requeue(ctx, user, number(task_id), body(wire.RequeueRequest).frames)

    def forgive(user: User, task_id: str) -> wire.Message:
        return control.forgive(ctx, user, number(task_id), body(wire.ForgiveRequest).machine_id)

    def change(user: User, task_id: str) -> wire.Message:
        return control.change(ctx, user, number(task_id), body(wire.TaskChange))

    app.route(ROOT, "POST", as_user(ctx, submit))
    for act in (pause, resume, cancel, requeue, forgive):
        app.route(f"{ROOT}/<task_id>/{act.__name__}", "POST", as_user(ctx, act))
    app.route(f"{ROOT}/<task_id>", "PATCH", as_user(ctx, change))
