"""Machines that only pretend to render, for scale.py: they take /hpc's messages and report as ours do.

Owns what a node does in time: starting up, saving frames at its pace, staying warm, keeping one chunk
ahead, failing, being lost. When it reports, the node's own outbox says. What time is and how messages travel, a `World` says: virtual in
simulated_api.py, real in real_time.py. Everything happens on the world's one thread.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from renderonline import wire
from renderonline.frames import FrameSet
from renderonline.node.outbox import Outbox
from renderonline.wire import Cause, EventType, HpcAnswer, HpcStart, HpcStatus, HpcTask, NodeEvent

ENGINE = "simulated"
LOOK_S = 0.25
"""How often quick frames are counted."""
RETRY_S = 0.5
"""As the node's reporter: until a report that had no answer is sent again."""
AWAY_S = 90.0
"""How long a lost machine is away; longer than the minute after which the api gives it up."""

Answered = Callable[[wire.ReportAnswer | None], None]
"""Takes the api's answer to a report; None: there was none."""


class World(Protocol):
    """Time and the network."""

    def now_s(self) -> float: ...

    def at(self, delay_s: float, event: Callable[[], None]) -> None:
        """Call `event` so much later."""
        ...

    def report(
        self, node: Node, start: HpcStart, report: wire.NodeReport, answered: Answered
    ) -> None:
        """Carry a report to the api."""
        ...

    def hello(self, node: Node) -> None:
        """Tell the api that the node is up."""
        ...


@dataclass(frozen=True)
class Behaviour:
    """What all machines of a run have in common."""

    frame_s: float = 5.0  # on a machine of pace 1
    startup_s: float = 2.0
    is_warm: bool = True
    paces: tuple[float, float] = (0.7, 1.4)  # the slowest and the fastest machine's
    fails: float = 0.0  # the share of chunks that fail
    lost: float = 0.0  # the share of chunks in which the machine goes away


@dataclass
class Tally:
    """What happened in a run, over all machines."""

    begun: int = 0
    ended: int = 0
    failed: int = 0
    lost: int = 0
    given_back: int = 0  # handed over to a machine that had been given another one
    frames: int = 0  # saved, copies too
    reports: int = 0
    useful_s: float = 0.0  # rendering of frames that were saved for the first time
    seen: dict[int, set[int]] = field(default_factory=dict)  # task → the frames that were saved
    gaps_s: list[float] = field(default_factory=list)  # a chunk's end → the next one's begin there

    def saved(self, task_id: int, frames: Sequence[int], each_s: float) -> None:
        seen = self.seen.setdefault(task_id, set())
        new = seen.symmetric_difference(frames).difference(seen)
        seen.update(new)
        self.frames += len(frames)
        self.useful_s += len(new) * each_s


@dataclass
class Work:
    """A chunk on a machine."""

    start: HpcStart
    frames: Sequence[int]
    frame_s: float
    fails_after: int | None = None  # frames
    startup_s: float = 0.0
    began_s: float = 0.0
    saved: int = 0
    is_over: bool = False
    outbox: Outbox = field(default_factory=Outbox)
    sequence: int = 0
    sent_s: float = 0.0  # when the last report went out
    send_at: float = math.inf  # when it will be looked whether one is due
    is_sending: bool = False

    @property
    def attempt_id(self) -> int:
        return self.start.attempt_id or 0

    @property
    def done(self) -> str:
        """The frames that are saved."""
        return str(FrameSet.of(self.frames[: self.saved]))


