"""What nodes send: reports on the attempts they hold."""

from __future__ import annotations

from typing import Any

from renderonline import serving, wire
from renderonline.api.http import callers
from renderonline.api.services import states
from renderonline.api.services.context import Context

GONE = "This attempt is over; stop it."


def routes(app: serving.JsonApp, ctx: Context) -> None:
    """Add the routes."""
    app.route(
        "/renderapi/v1/node/attempts/<attempt_id:int>/events",
        "POST",
        lambda attempt_id: _events(ctx, attempt_id),
    )


def _events(ctx: Context, attempt_id: int) -> Any:
    if not 0 < attempt_id <= wire.MAX_ID:
        raise serving.HttpError(400, "bad_request", "There can be no such attempt.")
    if callers.attempt(ctx, attempt_id) is None:
        return serving.reply(wire.ReportAnswer(accepted=False, message=GONE))
    try:
        report = wire.decode(serving.small_body(), wire.NodeReport)
    except wire.WireError as error:
        raise serving.HttpError(400, "bad_request", str(error)) from None
    if not 0 < report.sequence < 2**32:
        raise serving.HttpError(400, "bad_request", "A report has a Sequence from 1.")
    accepted = states.report(ctx, attempt_id, report.sequence, report.events)
    return serving.reply(wire.ReportAnswer(accepted=accepted, message="" if accepted else GONE))
