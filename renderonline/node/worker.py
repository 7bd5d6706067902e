"""One attempt's life: from an order to its outcome.

What can be refused happens in the request that starts it: inputs, output folder and the process
itself. All else happens on the attempt's own thread: its output is read line by line, its files
are collected, it is judged, the next one is begun, and only then the outcome goes to the api.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from renderonline.engines.base import Ending, FrameSaved, Reader, Verdict
from renderonline.frames import FrameSet
from renderonline.lifecycle import Clock
from renderonline.node import attempt_log
from renderonline.node.account import Account
from renderonline.node.attempt_log import AttemptLog
from renderonline.node.environment import bundle_dir, child_environment
from renderonline.node.orders import Order
from renderonline.node.process import Rendering, RenderProcess, Spawner
from renderonline.node.record import Outcome, Record
from renderonline.node.refusal import Refusal
from renderonline.node.results import LocalResults, NoResults, Results
from renderonline.node.warm import WarmRenderers
from renderonline.wire import Cause, Limits

log = logging.getLogger(__name__)

CLEAR_EVERY = 20
"""Starts between two looks for logs that are too many: looking costs as much as a start."""

STOP_GRACE_S = 2.0
"""From asking to killing. Blender ends within 0.03 s; a service's stop must fit into 5 s."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """What all attempts of a node share."""

    spawner: Spawner
    clock: Clock
    log_dir: Path
    warm: WarmRenderers
    starts: Iterator[int] = field(default_factory=count)


@dataclass(frozen=True, slots=True)
class Tools:
    """What belongs to one attempt alone, made before it begins."""

    process: Rendering
    reader: Reader
    results: Results
    log: AttemptLog


class Attempt:
    """One render on this node. `begin` makes it; it lives until `join` returns True."""

    def __init__(
        self, order: Order, account: Account, tools: Tools, on_over: Callable[[Outcome], None]
    ) -> None:
        """`on_over(outcome)` is called on the attempt's thread, with the process gone and nobody
        told yet: the next render may begin there. It settles what `is_over` says."""
        self.order = order
        self.account = account
        self._process = tools.process
        self._results = tools.results
        self._log = tools.log
        self._reader = tools.reader
        self._on_over = on_over
        self._ended_by: Verdict | None = None  # why the node itself has ended it
        self._stops_after_frame: Verdict | None = None
        self._is_begun = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="attempt", daemon=True)
        account.on_given_away = self._given_away

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def limits(self) -> Limits:
        return self.order.limits

    @property
    def record(self) -> Record:
        return self.account.record

    @property
    def is_over(self) -> bool:
        """Whether the machine is free of it; the api may not know yet."""
        return self.record.is_over

    def start(self) -> None:
        """Follow the process from now on, on a thread of its own; the account has it on return.

        Raises RuntimeError when the system has no thread left; nothing has begun then.
        """
        self._thread.start()
        self._is_begun.wait()

    def stop(self, reason: str, grace_s: float) -> bool:
        """End the render: ask, then after `grace_s` kill; True once it is over. Any other thread."""
        self.end(Verdict(False, Cause.INTERRUPTED, reason), grace_s)
        return self.join(grace_s)

    def stop_after_frame(self, reason: str) -> bool:
        """End it when the frame it is at has been saved; False if it is at none. Any thread."""
        sight = self.record.look()
        if sight is None or not sight.tells_frames or self.order.owes.movie:
            return False
        self._stops_after_frame = Verdict(False, Cause.INTERRUPTED, reason)
        return True

    def end(self, verdict: Verdict, grace_s: float) -> None:
        """End its process tree; the first `verdict` is its outcome. Blocks. Any thread."""
        if self.is_over:
            return  # its process may be at work for the next one
        self._ended_by = self._ended_by or verdict
        self._process.stop(grace_s)

    def join(self, timeout_s: float) -> bool:
        """Wait until the outcome is known; False if that takes longer."""
        return self._is_over.wait(timeout_s)

    def _given_away(self, message: str) -> None:
        """The api works with another attempt. On the reporter's thread."""
        self.stop(f"The api has given this attempt away. {message}".strip(), grace_s=0)

    def _live(self) -> None:
        self.account.begun(self._process.pid, self._is_begun.set)
        try:
            outcome = self._follow()
        except Exception:  # the edge of the attempt's thread: it must come to an outcome
            log.exception("following task %d failed; its render is ended", self.order.task_id)
            self._process.abandon()
            sentence = "The node made a mistake while it followed the render; its log says more."
            outcome = Outcome(Verdict(False, Cause.MACHINE, sentence))
        self._finish(outcome)

    def _follow(self) -> Outcome:
        for line in self._process.lines():
            self._log.write(line)
            self._read(line)
        exit_code = self._process.wait()
        self.record.exited()
        return self._judge(exit_code)

    def _read(self, line: str) -> None:
        self.record.line()
        events = self._reader.feed(line)
        if not events:
            return
        self.account.read(events, self._reader.reading)
        after_frame = self._stops_after_frame
        is_saved = any(isinstance(event, FrameSaved) for event in events)
        if after_frame is not None and is_saved and not self._has_all_frames():
            self.end(after_frame, STOP_GRACE_S)

    def _has_all_frames(self) -> bool:
        """Whether it will end by itself now, with nothing left to render."""
        owed = self.order.owes.frames
        done = FrameSet.of(self._reader.reading.frames_done)
        return owed is not None and not FrameSet.parse(owed) - done

    def _judge(self, exit_code: int) -> Outcome:
        fault = self._results.fault()
        is_warm = self._process.is_warm
        if self._ended_by is not None:
            return Outcome(self._ended_by, exit_code, is_warm, fault is None)
        if self.order.output_dir is None and exit_code == 0:
            # Nothing is known of its files; so judges the original, too.
            return Outcome(Verdict(True), exit_code, is_warm)
        if fault is not None:
            return Outcome(Verdict(False, Cause.SCENE, fault), exit_code, is_warm, False)
        ending = Ending(exit_code, self._results.changed(), self.order.output_dir)
        return Outcome(self._reader.judge(ending), exit_code, is_warm)

    def _finish(self, outcome: Outcome) -> None:
        verdict = outcome.verdict
        how = "succeeded" if verdict.is_success else f"failed: {verdict.message}"
        log.info("task %d %s (exit code %s)", self.order.task_id, how, outcome.exit_code)
        self._log.write(f"[exit code {outcome.exit_code}; {how}]")
        self._log.close()
        self._on_over(outcome)
        self._is_over.set()
        self.account.tell_end()


