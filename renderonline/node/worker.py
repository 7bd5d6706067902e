"""One attempt's life: from an order to its outcome.

Where the project is here, what can be refused happens in the request that starts it: output folder
and the process itself. All else happens on the attempt's own thread: the project is fetched, the
renderer's output is read line by line, its files are collected, it is judged, the next one is begun,
and only then the outcome goes to the api.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

from renderonline.engines.base import Ending, EngineEvent, FrameSaved, Notice, Reader, Verdict
from renderonline.engines.endings import is_disk_full
from renderonline.frames import FrameSet
from renderonline.lifecycle import Clock
from renderonline.node import attempt_log
from renderonline.node.account import Account
from renderonline.node.attempt_log import AttemptLog
from renderonline.node.beside import Beside
from renderonline.node.environment import bundle_dir, child_environment
from renderonline.node.fetch import NotFetched
from renderonline.node.orders import Order
from renderonline.node.process import Rendering, RenderProcess, Spawner
from renderonline.node.record import Outcome, Record
from renderonline.node.refusal import Refusal
from renderonline.node.results import DeskResults, FolderResults, NoResults, Results, into
from renderonline.node.returns import Returns
from renderonline.node.trees import Trees
from renderonline.node.warm import WarmRenderers
from renderonline.wire import Cause, Limits, Reason

log = logging.getLogger(__name__)

CLEAR_EVERY = 20
"""Starts between two looks for logs that are too many: looking costs as much as a start."""

STOP_GRACE_S = 2.0
"""From asking to killing. Blender ends within 0.03 s; a service's stop must fit into 5 s."""

_STAYS = (
    "The scene writes files to {}, outside the project: they stay on the machines that render it. "
    "What it writes to paths that begin with // comes back."
)


