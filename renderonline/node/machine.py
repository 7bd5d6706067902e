"""The node as its api sees it: it takes one start at a time, stops it, and says what it does."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence

import renderonline
from renderonline import wire
from renderonline.node import worker
from renderonline.node.inputs import Inputs
from renderonline.node.orders import understand
from renderonline.node.refusal import Refusal
from renderonline.node.renderers import Renderer
from renderonline.node.worker import Attempt, Workplace
from renderonline.wire import HpcAnswer, HpcStart, HpcStatus, HpcStop

STOP_GRACE_S = 2.0
"""From asking to killing. Blender ends within 0.03 s; a service's stop must fit into 5 s."""

FINISH_S = 5.0
"""The longest that an attempt may take from its outcome to its end; in truth microseconds."""

FAREWELL_S = 1.0
"""How long an ending node waits for the api to take its last report."""


class Machine:
    """One render at a time. Every method may be called on any thread."""

    def __init__(self, renderers: Sequence[Renderer], inputs: Inputs, workplace: Workplace) -> None:
        self._renderers = tuple(renderers)
        self._inputs = inputs
        self._workplace = workplace
        self._boot = secrets.token_hex(8)
        self._turn = threading.Lock()  # held by whoever decides what runs, never for a render
        self._attempt: Attempt | None = None
        self._is_closing = False

    def status(self) -> HpcStatus:
        """What this machine can do, and what it does."""
        return HpcStatus(
            engine_ids=[renderer.engine_id for renderer in self._renderers],
            task=self._workplace.slot.task(),
            protocol=wire.PROTOCOL,
            version=renderonline.__version__,
            boot=self._boot,
        )

    def start(self, start: HpcStart) -> HpcAnswer:
        """Start a render. A repeated start of the same attempt succeeds without another render.

        Raises Refusal when one is running, or when this one cannot be started.
        """
        with self._turn:
            if self._is_closing:
                raise Refusal("This node is shutting down; it takes no more renders.")
            if not self._is_repeated(start):
                self._refuse_if_busy()
                order = understand(start, self._renderers, self._inputs)
                previous, self._attempt = self._attempt, worker.begin(order, self._workplace)
                if previous is not None:
                    previous.retire()
            engine_id = start.engine_id.strip()
        return HpcAnswer(
            is_success=True, message=f"Rendering using engine with identifier: {engine_id}"
        )

    def stop(self, stop: HpcStop) -> HpcAnswer:
        """End the running render with all that it has started, if it is the one meant.

        Returns when it has ended. Raises Refusal when another one is running.
        """
        with self._turn:
            attempt = self._running()
            if attempt is not None:
                _refuse_other(attempt, stop)
        if attempt is None:
            return HpcAnswer(is_success=True, message="There is no active render to terminate.")
        is_over = attempt.stop(_reason(stop), STOP_GRACE_S)
        return HpcAnswer(
            is_success=True,
            message="Active render terminated!" if is_over else "Active render is terminating.",
        )

    def close(self) -> None:
        """End what runs, say so to its api, take no more. Idempotent; blocks a few seconds."""
        with self._turn:
            self._is_closing = True
            attempt = self._attempt
        if attempt is not None:
            if not attempt.join(0):
                attempt.stop("The node was stopped.", STOP_GRACE_S)
            attempt.retire(FAREWELL_S)
        self._workplace.spawner.close()

    def _running(self) -> Attempt | None:
        if self._attempt is None:
            return None
        task = self._workplace.slot.task()
        # Reported as over, perhaps just now: whoever has read that must find the node free.
        is_ending = task is not None and not task.is_running
        return None if self._attempt.join(FINISH_S if is_ending else 0) else self._attempt

    def _is_repeated(self, start: HpcStart) -> bool:
        return self._attempt is not None and self._attempt.order.is_repeated_by(start)

    def _refuse_if_busy(self) -> None:
        running = self._running()
        if running is not None:
            raise Refusal(
                f"A render is already in progress: task {running.order.task_id}. Stop it first, "
                "or wait for its end."
            )


def _refuse_other(attempt: Attempt, stop: HpcStop) -> None:
    order = attempt.order
    if stop.task_id != order.task_id:
        raise Refusal(f"The active render is task {order.task_id}, not task {stop.task_id}.")
    if stop.attempt_id is not None and stop.attempt_id != order.attempt_id:
        raise Refusal(
            f"The active render of task {order.task_id} is attempt {order.attempt_id}, "
            f"not attempt {stop.attempt_id}."
        )


def _reason(stop: HpcStop) -> str:
    return f"Stopped: {stop.reason}" if stop.reason else "The render was stopped by its api."
