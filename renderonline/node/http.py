"""The routes of /hpc: read the request, ask who calls, hand over to the machine, answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import bottle

from renderonline import wire
from renderonline.node.callers import Call, Callers
from renderonline.node.machine import Machine
from renderonline.node.refusal import Refusal
from renderonline.serving import HttpError, JsonApp, header, reply, small_body
from renderonline.wire import HpcAnswer, HpcStart, HpcStop, WireError

Body = TypeVar("Body", HpcStart, HpcStop)


def hpc_app(machine: Machine, callers: Callers) -> JsonApp:
    """The WSGI app of a node."""
    app = JsonApp()

    def status() -> bottle.HTTPResponse:
        refusal = callers.refusal(_call())
        if refusal is not None:
            raise HttpError(403, "forbidden", refusal)
        url, fingerprint = header(wire.API_URL), header(wire.API_FINGERPRINT)
        if url and fingerprint:
            with suppress(Refusal):  # it is no address: its starts are told so
                machine.introduce(url, fingerprint)
        return reply(machine.status())

    def start() -> bottle.HTTPResponse:
        return _ordered(callers, HpcStart, machine.start)

    def stop() -> bottle.HTTPResponse:
        return _ordered(callers, HpcStop, machine.stop)

    app.route("/hpc/status", "GET", status)
    app.route("/hpc/start", "POST", start)
    app.route("/hpc/stop", "POST", stop)
    return app


def _ordered(
    callers: Callers, shape: type[Body], carry_out: Callable[[Body], HpcAnswer]
) -> bottle.HTTPResponse:
    """Carry out the request's body. Every answer has the original's shape, refusals too."""
    refusal = callers.refusal(_call())
    if refusal is not None:
        return reply(HpcAnswer(is_success=False, message=refusal), 403)
    try:
        return reply(carry_out(wire.decode(small_body(), shape)))
    except HttpError as error:
        return reply(HpcAnswer(is_success=False, message=str(error)), error.status)
    except (WireError, Refusal) as error:
        return reply(HpcAnswer(is_success=False, message=str(error)), 400)


def _call() -> Call:
    return Call(origin=header("Origin"), host=header("Host"))
