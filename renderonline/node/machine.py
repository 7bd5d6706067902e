"""The node as its api sees it: it takes a start and one more ahead of time, stops them, and says
what it does."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

import renderonline
from renderonline import wire
from renderonline.engines.base import Verdict
from renderonline.node import worker
from renderonline.node.account import Account
from renderonline.node.api_client import Api, ApiClient
from renderonline.node.books import Books
from renderonline.node.equipment import Equipment
from renderonline.node.fetch import NotFetched
from renderonline.node.inputs import Inputs
from renderonline.node.journal import Journal
from renderonline.node.orders import Order, api_at, report_to, understand
from renderonline.node.record import Outcome
from renderonline.node.refusal import Refusal
from renderonline.node.watch import Watch
from renderonline.node.worker import STOP_GRACE_S, Attempt, Workplace
from renderonline.wire import Cause, HpcAnswer, HpcStart, HpcStatus, HpcStop

log = logging.getLogger(__name__)

FAREWELL_S = 1.0
"""How long an ending node waits for its apis to take its last reports."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An attempt that begins when the running one is over."""

    order: Order
    account: Account
    no_more: threading.Event = field(default_factory=threading.Event)  # ends its fetching ahead


class Machine:
    """One render at a time. Every method may be called on any thread."""

    def __init__(
        self,
        equipment: Equipment,
        inputs: Inputs,
        workplace: Workplace,
        journal: Journal,
        client: ApiClient,
    ) -> None:
        self.boot = secrets.token_hex(8)
        self._equipment = equipment
        self._inputs = inputs
        self._workplace = workplace
        self._books = Books(
            workplace.clock,
            journal,
            client,
            equipment.vitals,
            self._hand_over,
            workplace.returns,
        )
        self._client = client
        self._watch = Watch(workplace.clock, workplace.render_memory_bytes)
        self._turn = threading.Lock()  # held by whoever decides what runs, never for a render
        self._attempt: Attempt | None = None  # the running one, or the last
        self._waiting: Waiting | None = None
        self._is_closing = False

    def recover(self) -> set[Api]:
        """Clear up after an earlier node, see Books.recover. Called once, before the first start."""
        return self._books.recover()

    def is_idle(self) -> bool:
        """Whether a start would be taken now."""
        attempt = self._attempt
        return attempt is None or attempt.is_over

    def status(self) -> HpcStatus:
        """What this machine can do, and what it does."""
        equipment, attempt = self._equipment, self._attempt
        engines = equipment.engines()
        return HpcStatus(
            engine_ids=[engine.engine_id for engine in engines],
            task=attempt.record.shown() if attempt is not None else None,
            protocol=wire.PROTOCOL,
            version=renderonline.__version__,
            boot=self.boot,
            tasks=self._books.tasks(),
            engines=engines,
            platform=equipment.platform,
            cores=equipment.cores,
            memory_bytes=equipment.memory_bytes,
            tags=list(equipment.tags),
            vitals=equipment.vitals(),
        )

    def introduce(self, url: str, fingerprint: str) -> None:
        """An api says how it is known: its certificate may have been renewed. Of one that nothing is
        kept for, nothing is noted. Raises Refusal."""
        api = api_at(url, fingerprint)
        if any(api.url == known.url for known in self._books.apis()):
            self._client.trust(api)

    def start(self, start: HpcStart) -> HpcAnswer:
        """Start a render, or keep it until the one that it names in `after` is over.

        A repeated start of the same attempt succeeds without another render. Raises Refusal when
        there is no place for it, or when it cannot be started.
        """
        engine_id = start.engine_id.strip()
        message = f"Rendering using engine with identifier: {engine_id}"
        if (to := report_to(start)) is not None:
            self._client.trust(to.api)
        with self._turn:
            if self._is_closing:
                raise Refusal("This node is shutting down; it takes no more renders.")
            if self._is_repeated(start):
                return HpcAnswer(is_success=True, message=message)
            if (why := self._workplace.returns.congestion()) is not None:
                raise Refusal(why)
            running = self._running()
            if running is not None:
                self._refuse_unless_next(start, running)
                self._keep(understand(start, self._equipment.renderers, self._inputs))
                message = f"Begins when attempt {start.after} is over."
            else:
                self._begin(understand(start, self._equipment.renderers, self._inputs))
        return HpcAnswer(is_success=True, message=message)

    def stop(self, stop: HpcStop) -> HpcAnswer:
        """End the render that is meant, with all that it has started, or drop the waiting one.

        Returns when it has ended, with `after_frame` at once. Raises Refusal when another one is
        running.
        """
        with self._turn:
            is_dropped = self._drop(stop)
            attempt = self._running()
            if attempt is not None and _is_other(attempt.order, stop):
                if not is_dropped:
                    raise Refusal(_other(attempt.order, stop))
                attempt = None
        if attempt is None:
            message = "There is no active render to terminate."
            return _done("The waiting render was dropped." if is_dropped else message)
        if stop.after_frame and attempt.stop_after_frame(_reason(stop)):
            return _done("Active render ends with its frame.")
        is_over = attempt.stop(_reason(stop), STOP_GRACE_S)
        return _done("Active render terminated!" if is_over else "Active render is terminating.")

    def close(self) -> None:
        """End what runs, say so to its api, take no more. Idempotent; blocks a few seconds."""
        with self._turn:
            if self._is_closing:
                return
            self._is_closing = True
            attempt = self._attempt
            waiting, self._waiting = self._waiting, None
        sentence = "The node was stopped."
        if waiting is not None:
            waiting.no_more.set()
            _give_back(waiting.account, sentence)
        if attempt is not None:
            if not attempt.is_over:
                attempt.stop(sentence, STOP_GRACE_S)
            attempt.leave(FAREWELL_S)
        self._watch.close()
        self._books.close(FAREWELL_S)
        self._workplace.warm.close()
        self._workplace.spawner.close()

    def _running(self) -> Attempt | None:
        return None if self._attempt is None or self._attempt.is_over else self._attempt

    def _is_repeated(self, start: HpcStart) -> bool:
        """Of any attempt that is not settled, or of the last one, which is reported as `Task`."""
        is_last = self._attempt is not None and self._attempt.order.is_repeated_by(start)
        return is_last or self._books.find(start) is not None

    def _refuse_unless_next(self, start: HpcStart, running: Attempt) -> None:
        is_next = start.attempt_id is not None and start.after is not None
        if not is_next or start.after != running.order.attempt_id:
            raise Refusal(
                f"A render is already in progress: task {running.order.task_id}. Stop it first, "
                "or wait for its end."
            )
        if self._waiting is not None:
            raise Refusal(
                f"Attempt {self._waiting.order.attempt_id} waits already for the end of the "
                "running one; a node keeps one ahead. Send it when that has begun."
            )

    def _begin(self, order: Order) -> None:
        """Raises Refusal. Whoever asks hears it, so the account is closed again."""
        account = self._books.open(order)
        try:
            self._render(order, account)
        except BaseException:
            account.discard()
            raise

    def _keep(self, order: Order) -> None:
        account = self._books.open(order)
        account.accepted()
        self._workplace.warm.expect(order)
        self._waiting = waiting = Waiting(order, account)
        if order.place.project is not None and not self._workplace.trees.is_ready(order):
            threading.Thread(
                target=self._prefetch, args=(waiting,), name="prefetch", daemon=True
            ).start()

    def _prefetch(self, waiting: Waiting) -> None:
        """Have the project of the waiting attempt here by the time that its turn comes."""
        try:
            self._workplace.trees.prepare(waiting.order, waiting.no_more)
        except NotFetched as error:
            log.info("attempt %s: %s", waiting.order.attempt_id, error)  # it will see for itself
        except Exception:  # the edge of the thread
            log.exception("fetching ahead for attempt %s failed", waiting.order.attempt_id)

    def _render(
        self, order: Order, account: Account, no_more_fetching: threading.Event | None = None
    ) -> None:
        def on_over(outcome: Outcome, vacate: Callable[[], None]) -> bool:
            return self._over(account, outcome, order.place.desk, vacate)

        self._attempt = worker.begin(
            order, account, self._workplace, self._watch.follow, on_over, no_more_fetching
        )

    def _over(
        self, account: Account, outcome: Outcome, desk: Path | None, vacate: Callable[[], None]
    ) -> bool:
        """The running attempt is over: the next one begins, before anybody is told of this one.
        Whether one has.

        On the attempt's thread. Whoever reads in a status that it is over waits for our turn if
        he sends a start then, and finds the node free, or busy with the next.
        """
        with self._turn:
            waiting, self._waiting = self._waiting, None
            if waiting is None or waiting.order.place.desk != desk:
                vacate()
            account.finish(outcome)
            if waiting is None:
                return False
            has_begun = self._begin_waiting(waiting)
            if not has_begun:
                vacate()
            return has_begun

    def _begin_waiting(self, waiting: Waiting) -> bool:
        """False where it cannot begin: it is given back then."""
        try:
            self._render(waiting.order, waiting.account, waiting.no_more)
        except Refusal as refusal:
            _give_back(waiting.account, str(refusal))
        except Exception:  # the edge of the attempt's thread: its own end must still be told
            log.exception("attempt %s cannot be begun", waiting.order.attempt_id)
            _give_back(waiting.account, "The node could not begin it; its log says more.")
        else:
            return True
        return False

    def _hand_over(self, start: HpcStart, after: int | None) -> None:
        """A chunk came with the answer to a report of attempt `after`. On a reporter's thread."""
        if start.after is None:
            start = msgspec.structs.replace(start, after=after)
        try:
            self.start(start)
        except Refusal as refusal:
            self._return(start, str(refusal))
        except Exception:  # the edge of the reporter's thread: it has more to tell
            log.exception("attempt %s cannot be begun", start.attempt_id)
            self._return(start, "The node could not begin it; its log says more.")

    def _return(self, start: HpcStart, sentence: str) -> None:
        """Tell the api that a chunk which it handed over in an answer will not be rendered."""
        log.warning("attempt %s is given back: %s", start.attempt_id, sentence)
        try:
            to = report_to(start)
        except Refusal:
            to = None
        if to is not None:
            _give_back(self._books.open_refused(start, to), sentence)

    def _drop(self, stop: HpcStop) -> bool:
        """Forget the waiting attempt if it is meant; whether it was."""
        waiting = self._waiting
        if waiting is None or _is_other(waiting.order, stop):
            return False
        self._waiting = None
        waiting.no_more.set()
        waiting.account.discard()
        return True


def _give_back(account: Account, sentence: str) -> None:
    """The attempt has not begun and will not."""
    account.finish(Outcome(Verdict(False, Cause.INTERRUPTED, sentence)))
    account.tell_end()


def _done(message: str) -> HpcAnswer:
    return HpcAnswer(is_success=True, message=message)


def _is_other(order: Order, stop: HpcStop) -> bool:
    is_attempt = stop.attempt_id is None or stop.attempt_id == order.attempt_id
    return stop.task_id != order.task_id or not is_attempt


def _other(order: Order, stop: HpcStop) -> str:
    if stop.task_id != order.task_id:
        return f"The active render is task {order.task_id}, not task {stop.task_id}."
    return (
        f"The active render of task {order.task_id} is attempt {order.attempt_id}, "
        f"not attempt {stop.attempt_id}."
    )


def _reason(stop: HpcStop) -> str:
    return f"Stopped: {stop.reason}" if stop.reason else "The render was stopped by its api."
