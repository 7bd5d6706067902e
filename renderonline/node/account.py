"""One attempt, as the node answers for it: what is known of it, its api, its results' way there,
and the journal.

It is opened when an attempt is accepted and settled when its api knows the end (or has given the
attempt away, or asks by itself).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from renderonline import security
from renderonline.engines.base import EngineEvent, Notice, Reading, Verdict
from renderonline.node.api_client import Api
from renderonline.node.journal import Entry, Journal, process_id
from renderonline.node.orders import Order, ReportTo
from renderonline.node.record import Outcome, Record
from renderonline.node.reporter import NoReporter, Reporter
from renderonline.node.returns import Returns
from renderonline.wire import Cause, HpcStart

log = logging.getLogger(__name__)


class Owner(Protocol):
    """Whoever keeps the accounts. Called on a reporter's or an attempt's thread."""

    def settled(self, account: Account) -> None:
        """There is nothing left to tell of it."""
        ...

    def handed_over(self, start: HpcStart, account: Account) -> None:
        """The machine's next chunk came with the answer to a report of this attempt."""
        ...


class Account:
    """Any thread, but what one attempt does comes from one thread at a time."""

    def __init__(
        self,
        record: Record,
        entry: Entry,
        journal: Journal,
        owner: Owner,
        order: Order | None,
        returns: Returns,
        to: ReportTo | None,
    ) -> None:
        """`order` None: an attempt of this node's predecessor. `to` None: its api asks by itself."""
        self._record = record
        self._entry = entry
        self._journal = journal
        self._owner = owner
        self._order = order
        self._returns = returns
        self._to = to
        self._is_behind = False  # the journal lacks a frame that was saved
        self._spoiled: str | None = None  # what can never arrive, and why
        self._reporter: Reporter = NoReporter()
        self._lock = threading.Lock()
        self._is_told = False  # the end is in the journal and with the reporter
        self._is_released = False  # its api wants to hear no more
        self.on_given_away: Callable[[str], None] = lambda _message: None

    @property
    def attempt_id(self) -> int | None:
        return self._entry.task.attempt_id

    @property
    def api(self) -> Api | None:
        return None if self._to is None else self._to.api

    @property
    def has_results(self) -> bool:
        """Whether any of its files are on their way."""
        return self._to is not None and not self._returns.is_empty(self._to)

    @property
    def record(self) -> Record:
        return self._record

    def report_by(self, reporter: Reporter) -> None:
        """Tell the api from now on. Called once, before anything happens."""
        self._reporter = reporter
        if self._to is not None:
            self._returns.expect(self._to, self)

    def is_repeated_by(self, start: HpcStart) -> bool:
        """Whether `start` asks for this very attempt again, because its answer was lost."""
        if self._order is not None:
            return self._order.is_repeated_by(start)
        task = self._entry.task
        return (
            start.attempt_id == task.attempt_id
            and start.task_id == task.task_id
            and security.matches(start.report_key or "", task.key_digest or "")
        )

    def accepted(self) -> None:
        """It waits for the one that runs."""
        self._write()

    def begun(self, pid: int, then: Callable[[], None]) -> None:
        """Its process runs; `then()` before anything that takes time."""
        self._record.begin()
        then()
        self._reporter.started()
        self._entry.renderer = process_id(pid)
        self._write()

    def line(self) -> None:
        """Its process printed something."""
        self._record.line()

    def read(self, events: Sequence[EngineEvent], reading: Reading) -> None:
        """What a line told. Warnings and progress are passed on. `keep` follows soon."""
        for event in events:
            if isinstance(event, Notice):
                self._reporter.warning(event.text)
        is_frame_done = self._record.read(events, reading)
        self._reporter.progress(self._record.task())
        self._is_behind = self._is_behind or is_frame_done

    def keep(self) -> None:
        """Bring the journal up to date, once there is time: the end of a chunk of one frame comes
        with that frame, and the next one waits for it."""
        if self._is_behind:
            self._write()

    def finish(self, outcome: Outcome) -> None:
        """It is over. Tells nobody yet: the next render comes first."""
        self._record.finish(outcome)

    def tell_end(self, has_next: bool = False) -> None:
        """Tell how it ended, once its results have arrived. `has_next`: the machine has its next
        chunk already, so that nobody needs to know before that it is free of this one."""
        if self._to is None:
            self._tell_end()
            return
        if not self._returns.is_empty(self._to):
            self._write()
            if not has_next:
                self._reporter.rendered()  # so that the machine gets its next chunk meanwhile
        self._returns.when_empty(self._to, self._tell_end)

    def _tell_end(self) -> None:
        """On the attempt's thread, or on the one that has sent its last result."""
        if self._spoiled is not None and self._record.task().is_success:
            message = f"{self._spoiled}. It is rendered again."
            self._record.finish(Outcome(Verdict(False, Cause.MACHINE, message)))
        self._record.returned_all()
        self._write()
        with self._lock:
            self._is_told = True
        self._reporter.ended(self._record.task())
        self._settle_if_done()

    def discard(self) -> None:
        """It could not be begun, and whoever asked has been told so."""
        self._reporter.retire()
        self._release()
        with self._lock:
            self._is_told = True
        self._settle_if_done()

    def retire(self) -> None:
        """The node ends: stop insisting, and leave the rest to the next start."""
        self._reporter.retire()

    def leave(self, timeout_s: float) -> None:
        """After `retire`: wait until what can be told is told."""
        self._reporter.join(timeout_s)
        with self._lock:
            if not self._is_released:
                self._journal.write(self._entry, is_kept=False)

    def returned(self, frame: int | None) -> None:
        """See returns.Recipient."""
        if frame is not None and self._record.returned(frame):
            self._write()
            self._reporter.progress(self._record.task())

    def held_up(self, sentence: str) -> None:
        """See returns.Recipient."""
        self._reporter.warning(sentence)

    def spoiled(self, sentence: str) -> None:
        """See returns.Recipient."""
        log.warning("attempt %s: %s", self.attempt_id, sentence)
        self._spoiled = self._spoiled or sentence
        self._reporter.warning(sentence)

    def given_away(self, message: str) -> None:
        """See reporter.Listener and returns.Recipient."""
        log.warning("attempt %s is stopped: %s", self.attempt_id, message or "not current")
        self._release()
        self.on_given_away(message)
        self._settle_if_done()

    def acknowledged(self) -> None:
        """See reporter.Listener."""
        self._release()
        self._settle_if_done()

    def handed_over(self, start: HpcStart) -> None:
        """See reporter.Listener."""
        self._owner.handed_over(start, self)

    def _write(self) -> None:
        """Bring the journal up to date."""
        self._is_behind = False
        with self._lock:
            if self._is_released:
                return
            self._entry.task = self._record.task()
            self._journal.write(self._entry)

    def _release(self) -> None:
        with self._lock:
            self._is_released = True

    def _settle_if_done(self) -> None:
        is_silent = isinstance(self._reporter, NoReporter)
        with self._lock:
            is_settled = self._is_told and (self._is_released or is_silent)
        if is_settled:
            if self._to is not None:
                self._returns.forget(self._to)
            self._owner.settled(self)
            self._journal.remove(self._entry.task)
