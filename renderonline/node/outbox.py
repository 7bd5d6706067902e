"""What waits to be told of one attempt, in order, and when it should be sent. Not locked."""

from __future__ import annotations

from dataclasses import dataclass, field

from renderonline.wire import EventType, NodeEvent

HOLD_S = 0.15
"""How long the first event waits for company: of a short chunk all goes in one request. Its start
is known to the api already, by the answer to that start."""

PROGRESS_EVERY_S = 0.5
"""Between two reports of progress, unless the api asks for more: on a farm of hundreds it does."""

SIGN_OF_LIFE_S = 5.0
"""A running attempt of which nothing was told for so long is reported without events."""

MAX_WARNINGS = 200
"""Of one attempt; a renderer that complains about every sample says nothing new after that."""


@dataclass(slots=True)
class Outbox:
    """Events that wait to be sent; of the progress only the latest. Moments are in seconds."""

    events: list[NodeEvent] = field(default_factory=list)
    latest: NodeEvent | None = None
    last_offered: NodeEvent | None = None
    warnings: int = 0
    since: float | None = None  # the first of `events` waits
    is_running: bool = False  # begun, and not ended
    has_end: bool = False
    is_urgent: bool = False  # the machine has nothing to do until the answer comes
    every_s: float = PROGRESS_EVERY_S

    def progress(self, event: NodeEvent) -> None:
        """Take the progress, in the place of what waits of it."""
        if event != self.last_offered:
            self.latest = self.last_offered = event

    def add(self, event: NodeEvent, now: float) -> None:
        """Anything but progress; goes behind the progress that was made until now."""
        if event.type is EventType.WARNING:
            self.warnings += 1
            if self.warnings > MAX_WARNINGS:
                return
        self.has_end = self.has_end or event.type is EventType.ENDED
        self.is_urgent = self.is_urgent or event.type is EventType.RENDERED
        self.is_running = not self.has_end and (self.is_running or event.type is EventType.STARTED)
        self.events.extend(filter(None, (self.latest, event)))
        self.latest = None
        if self.since is None:
            self.since = now

    def due_at(self, sent_at: float) -> float | None:
        """The moment to send, after the last report at `sent_at`; None: there is nothing to send."""
        if self.has_end:
            return sent_at if self.events else None
        if self.is_urgent:
            return sent_at
        if self.since is not None:
            return self.since + HOLD_S
        if self.latest is not None:
            return sent_at + self.every_s
        return sent_at + SIGN_OF_LIFE_S if self.is_running else None

    def take(self) -> list[NodeEvent]:
        """Everything that waits."""
        taken = [*self.events, *filter(None, (self.latest,))]
        self.events, self.latest, self.since, self.is_urgent = [], None, None, False
        return taken
