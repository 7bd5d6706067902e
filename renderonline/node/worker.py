"""One attempt's life: from an order to its outcome.

What can be refused happens in the request that starts it: inputs, output folder and the process
itself. All else happens on the attempt's own thread: its output is read line by line, its files
are collected, it is judged, and the outcome goes into the slot and to the api.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from renderonline.engines.base import Ending, Notice, Reader, Verdict
from renderonline.lifecycle import Clock
from renderonline.node import attempt_log
from renderonline.node.attempt_log import AttemptLog
from renderonline.node.environment import bundle_dir, child_environment
from renderonline.node.orders import Order
from renderonline.node.process import RenderProcess, Spawner
from renderonline.node.refusal import Refusal
from renderonline.node.reporter import HttpReporter, NoReporter, Reporter
from renderonline.node.results import LocalResults, NoResults, Results
from renderonline.node.slot import Outcome, Slot
from renderonline.wire import Cause

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workplace:
    """What all attempts of a node share."""

    slot: Slot
    spawner: Spawner
    clock: Clock
    log_dir: Path


class Attempt:
    """One render on this node. `begin` makes it; it lives until `join` returns True."""

    def __init__(
        self,
        order: Order,
        workplace: Workplace,
        process: RenderProcess,
        reader: Reader,
        results: Results,
        log_: AttemptLog,
    ) -> None:
        self.order = order
        self._workplace = workplace
        self._process = process
        self._results = results
        self._log = log_
        self._reader = reader
        self._stop_reason: str | None = None
        self._reporter: Reporter = NoReporter()
        if order.report_to is not None:
            self._reporter = HttpReporter(
                order.report_to, workplace.clock, on_given_away=self._given_away
            )
        self._is_begun = threading.Event()
        self._thread = threading.Thread(target=self._live, name="attempt", daemon=True)

    def start(self) -> None:
        """Follow the process from now on, on a thread of its own; the slot has it on return.

        Raises RuntimeError when the system has no thread left; the slot is as before then.
        """
        self._thread.start()
        self._is_begun.wait()

    def stop(self, reason: str, grace_s: float) -> bool:
        """End the render: ask, then after `grace_s` kill; True once it is over. Any thread."""
        self._stop_reason = reason
        self._process.stop(grace_s)
        return self.join(grace_s)

    def join(self, timeout_s: float) -> bool:
        """Wait until the outcome is known; False if that takes longer."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def retire(self, wait_s: float = 0) -> None:
        """Another attempt takes over, or the node ends: stop insisting on reports."""
        self._reporter.retire()
        self._reporter.join(wait_s)

    def _given_away(self, message: str) -> None:
        """The api works with another attempt. On the reporter's thread."""
        log.warning("attempt %s is stopped: %s", self.order.attempt_id, message or "not current")
        self.stop(f"The api has given this attempt away. {message}".strip(), grace_s=0)

    def _live(self) -> None:
        order = self.order
        self._workplace.slot.begin(order.task_id, order.attempt_id, order.key_digest)
        self._is_begun.set()
        self._reporter.started()
        try:
            outcome = self._follow()
        except Exception:  # the edge of the attempt's thread: it must come to an outcome
            log.exception("following task %d failed; its render is ended", self.order.task_id)
            self._process.abandon()
            sentence = "The node made a mistake while it followed the render; its log says more."
            outcome = Outcome(Verdict(False, Cause.MACHINE, sentence), None)
        self._finish(outcome)

    def _follow(self) -> Outcome:
        for line in self._process.lines():
            self._log.write(line)
            self._read(line)
        exit_code = self._process.wait()
        self._workplace.slot.exited()
        return Outcome(self._judge(exit_code), exit_code)

    def _read(self, line: str) -> None:
        events = self._reader.feed(line)
        for event in events:
            if isinstance(event, Notice):
                self._reporter.warning(event.text)
        if events:
            reading = self._reader.reading
            self._workplace.slot.progress(reading.fraction, len(reading.frames_done))
            self._reporter.progress(reading.fraction, len(reading.frames_done))

    def _judge(self, exit_code: int) -> Verdict:
        if self._stop_reason is not None:
            return Verdict(False, Cause.INTERRUPTED, self._stop_reason)
        if self.order.output_dir is None and exit_code == 0:
            return Verdict(True)  # nothing is known of its files; so judges the original, too
        fault = self._results.fault()
        if fault is not None:
            return Verdict(False, Cause.SCENE, fault)
        ending = Ending(exit_code, self._results.changed(), self.order.output_dir)
        return self._reader.judge(ending)

    def _finish(self, outcome: Outcome) -> None:
        verdict = outcome.verdict
        how = "succeeded" if verdict.is_success else f"failed: {verdict.message}"
        log.info("task %d %s (exit code %s)", self.order.task_id, how, outcome.exit_code)
        self._log.write(f"[exit code {outcome.exit_code}; {how}]")
        self._log.close()
        self._workplace.slot.finish(outcome)
        self._reporter.ended(outcome, len(self._reader.reading.frames_done))


def begin(order: Order, workplace: Workplace) -> Attempt:
    """Start the order's process. Raises Refusal with a sentence when that is not possible."""
    reader = order.renderer.adapter.reader(order.owes)
    results = LocalResults(order.output_dir) if order.output_dir else NoResults()
    log_ = _open_log(order, workplace)
    with ExitStack() as undo:  # a start that fails half-way leaves no process behind
        undo.callback(log_.close)
        process = _spawn(order, workplace, log_)
        undo.callback(process.abandon)
        attempt = Attempt(order, workplace, process, reader, results, log_)
        undo.callback(attempt.retire)
        attempt.start()
        undo.pop_all()
    log.info("task %d started as process %d, log %s", order.task_id, process.pid, log_.file)
    return attempt


def _open_log(order: Order, workplace: Workplace) -> AttemptLog:
    attempt_log.delete_oldest(workplace.log_dir, attempt_log.KEEP_LOGS - 1)
    log_ = AttemptLog(
        attempt_log.log_file(
            workplace.log_dir, workplace.clock.now(), order.task_id, order.attempt_id
        )
    )
    log_.write(attempt_log.pasteable(order.command, order.working_dir))
    return log_


def _spawn(order: Order, workplace: Workplace, log_: AttemptLog) -> RenderProcess:
    environment = child_environment(
        os.environ, order.renderer.environment, order.working_dir, bundle_dir()
    )
    try:
        return RenderProcess(workplace.spawner, list(order.command), order.working_dir, environment)
    except Refusal as refusal:
        log_.write(f"[not started: {refusal}]")
        raise