class Node:
    """One machine."""

    def __init__(
        self, number: int, at: tuple[str, int], behaviour: Behaviour, world: World, tally: Tally
    ) -> None:
        """`at`: the address and the port by which the api knows it."""
        self.address, self.port = at
        self.is_up = True
        self._behaviour = behaviour
        self._world = world
        self._tally = tally
        self._luck = random.Random(number)
        self.pace = self._luck.uniform(*behaviour.paces)
        self._work: Work | None = None
        self._ahead: Work | None = None
        self._warm_for: int | None = None
        self._free_since_s: float | None = None
        self._boot = 0  # what was planned before the last one does not happen any more

    @property
    def is_idle(self) -> bool:
        return self._work is None

    # ----------------------------------------------------------------- /hpc

    def status(self) -> HpcStatus:
        held = [self._told(work) for work in (self._work, self._ahead) if work is not None]
        return HpcStatus(
            engine_ids=[ENGINE],
            task=held[0] if held else None,
            protocol=1,
            version="simulated",
            boot=str(self._boot),
            tasks=held,
            engines=[wire.EngineInfo(engine_id=ENGINE, adapter="blender")],
            platform="linux",
            cores=8,
            memory_bytes=2**35,
            vitals=self._vitals(),
        )

    def start(self, message: HpcStart) -> HpcAnswer:
        if self._work is None:
            self._begin(self._taken(message))
        elif self._ahead is None and message.after == self._work.attempt_id:
            self._ahead = self._taken(message)
        else:
            return HpcAnswer(is_success=False, message="It renders already.")
        return HpcAnswer(is_success=True, message="")

    def stop(self, message: wire.HpcStop) -> HpcAnswer:
        if self._ahead is not None and self._ahead.attempt_id == message.attempt_id:
            self._ahead = None
        elif self._work is not None and self._work.attempt_id == message.attempt_id:
            self._end(self._work, False, Cause.INTERRUPTED)
        else:
            return HpcAnswer(is_success=False, message="It does not render that.")
        return HpcAnswer(is_success=True, message="")

    def _told(self, work: Work) -> HpcTask:
        return HpcTask(
            task_id=work.start.task_id,
            attempt_id=work.start.attempt_id,
            is_running=work is self._work,
            is_waiting=work is not self._work,
            frames=work.done or None,
            frames_done=work.saved,
        )

    def _vitals(self) -> wire.Vitals:
        return wire.Vitals(load=0.5, memory_free_bytes=2**34, disk_free_bytes=2**38)

    # ----------------------------------------------------------------- rendering

    def _taken(self, message: HpcStart) -> Work:
        frames = list(FrameSet.parse(message.frames or ""))
        each_s = self._behaviour.frame_s / self.pace * self._luck.uniform(0.9, 1.1)
        fails = self._luck.random() < self._behaviour.fails
        return Work(message, frames, each_s, self._luck.randrange(len(frames)) if fails else None)

    def _begin(self, work: Work) -> None:
        now = self._world.now_s()
        if self._free_since_s is not None:
            self._tally.gaps_s.append(now - self._free_since_s)
            self._free_since_s = None
        self._tally.begun += 1
        is_warm = self._warm_for == work.start.task_id
        work.startup_s = 0.0 if is_warm else self._behaviour.startup_s
        self._work, work.began_s = work, now
        self._tell(work, NodeEvent(type=EventType.STARTED))
        if self._luck.random() < self._behaviour.lost:
            self._later(work.startup_s + self._luck.random() * work.frame_s, work, self._lose)
        self._later(self._until_next(work), work, self._go_on)

    def _later(self, delay_s: float, work: Work, event: Callable[[Work], None]) -> None:
        def happen() -> None:
            if not work.is_over:
                event(work)

        self._world.at(delay_s, self._if_up(happen))

    def _rendered_s(self, work: Work) -> float:
        return max(0.0, self._world.now_s() - work.began_s - work.startup_s)

    def _last(self, work: Work) -> int:
        return len(work.frames) if work.fails_after is None else work.fails_after

    def _until_next(self, work: Work) -> float:
        """Seconds until a frame is saved, of quick ones several; or until the end."""
        now, rendering_s = self._world.now_s(), work.began_s + work.startup_s
        frame_at = rendering_s + (work.saved + 1) * work.frame_s
        end_at = rendering_s + max(self._last(work), 1) * work.frame_s
        return max(0.0, min(max(frame_at, now + LOOK_S), end_at) - now)

    def _go_on(self, work: Work) -> None:
        # A hair more, for what floating point has lost of the last frame.
        count = math.floor(self._rendered_s(work) / work.frame_s + 1e-6)
        new = work.frames[work.saved : min(count, self._last(work))]
        self._tally.saved(work.start.task_id, new, work.frame_s)
        work.saved += len(new)
        if count >= max(self._last(work), 1):
            failed = work.fails_after is not None
            self._tally.failed += failed
            self._end(work, not failed, Cause.MACHINE if failed else None)
            return
        progress = NodeEvent(
            type=EventType.PROGRESS,
            progress=work.saved / len(work.frames),
            frames_done=work.saved,
            frames=work.done,
        )
        work.outbox.progress(progress)
        self._send(work)
        self._later(self._until_next(work), work, self._go_on)

    def _end(self, work: Work, is_success: bool, cause: Cause | None) -> None:
        work.is_over = True
        self._tally.ended += 1
        self._warm_for = work.start.task_id if self._behaviour.is_warm and is_success else None
        self._work, self._free_since_s = None, self._world.now_s()
        following, self._ahead = self._ahead, None
        if following is not None:
            self._begin(following)
        event = NodeEvent(
            type=EventType.ENDED,
            is_success=is_success,
            exit_code=0 if is_success else 1,
            cause=cause,
            message=None if is_success else "It was to fail.",
            frames=work.done or None,
            frames_done=work.saved,
            startup_seconds=work.startup_s,
            render_seconds=work.saved * work.frame_s,
            memory_bytes=2**30,
            warm=self._warm_for is not None,
        )
        self._tell(work, event)

    def _lose(self, work: Work) -> None:
        """The power is gone; when it is back, nothing is known of what was."""
        self._tally.lost += 1
        self.is_up = False
        self._boot += 1
        self._work = self._ahead = self._warm_for = self._free_since_s = None
        self._world.at(AWAY_S, self._come_back)

    def _come_back(self) -> None:
        self.is_up = True
        self._world.hello(self)

    # ----------------------------------------------------------------- reporting

    def _tell(self, work: Work, event: NodeEvent) -> None:
        work.outbox.add(event, self._world.now_s())
        self._send(work)

    def _send(self, work: Work) -> None:
        """Send what is due, or look again when something will be."""
        due_s = work.outbox.due_at(work.sent_s)
        if work.is_sending or due_s is None:
            return
        wait_s = due_s - self._world.now_s()
        if wait_s <= 0:
            work.sequence += 1
            work.sent_s, work.is_sending = self._world.now_s(), True
            self._tally.reports += 1
            events = work.outbox.take()
            self._deliver(work, wire.NodeReport(work.sequence, events, self._vitals()))
        elif due_s < work.send_at:
            work.send_at = due_s
            self._world.at(wait_s, self._if_up(lambda: self._look_again(work)))

    def _look_again(self, work: Work) -> None:
        work.send_at = math.inf
        self._send(work)

    def _deliver(self, work: Work, report: wire.NodeReport) -> None:
        boot = self._boot

        def answered(answer: wire.ReportAnswer | None) -> None:
            if boot != self._boot:
                return
            if answer is None:
                self._world.at(RETRY_S, self._if_up(lambda: self._deliver(work, report)))
                return
            work.is_sending = False
            self._heard(work, answer)
            self._send(work)

        self._world.report(self, work.start, report, answered)

    def _if_up(self, event: Callable[[], None]) -> Callable[[], None]:
        """The event, unless the machine is lost before."""
        boot = self._boot

        def happen() -> None:
            if boot == self._boot:
                event()

        return happen

    def _heard(self, work: Work, answer: wire.ReportAnswer) -> None:
        if answer.every_seconds is not None:
            work.outbox.every_s = answer.every_seconds
        if not answer.accepted and not work.is_over:
            self._end(work, False, Cause.INTERRUPTED)
        for following in filter(None, (answer.next, answer.then)):
            if following.after is None:
                following = msgspec.structs.replace(following, after=work.attempt_id)
            if not self.start(following).is_success:
                self._give_back(following)

    def _give_back(self, start: HpcStart) -> None:
        """Another start was faster than the answer that this one came with."""
        self._tally.given_back += 1
        event = NodeEvent(type=EventType.ENDED, is_success=False, cause=Cause.INTERRUPTED)
        self._tell(Work(start, (), 1.0, is_over=True), event)