@dataclass(frozen=True, slots=True)
class Workplace:
    """What all attempts of a node share."""

    spawner: Spawner
    clock: Clock
    log_dir: Path
    warm: WarmRenderers
    trees: Trees
    returns: Returns
    render_memory_bytes: int | None = None  # what a render may hold; None: by what the machine has
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
        self,
        order: Order,
        account: Account,
        workplace: Workplace,
        on_begun: Callable[[Attempt], None],
        on_over: Callable[[Outcome, Callable[[], None]], bool],
        no_more_fetching: threading.Event | None = None,
    ) -> None:
        """`on_begun(self)`: its process runs. `on_over(outcome, vacate)` is called on the attempt's
        thread, with the process gone and nobody told yet: the next render may begin there, and then
        it is True. It settles what `is_over` says, and calls `vacate` where nobody begins at the
        same desk. `no_more_fetching`: set when it is ended; whoever fetches ahead for it ends."""
        self.order = order
        self.account = account
        self._workplace = workplace
        self._on_begun = on_begun
        self._on_over = on_over
        self._tools: Tools | None = None  # None: its project is not here yet
        self._turn = threading.Lock()  # held while its process is started, or it is ended
        self._no_more_fetching = no_more_fetching or threading.Event()
        self._ended_by: Verdict | None = None  # why the node itself has ended it
        self._stops_after_frame: Verdict | None = None
        self._has_told_stray = False
        self._is_begun = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="attempt", daemon=True)
        account.on_given_away = self._given_away

    @property
    def pid(self) -> int:
        """Of its process, which has been started."""
        assert self._tools is not None
        return self._tools.process.pid

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
        """Begin: at once where the project is here, else when it has been fetched.

        Raises Refusal where that is not possible, and RuntimeError when the system has no thread
        left; nothing has begun then.
        """
        with ExitStack() as undo:  # a start that fails half-way leaves no process behind
            if self.order.place.project is not None:
                self._workplace.trees.hold(self.order)
                undo.callback(self._workplace.trees.let_go, self.order)
                if not self._workplace.trees.is_ready(self.order):
                    self._thread.start()
                    undo.pop_all()
                    return
            self._tools = tools = _equip(self.order, self._workplace)
            undo.callback(tools.log.close)
            undo.callback(tools.process.abandon)
            self._thread.start()
            undo.pop_all()
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
        self._no_more_fetching.set()
        with self._turn:
            if self.is_over:
                return  # its process may be at work for the next one
            self._ended_by = self._ended_by or verdict
            tools = self._tools
        if tools is not None:
            tools.process.stop(grace_s)

    def join(self, timeout_s: float) -> bool:
        """Wait until the outcome is known; False if that takes longer."""
        return self._is_over.wait(timeout_s)

    def leave(self, timeout_s: float) -> None:
        """Wait until its end is with its reporter, too. Any other thread, once it has begun."""
        self._thread.join(timeout_s)

    def _given_away(self, message: str) -> None:
        """The api works with another attempt. On the reporter's thread."""
        self.stop(f"The api has given this attempt away. {message}".strip(), grace_s=0)

    def _live(self) -> None:
        try:
            outcome = self._fetched() or self._rendered()
        except Exception:  # the edge of the attempt's thread: it must come to an outcome
            log.exception("following task %d failed; its render is ended", self.order.task_id)
            if self._tools is not None:
                self._tools.process.abandon()
            sentence = "The node made a mistake while it followed the render; its log says more."
            outcome = Outcome(Verdict(False, Cause.MACHINE, sentence))
        self._finish(outcome)

    def _fetched(self) -> Outcome | None:
        """Have the project here and the process started; the outcome if that cannot be."""
        if self._tools is not None:
            return None
        try:
            self._workplace.trees.prepare(self.order, self._no_more_fetching)
            with self._turn:
                if self._ended_by is None:
                    self._tools = _equip(self.order, self._workplace)
                    return None
        except NotFetched as error:
            return Outcome(self._ended_by or Verdict(False, error.cause, str(error), error.reason))
        except Refusal as refusal:
            return Outcome(self._failing_machine(str(refusal)))
        return Outcome(self._ended_by)

    def _rendered(self) -> Outcome:
        tools = self._tools
        assert tools is not None
        self.account.begun(tools.process.pid, self._is_begun.set)
        self._on_begun(self)
        for line in tools.process.lines():
            tools.log.write(line)
            self._read(tools, line)
            if not tools.process.has_more:
                self.account.keep()
        exit_code = tools.process.wait()
        if exit_code == 0:
            self._take(tools, tools.reader.rest())
        self.record.exited()
        return self._judge(tools, exit_code)

    def _read(self, tools: Tools, line: str) -> None:
        self.record.line()
        self._take(tools, tools.reader.feed(line))

    def _take(self, tools: Tools, events: Sequence[EngineEvent]) -> None:
        """What the renderer tells, once what was saved is in its place."""
        saved = [event for event in events if isinstance(event, FrameSaved)]
        if not events or not self._deliver(tools, saved):
            return
        self.account.read([*events, *self._stray(tools, saved)], tools.reader.reading)
        after_frame = self._stops_after_frame
        is_frame_over = any(event.frame is not None for event in saved)
        if after_frame is not None and is_frame_over and not self._has_all_frames(tools):
            self.end(after_frame, STOP_GRACE_S)

    def _deliver(self, tools: Tools, saved: Sequence[FrameSaved]) -> bool:
        """Put what was saved in its place, before anybody is told; False if that cannot be done."""
        for event in saved:
            fault = tools.results.deliver(event.path, event.frame)
            if fault is not None:
                self.end(self._failing_machine(fault), STOP_GRACE_S)
                return False
        return True

    def _stray(self, tools: Tools, saved: Sequence[FrameSaved]) -> list[Notice]:
        """A word to the owner, once, of what can never come back."""
        stray = next((e.path for e in saved if tools.results.is_elsewhere(e.path)), None)
        if stray is None or self._has_told_stray:
            return []
        self._has_told_stray = True
        return [Notice(_STAYS.format(stray.parent))]

    def _has_all_frames(self, tools: Tools) -> bool:
        """Whether it will end by itself now, with nothing left to render."""
        owed = self.order.owes.frames
        done = FrameSet.of(tools.reader.reading.frames_done)
        return owed is not None and not FrameSet.parse(owed) - done

    def _judge(self, tools: Tools, exit_code: int) -> Outcome:
        results, desk = tools.results, self.order.place.desk
        fault = results.fault()
        is_warm = tools.process.is_warm
        if self._ended_by is not None:
            return Outcome(self._ended_by, exit_code, is_warm, fault is None)
        if desk is None and exit_code == 0:
            # Nothing is known of its files; so judges the original, too.
            return Outcome(Verdict(True), exit_code, is_warm)
        if fault is not None:
            return Outcome(Verdict(False, Cause.SCENE, fault), exit_code, is_warm, False)
        verdict = tools.reader.judge(Ending(exit_code, results.changed(), desk))
        if verdict.is_success:
            undelivered = results.deliver_rest()
            if undelivered is not None:
                verdict = self._failing_machine(undelivered)
        return Outcome(self._unless_damaged(verdict), exit_code, is_warm)

    def _failing_machine(self, sentence: str) -> Verdict:
        """It could not be begun, or what it saved could not be kept."""
        reason = Reason.DISK_FULL if is_disk_full(self._workplace.log_dir) else None
        return Verdict(False, Cause.MACHINE, sentence, reason)

    def _unless_damaged(self, verdict: Verdict) -> Verdict:
        """What looks like the project's fault is this machine's where a file of it is damaged here."""
        if verdict.cause not in (Cause.SCENE, Cause.ASSET_MISSING):
            return verdict
        damaged = self._workplace.trees.damaged(self.order)
        if not damaged:
            return verdict
        message = f"{damaged[0]} was damaged on this machine's disk; it is fetched again. ({verdict.message})"
        return Verdict(False, Cause.MACHINE, message)

    def _finish(self, outcome: Outcome) -> None:
        """The next renderer waits for `_on_over`: what can be done behind that, is."""
        verdict = outcome.verdict
        how = "succeeded" if verdict.is_success else f"failed: {verdict.message}"
        if self._tools is not None:
            self._tools.log.write(f"[exit code {outcome.exit_code}; {how}]")
            self._tools.log.close()
            with contextlib.suppress(OSError):  # the next attempt clears it, or says why it cannot
                self._tools.results.clear()
        self._is_begun.set()
        has_next = self._on_over(outcome, self._vacate)
        if self.order.place.project is not None:
            self._workplace.trees.let_go(self.order)
        self._is_over.set()
        log.info("task %d %s (exit code %s)", self.order.task_id, how, outcome.exit_code)
        self.account.tell_end(has_next)

    def _vacate(self) -> None:
        if self._tools is not None:
            with contextlib.suppress(OSError):
                self._tools.results.vacate()


