"""Tells the api at once what happens to an attempt.

A reporter belongs to one attempt and has a thread of its own, so neither the render nor the next
one ever waits for the api. Reports are numbered; one that was not acknowledged is sent again,
unchanged, until it is, also when other attempts have begun meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from renderonline.lifecycle import Clock
from renderonline.node.api_client import ApiClient, NotTold
from renderonline.node.orders import ReportTo
from renderonline.node.outbox import PROGRESS_EVERY_S, Outbox
from renderonline.wire import (
    EventType,
    HpcStart,
    HpcTask,
    NodeEvent,
    NodeReport,
    ReportAnswer,
    Vitals,
)

log = logging.getLogger(__name__)

LONGEST_S = 60.0
"""An api cannot ask for rarer reports of progress."""

RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 10.0


class Reporter(Protocol):
    """Takes an attempt's events and returns at once. Any thread."""

    def started(self) -> None: ...

    def progress(self, task: HpcTask) -> None: ...

    def warning(self, text: str) -> None: ...

    def rendered(self) -> None: ...

    def ended(self, task: HpcTask) -> None: ...

    def retire(self) -> None:
        """No more retries: what is still unsent is tried once, and that was it."""
        ...

    def join(self, timeout_s: float) -> None:
        """Wait until all has been sent or given up, at most `timeout_s`."""
        ...


class Listener(Protocol):
    """Hears what the api answers. Called on the reporter's thread."""

    def given_away(self, message: str) -> None:
        """The attempt is not this node's any more; nothing more is sent."""
        ...

    def acknowledged(self) -> None:
        """The api knows how the attempt ended; nothing more is sent."""
        ...

    def handed_over(self, start: HpcStart) -> None:
        """The machine's next chunk came with the answer, or the one behind that."""
        ...


class NoReporter:
    """For a start that names no api to tell: the api will ask."""

    def started(self) -> None: ...

    def progress(self, task: HpcTask) -> None: ...

    def warning(self, text: str) -> None: ...

    def rendered(self) -> None: ...

    def ended(self, task: HpcTask) -> None: ...

    def retire(self) -> None: ...

    def join(self, timeout_s: float) -> None: ...


class HttpReporter:
    """Sends an attempt's events to `POST …/node/attempts/<id>/events`."""

    def __init__(
        self,
        report_to: ReportTo,
        client: ApiClient,
        clock: Clock,
        vitals: Callable[[], Vitals],
        listener: Listener,
        sequence: int = 0,
    ) -> None:
        """`sequence`: of the last report, for an attempt that an earlier node has reported of."""
        self._report_to = report_to
        self._client = client
        self._clock = clock
        self._vitals = vitals
        self._listener = listener
        self._sequence = sequence
        self._outbox = Outbox()
        self._changed = threading.Condition()
        self._is_retired = False
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def started(self) -> None:
        self._add(NodeEvent(type=EventType.STARTED))

    def progress(self, task: HpcTask) -> None:
        event = NodeEvent(
            type=EventType.PROGRESS,
            progress=round(task.progress, 4),
            frames_done=task.frames_done,
            frames=task.frames,
            startup_seconds=task.startup_seconds,
            render_seconds=task.render_seconds,
        )
        with self._changed:
            self._outbox.progress(event)
            self._changed.notify()

    def warning(self, text: str) -> None:
        self._add(NodeEvent(type=EventType.WARNING, message=text))

    def rendered(self) -> None:
        self._add(NodeEvent(type=EventType.RENDERED))

    def ended(self, task: HpcTask) -> None:
        self._add(
            NodeEvent(
                type=EventType.ENDED,
                frames_done=task.frames_done,
                frames=task.frames,
                message=task.message,
                is_success=task.is_success,
                exit_code=task.exit_code,
                cause=task.cause,
                reason=task.reason,
                startup_seconds=task.startup_seconds,
                render_seconds=task.render_seconds,
                memory_bytes=task.memory_bytes,
                warm=task.warm,
            )
        )

    def retire(self) -> None:
        with self._changed:
            self._is_retired = True
            self._changed.notify()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _add(self, event: NodeEvent) -> None:
        with self._changed:
            self._outbox.add(event, self._clock.monotonic())
            self._changed.notify()

    def _run(self) -> None:
        sent_at = self._clock.monotonic()
        while (events := self._next_events(sent_at)) is not None:
            self._sequence += 1
            sent_at = self._clock.monotonic()
            report = NodeReport(sequence=self._sequence, events=events, vitals=self._vitals())
            answer = self._deliver(report)
            if answer is None:
                return
            if not answer.accepted:
                self._listener.given_away(answer.message)
                return
            if answer.every_seconds is not None:
                self._outbox.every_s = min(max(answer.every_seconds, PROGRESS_EVERY_S), LONGEST_S)
            for start in filter(None, (answer.next, answer.then)):
                self._listener.handed_over(start)  # first: a renderer may be waiting for it
            if events and events[-1].type is EventType.ENDED:
                self._listener.acknowledged()

    def _next_events(self, sent_at: float) -> list[NodeEvent] | None:
        """Wait until a report is due, and take what goes into it; None: nothing will come any more."""
        with self._changed:
            while True:
                due_at = self._outbox.due_at(sent_at)
                wait_s = None if due_at is None else due_at - self._clock.monotonic()
                if wait_s is not None and wait_s <= 0:
                    return self._outbox.take()
                if self._is_retired or self._outbox.has_end:
                    return self._outbox.take() or None
                self._changed.wait(wait_s)

    def _deliver(self, report: NodeReport) -> ReportAnswer | None:
        """Send until it is answered; None when that has come to nothing."""
        pause_s = RETRY_FIRST_S
        while True:
            try:
                to = self._report_to
                return self._client.post(to.api, to.events, report, ReportAnswer, to.key)
            except NotTold as error:
                if pause_s == RETRY_FIRST_S:
                    log.warning("%s cannot be told (%s); trying on", self._report_to.api.url, error)
            if not self._pause(pause_s):
                return None
            pause_s = min(pause_s * 2, RETRY_LONGEST_S)

    def _pause(self, seconds: float) -> bool:
        """Wait before the next try, less if the end has come; False if there is none to be."""
        with self._changed:
            had_end = self._outbox.has_end
            self._changed.wait_for(
                lambda: self._is_retired or (self._outbox.has_end and not had_end), seconds
            )
            return not self._is_retired
