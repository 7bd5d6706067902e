"""Tells the api at once what happens to an attempt.

A reporter belongs to one attempt and has a thread of its own, so neither the render nor the slot
ever waits for the api. Reports are numbered; one that was not acknowledged is sent again,
unchanged, until it is, or until another attempt takes this one's place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import requests

from renderonline import wire
from renderonline.lifecycle import Clock
from renderonline.node.orders import ReportTo
from renderonline.node.slot import Outcome
from renderonline.wire import EventType, NodeEvent, NodeReport, ReportAnswer, WireError

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.5
CONNECT_S = 3.0
ANSWER_S = 10.0
RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 10.0
MAX_WARNINGS = 200
"""Of one attempt; a renderer that complains about every sample says nothing new after that."""


class Reporter(Protocol):
    """Takes an attempt's events and returns at once. Called on the attempt's own thread."""

    def started(self) -> None: ...

    def progress(self, fraction: float, frames_done: int) -> None: ...

    def warning(self, text: str) -> None: ...

    def ended(self, outcome: Outcome, frames_done: int) -> None: ...

    def retire(self) -> None:
        """No more retries: what is still unsent is tried once, and that was it."""
        ...

    def join(self, timeout_s: float) -> None:
        """Wait until all has been sent or given up, at most `timeout_s`."""
        ...


class NoReporter:
    """For a start that names no api to tell: the api will ask."""

    def started(self) -> None: ...

    def progress(self, fraction: float, frames_done: int) -> None: ...

    def warning(self, text: str) -> None: ...

    def ended(self, outcome: Outcome, frames_done: int) -> None: ...

    def retire(self) -> None: ...

    def join(self, timeout_s: float) -> None: ...


@dataclass(slots=True)
class Outbox:
    """Events that wait to be sent, in order; of the progress only the latest. Not locked."""

    events: list[NodeEvent] = field(default_factory=list)
    latest: NodeEvent | None = None
    last_offered: NodeEvent | None = None
    warnings: int = 0

    def progress(self, event: NodeEvent) -> None:
        if event != self.last_offered:
            self.latest = self.last_offered = event

    def add(self, event: NodeEvent) -> None:
        """Anything but progress; goes behind the progress that was made until now."""
        if event.type is EventType.WARNING:
            self.warnings += 1
            if self.warnings > MAX_WARNINGS:
                return
        self.events.extend(filter(None, (self.latest, event)))
        self.latest = None

    def is_due(self, since_last_s: float) -> bool:
        """Whether there is something that should be sent now."""
        return bool(self.events) or (self.latest is not None and since_last_s >= PROGRESS_EVERY_S)

    def take(self) -> list[NodeEvent]:
        """Everything that waits."""
        taken = [*self.events, *filter(None, (self.latest,))]
        self.events, self.latest = [], None
        return taken


class HttpReporter:
    """Sends an attempt's events to `POST …/node/attempts/<id>/events`."""

    def __init__(
        self, report_to: ReportTo, clock: Clock, on_given_away: Callable[[str], None]
    ) -> None:
        """`on_given_away(message)` is called on the reporter's thread when the api says that the
        attempt is not this node's any more; after that nothing is sent."""
        self._report_to = report_to
        self._clock = clock
        self._on_given_away = on_given_away
        self._outbox = Outbox()
        self._changed = threading.Condition()
        self._is_over = False  # the last event is in the outbox
        self._is_retired = False
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no .netrc, no bundle from the environment
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def started(self) -> None:
        self._add(NodeEvent(type=EventType.STARTED))

    def progress(self, fraction: float, frames_done: int) -> None:
        event = NodeEvent(
            type=EventType.PROGRESS, progress=round(fraction, 4), frames_done=frames_done
        )
        with self._changed:
            self._outbox.progress(event)
            self._changed.notify()

    def warning(self, text: str) -> None:
        self._add(NodeEvent(type=EventType.WARNING, message=text))

    def ended(self, outcome: Outcome, frames_done: int) -> None:
        event = NodeEvent(
            type=EventType.ENDED,
            frames_done=frames_done,
            message=outcome.verdict.message,
            is_success=outcome.verdict.is_success,
            exit_code=outcome.exit_code,
            cause=outcome.verdict.cause,
        )
        with self._changed:
            self._is_over = True
        self._add(event)

    def retire(self) -> None:
        with self._changed:
            self._is_retired = True
            self._changed.notify()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _add(self, event: NodeEvent) -> None:
        with self._changed:
            self._outbox.add(event)
            self._changed.notify()

    def _run(self) -> None:
        sequence = 0
        sent_at = self._clock.monotonic() - PROGRESS_EVERY_S
        with self._session:
            while events := self._next_events(sent_at):
                sequence += 1
                sent_at = self._clock.monotonic()
                if not self._deliver(NodeReport(sequence=sequence, events=events)):
                    return

    def _next_events(self, sent_at: float) -> list[NodeEvent]:
        """Wait for something to send; empty when nothing will come any more."""
        with self._changed:
            while True:
                since_last_s = self._clock.monotonic() - sent_at
                if self._outbox.is_due(since_last_s):
                    return self._outbox.take()
                if self._is_over or self._is_retired:
                    return self._outbox.take()
                waits = self._outbox.latest is not None
                self._changed.wait(PROGRESS_EVERY_S - since_last_s if waits else None)

    def _deliver(self, report: NodeReport) -> bool:
        """Send until acknowledged; False when nothing more should be sent."""
        pause_s = RETRY_FIRST_S
        while True:
            answer = self._send(report, is_first=pause_s == RETRY_FIRST_S)
            if answer is not None and not answer.accepted:
                self._on_given_away(answer.message)
                return False
            if answer is not None:
                return True
            if not self._pause(pause_s):
                return False
            pause_s = min(pause_s * 2, RETRY_LONGEST_S)

    def _pause(self, seconds: float) -> bool:
        """Wait before the next try, less if the end has come; False if there is none to be."""
        with self._changed:
            was_over = self._is_over
            self._changed.wait_for(
                lambda: self._is_retired or (self._is_over and not was_over), seconds
            )
            return not self._is_retired

    def _send(self, report: NodeReport, is_first: bool) -> ReportAnswer | None:
        """One try. None: not acknowledged."""
        try:
            response = self._session.post(
                self._report_to.url,
                data=wire.encode(report),
                headers={
                    "Content-Type": "application/json",
                    "X-Attempt-Key": self._report_to.key,
                },
                timeout=(CONNECT_S, ANSWER_S),
                allow_redirects=False,  # the key is for this api alone
            )
            return wire.decode(response.content, ReportAnswer)
        except requests.RequestException as error:
            problem = type(error).__name__
        except WireError:
            problem = f"it answered {response.status_code}"
        if is_first:
            log.warning("%s cannot be told (%s); trying on", self._report_to.url, problem)
        return None
