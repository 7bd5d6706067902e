"""What nodes send: reports on the attempts they hold, and that they are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bottle

from renderonline import serving, wire
from renderonline.api.http import callers
from renderonline.api.services import states
from renderonline.api.services.context import Context
from renderonline.api.services.dispatch import Dispatcher
from renderonline.frames import FrameError

GONE = "This attempt is over; stop it."


def routes(app: serving.JsonApp, ctx: Context, dispatcher: Dispatcher) -> None:
    """Add the routes."""
    app.route(
        "/renderapi/v1/node/attempts/<attempt_id:int>/events",
        "POST",
        lambda attempt_id: _events(ctx, dispatcher, attempt_id),
    )
    app.route("/renderapi/v1/node/hello", "POST", lambda: _hello(ctx))


def _events(ctx: Context, dispatcher: Dispatcher, attempt_id: int) -> Any:
    if not 0 < attempt_id <= wire.MAX_ID:
        raise serving.HttpError(400, "bad_request", "There can be no such attempt.")
    chunk = callers.attempt(ctx, attempt_id)
    if chunk is None:
        return serving.reply(wire.ReportAnswer(accepted=False, message=GONE))
    try:
        report = wire.decode(serving.small_body(), wire.NodeReport)
    except wire.WireError as error:
        raise serving.HttpError(400, "bad_request", str(error)) from None
    if not 0 < report.sequence < 2**32:
        raise serving.HttpError(400, "bad_request", "A report has a Sequence from 1.")
    if report.vitals is not None:
        ctx.fleet.feels(chunk.machine_id, report.vitals)
    with dispatcher.answering(chunk.machine_id):
        try:
            accepted = states.report(ctx, chunk, report.sequence, report.events)
        except FrameError as error:
            raise serving.HttpError(400, "bad_request", f"Frames: {error}") from None
        if not accepted:
            return serving.reply(wire.ReportAnswer(accepted=False, message=chunk.message or GONE))
        following = None
        if _gives_back(report.events):
            ctx.fleet.look_again(chunk.machine_id, ctx.clock.monotonic())
        elif report.events:
            following = dispatcher.next_for(chunk.machine_id)
    every_s = ctx.fleet.report_every_s()
    return serving.reply(wire.ReportAnswer(accepted=True, next=following, every_seconds=every_s))


def _gives_back(events: Sequence[wire.NodeEvent]) -> bool:
    """Whether the machine did not go on with an attempt. It may be shutting down, and would only
    give back the next one, too: it is asked before it gets more."""
    return bool(events) and events[-1].cause is wire.Cause.INTERRUPTED


def _hello(ctx: Context) -> Any:
    """A hint from anybody: all that follows is that a machine which we know is asked sooner."""
    try:
        hello = wire.decode(serving.small_body(), wire.NodeHello)
    except wire.WireError as error:
        raise serving.HttpError(400, "bad_request", str(error)) from None
    caller = str(bottle.request.environ.get("REMOTE_ADDR") or "")
    ctx.fleet.look_at(caller, hello.port, ctx.clock.monotonic())
    return serving.reply(wire.ReportAnswer(accepted=True))
