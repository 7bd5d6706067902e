"""All the attempts that this node has to answer for: waiting, running, and over but not yet told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from renderonline import security
from renderonline.frames import FrameSet
from renderonline.lifecycle import Clock
from renderonline.node import recovery
from renderonline.node.account import Account
from renderonline.node.api_client import Api, ApiClient
from renderonline.node.journal import Entry, Journal
from renderonline.node.orders import Order, ReportTo
from renderonline.node.record import Record
from renderonline.node.reporter import HttpReporter
from renderonline.node.returns import Returns
from renderonline.wire import HpcStart, HpcTask, Vitals

log = logging.getLogger(__name__)

MAX_UNTOLD = 16
"""Attempts that are over and that no api takes note of: more come together only where several apis
are away at once. The oldest are given up then."""

RESTARTED_SEQUENCE = 2**30
"""Number before the first report of a node's next start on an attempt: above all that the one
before can have sent, which it did not write down."""


class Books:
    """Keeps the accounts. Any thread."""

    def __init__(
        self,
        clock: Clock,
        journal: Journal,
        client: ApiClient,
        vitals: Callable[[], Vitals],
        on_next: Callable[[HpcStart, int | None], None],
        returns: Returns,
    ) -> None:
        """`on_next(start, after)`: the api handed a chunk over, behind the attempt `after`."""
        self._clock = clock
        self._journal = journal
        self._client = client
        self._vitals = vitals
        self._on_next = on_next
        self._returns = returns
        self._lock = threading.Lock()
        self._accounts: list[Account] = []  # in the order of their acceptance

    def open(self, order: Order) -> Account:
        """An account for an attempt that is accepted. Raises RuntimeError without a thread left."""
        owed = FrameSet.parse(order.owes.frames) if order.owes.frames else None
        return self._open(order.start, order.report_to, order, owed)

    def open_refused(self, start: HpcStart, report_to: ReportTo) -> Account:
        """The same for one that cannot be accepted, where nobody waits for an answer."""
        return self._open(start, report_to, None, None)

    def recover(self) -> set[Api]:
        """End what an earlier node has left behind, and report it. The apis that are concerned.

        Blocks for seconds if a renderer of it does not die. Called once, before the first start.
        """
        apis = set()
        for entry in self._journal.left_behind():
            recovery.end_orphan(entry)
            if entry.api_url is None or entry.task.attempt_id is None:
                self._journal.remove(entry.task)
            else:
                api = Api(entry.api_url, entry.fingerprint)
                self._adopt(entry, ReportTo(api, entry.task.attempt_id, entry.report_key))
                apis.add(api)
        self._returns.start()
        return apis

    def apis(self) -> set[Api]:
        """Whom anything is to be told, or sent."""
        with self._lock:
            told = {account.api for account in self._accounts}
        return {api for api in told | self._returns.apis() if api is not None}

    def tasks(self) -> list[HpcTask]:
        """All of them, as the wire has them."""
        with self._lock:
            accounts = list(self._accounts)
        return [account.record.shown() for account in accounts]

    def find(self, start: HpcStart) -> Account | None:
        """The account that a repeated `start` is about."""
        with self._lock:
            accounts = list(self._accounts)
        return next((account for account in accounts if account.is_repeated_by(start)), None)

    def close(self, farewell_s: float) -> None:
        """Tell what can be told; what cannot is in the journal. Blocks for about `farewell_s`."""
        with self._lock:
            accounts = list(self._accounts)
        for account in accounts:
            account.retire()
        ends_at = self._clock.monotonic() + farewell_s
        for account in accounts:
            account.leave(max(0.0, ends_at - self._clock.monotonic()))
        self._returns.close()

    def settled(self, account: Account) -> None:
        """See account.Owner."""
        with self._lock:
            if account in self._accounts:
                self._accounts.remove(account)

    def handed_over(self, start: HpcStart, account: Account) -> None:
        """See account.Owner."""
        self._on_next(start, account.attempt_id)

    def _open(
        self,
        start: HpcStart,
        report_to: ReportTo | None,
        order: Order | None,
        owed: FrameSet | None,
    ) -> Account:
        key = start.report_key
        task = HpcTask(
            task_id=start.task_id,
            attempt_id=start.attempt_id,
            key_digest=security.digest(key) if key else None,
            is_waiting=True,
        )
        entry = Entry(task=task)
        if report_to is not None:
            entry.api_url, entry.report_key = report_to.api.url, report_to.key
            entry.fingerprint = report_to.api.fingerprint
        sends_back = order is not None and order.place.project is not None
        record = Record(self._clock, task, owed, sends_back)
        account = self._account(record, entry, order, report_to)
        if report_to is not None:
            account.report_by(self._reporter(report_to, account))
        self._add(account)
        return account

    def _adopt(self, entry: Entry, report_to: ReportTo) -> None:
        log.info("attempt %s of an earlier start is reported", report_to.attempt_id)
        entry.task = recovery.after_restart(entry.task)
        entry.renderer = None
        sends_back = not self._returns.is_empty(report_to)
        record = Record(self._clock, entry.task, sends_back=sends_back)
        account = self._account(record, entry, None, report_to)
        account.report_by(self._reporter(report_to, account, RESTARTED_SEQUENCE))
        self._add(account)
        account.tell_end()

    def _account(
        self, record: Record, entry: Entry, order: Order | None, to: ReportTo | None
    ) -> Account:
        return Account(record, entry, self._journal, self, order, self._returns, to)

    def _reporter(self, report_to: ReportTo, account: Account, sequence: int = 0) -> HttpReporter:
        return HttpReporter(report_to, self._client, self._clock, self._vitals, account, sequence)

    def _add(self, account: Account) -> None:
        with self._lock:
            self._accounts.append(account)
            # Results that wait are never given up: their api may be full, and have rendered for days.
            over = [a for a in self._accounts if a.record.is_over and not a.has_results]
        for forgotten in over[:-MAX_UNTOLD]:
            log.warning("attempt %s is given up: no api takes note of it", forgotten.attempt_id)
            forgotten.discard()