def begin(
    order: Order,
    account: Account,
    workplace: Workplace,
    on_begun: Callable[[Attempt], None],
    on_over: Callable[[Outcome, Callable[[], None]], bool],
    no_more_fetching: threading.Event | None = None,
) -> Attempt:
    """Start the order's process, now or when its project is here. Raises Refusal with a sentence
    when that is not possible.

    `on_begun`, `on_over`, `no_more_fetching`: see Attempt.
    """
    attempt = Attempt(order, account, workplace, on_begun, on_over, no_more_fetching)
    attempt.start()
    return attempt


def _equip(order: Order, workplace: Workplace) -> Tools:
    """Make what an attempt needs, its process last. Raises Refusal."""
    reader = order.renderer.adapter.reader(order.owes, order.command)
    results = _results(order, workplace)
    process = _spawn(order, workplace)
    with ExitStack() as undo:
        undo.callback(process.abandon)
        log_ = _open_log(order, workplace)  # afterwards: a renderer that is open is at work by now
        undo.pop_all()
    log.info("task %d started as process %d, log %s", order.task_id, process.pid, log_.file)
    return Tools(process, reader, results, log_)


def _results(order: Order, workplace: Workplace) -> Results:
    place, to = order.place, order.report_to
    if place.desk is None:
        return NoResults()
    beside = None
    if order.start.task_dir is not None:  # otherwise it is a folder of somebody's own
        beside = Beside(order.working_dir, place.desk, workplace.trees.made(order).__contains__)
    if place.output_dir is not None and place.is_open:
        return FolderResults(place.output_dir)
    if place.output_dir is not None:
        return DeskResults(place.desk, into(place.output_dir), beside)
    assert to is not None
    return DeskResults(place.desk, partial(workplace.returns.put, to), beside)


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


def _spawn(order: Order, workplace: Workplace) -> Rendering:
    def start(command: list[str], takes_requests: bool) -> RenderProcess:
        environment = child_environment(
            os.environ, order.renderer.environment, order.working_dir, bundle_dir()
        )
        return RenderProcess(
            workplace.spawner, command, order.working_dir, environment, takes_requests
        )

    try:
        return workplace.warm.process(order, start)
    except Refusal as refusal:
        log_ = _open_log(order, workplace)
        log_.write(f"[not started: {refusal}]")
        log_.close()
        raise