def begin(
    order: Order, account: Account, workplace: Workplace, on_over: Callable[[Outcome], None]
) -> Attempt:
    """Start the order's process. Raises Refusal with a sentence when that is not possible.

    `on_over`: see Attempt.
    """
    reader = order.renderer.adapter.reader(order.owes)
    results = LocalResults(order.output_dir) if order.output_dir else NoResults()
    log_ = _open_log(order, workplace)
    with ExitStack() as undo:  # a start that fails half-way leaves no process behind
        undo.callback(log_.close)
        process = _spawn(order, workplace, log_)
        undo.callback(process.abandon)
        attempt = Attempt(order, account, Tools(process, reader, results, log_), on_over)
        attempt.start()
        undo.pop_all()
    log.info("task %d started as process %d, log %s", order.task_id, process.pid, log_.file)
    return attempt


def _open_log(order: Order, workplace: Workplace) -> AttemptLog:
    if next(workplace.starts) % CLEAR_EVERY == 0:
        attempt_log.delete_oldest(workplace.log_dir, attempt_log.KEEP_LOGS - CLEAR_EVERY)
    log_ = AttemptLog(
        attempt_log.log_file(
            workplace.log_dir, workplace.clock.now(), order.task_id, order.attempt_id
        )
    )
    log_.write(attempt_log.pasteable(order.command, order.working_dir))
    return log_


def _spawn(order: Order, workplace: Workplace, log_: AttemptLog) -> Rendering:
    environment = child_environment(
        os.environ, order.renderer.environment, order.working_dir, bundle_dir()
    )

    def start(command: list[str], takes_requests: bool) -> RenderProcess:
        return RenderProcess(
            workplace.spawner, command, order.working_dir, environment, takes_requests
        )

    try:
        return workplace.warm.process(order, start)
    except Refusal as refusal:
        log_.write(f"[not started: {refusal}]")
        raise
