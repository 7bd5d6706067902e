"""What nodes send: reports on the attempts they hold, and that they are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import bottle

from renderonline import serving, wire
from renderonline.api.domain.model import Chunk
from renderonline.api.http import callers, ranges
from renderonline.api.http.handlers import number
from renderonline.api.services import projects, returns, states
from renderonline.api.services.context import Context, Refused
from renderonline.api.services.dispatch import Dispatcher
from renderonline.frames import FrameError

GONE = "This attempt is over; stop it."
READ_BYTES = 1 << 20
ATTEMPTS = "/renderapi/v1/node/attempts"

LARGEST_RESULT_BYTES = 64 << 30
"""What a node sends back may be as large as this, whatever limits the projects that are sent in."""


def routes(app: serving.JsonApp, ctx: Context, dispatcher: Dispatcher) -> None:
    """Add the routes."""
    app.route(
        f"{ATTEMPTS}/<attempt_id:int>/events",
        "POST",
        lambda attempt_id: _events(ctx, dispatcher, attempt_id),
    )
    app.route("/renderapi/v1/node/hello", "POST", lambda: _hello(ctx))
    app.route("/renderapi/v1/node/files/<sha256>", "GET", lambda sha256: _file(ctx, sha256))
    app.route(
        f"{ATTEMPTS}/<attempt_id:int>/outputs/<path:path>",
        "PUT",
        lambda attempt_id, path: _output(ctx, attempt_id, path),
    )


def _attempt(ctx: Context, attempt_id: int) -> Chunk | None:
    if not 0 < attempt_id <= wire.MAX_ID:
        raise serving.HttpError(400, "bad_request", "There can be no such attempt.")
    return callers.attempt(ctx, attempt_id)


def _events(ctx: Context, dispatcher: Dispatcher, attempt_id: int) -> Any:
    chunk = _attempt(ctx, attempt_id)
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
        following: list[wire.HpcStart] = []
        if _gives_back(report.events):
            ctx.fleet.look_again(chunk.machine_id, ctx.clock.monotonic())
        elif report.events:
            has_rendered = report.events[-1].type is wire.EventType.RENDERED
            following = dispatcher.next_for(chunk.machine_id, has_rendered)
    every_s = ctx.fleet.report_every_s()
    first, second, *_ = (*following, None, None)
    return serving.reply(
        wire.ReportAnswer(accepted=True, next=first, then=second, every_seconds=every_s)
    )


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


def _file(ctx: Context, sha256: str) -> Any:
    """Bytes of a project, for the machine that renders it just now."""
    asked = bottle.request.query.get("attempt") or ""
    chunk = _attempt(ctx, number(asked))
    if chunk is None or not returns.is_current(ctx, chunk.attempt_id):
        raise serving.HttpError(410, "gone", GONE)
    content = projects.content_for(ctx, chunk.task_id, sha256)
    if content is None:
        raise serving.HttpError(404, "no_such_file", "The attempt's project has no such file.")
    return ranges.answer(content, {"Content-Type": "application/octet-stream"})


def _output(ctx: Context, attempt_id: int, path: str) -> Any:
    chunk = _attempt(ctx, attempt_id)
    if chunk is None:
        return serving.reply(wire.OutputAnswer(accepted=False, message=GONE))
    length = serving.body_length()
    sha256 = serving.header("X-Sha256") or ""
    try:
        is_taken = returns.receive(ctx, chunk, path, sha256, _body(length), length)
    except Refused as error:
        raise serving.HttpError(error.status, error.code, error.message, error.hint) from None
    except OSError:
        raise serving.HttpError(400, "bad_hash", "The file broke off. Send it again.") from None
    return serving.reply(wire.OutputAnswer(accepted=is_taken, message="" if is_taken else GONE))


def _body(length: int | None) -> Iterator[bytes]:
    """The request's body, piece by piece. Raises OSError where it breaks off."""
    stream, left = bottle.request.environ["wsgi.input"], length
    while left is None or left > 0:
        piece = serving.read_body(stream, READ_BYTES if left is None else min(READ_BYTES, left))
        if not piece:
            return
        left = None if left is None else left - len(piece)
        yield piece
