"""What is known of one attempt, from its acceptance to its outcome: the one place, behind one lock."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from renderonline.engines.base import EngineEvent, FrameSaved, Progress, Reading, Verdict
from renderonline.frames import FrameSet
from renderonline.lifecycle import Clock
from renderonline.wire import HpcTask


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `exit_code` None: the node could not follow it to its end."""

    verdict: Verdict
    exit_code: int | None = None
    is_warm: bool = False  # the renderer stays open for the task's next chunk
    has_results: bool = True  # False: what was saved may not be taken for a result


@dataclass(slots=True)
class Sight:
    """What can be seen of a running attempt from outside. Moments are of Clock.monotonic."""

    began_at: float
    line_at: float  # of the last line of output, or of the beginning
    sign_at: float | None = None  # of the first sign of rendering
    gain_at: float | None = None  # of the last progress
    frame_at: float | None = None  # of the last frame that was done
    tells_frames: bool = False  # the engine says which frame it is at
    memory_bytes: int | None = None  # now, the whole tree


class Record:
    """The state of one attempt. All of it may be called on any thread."""

    def __init__(
        self,
        clock: Clock,
        task: HpcTask,
        owed: FrameSet | None = None,
        sends_back: bool = False,
    ) -> None:
        """`task`: as it was accepted. `owed`: frames beyond these are not told; None: any.

        `sends_back`: results travel to the api, and a frame counts when it is there.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._task = task
        self._owed = owed
        self._sends_back = sends_back
        # Over, but for results that are on their way; so may be what an earlier node has left.
        self._is_returning = sends_back and not (task.is_waiting or task.is_running)
        self._frames = FrameSet.parse(task.frames) if task.frames else FrameSet()
        self._sight: Sight | None = None  # None before the process has been started
        self._exited_at: float | None = None

    def begin(self) -> None:
        """Its process has been started."""
        with self._lock:
            now = self._clock.monotonic()
            self._task.is_waiting, self._task.is_running = False, True
            self._sight = Sight(began_at=now, line_at=now)

    def line(self) -> None:
        """It printed something."""
        with self._lock:
            if self._sight is not None:
                self._sight.line_at = self._clock.monotonic()

    def read(self, events: Sequence[EngineEvent], reading: Reading) -> bool:
        """One line told `events` and led to `reading`. True if it completed a frame."""
        with self._lock:
            if self._sight is None:
                return False
            is_frame_done = len(reading.frames_done) > self._task.frames_done
            is_gain = is_frame_done or reading.fraction > self._task.progress
            self._task.progress = reading.fraction
            self._task.frames_done = len(reading.frames_done)
            self._note_frames(events)
            self._note_moments(self._sight, events, is_gain, is_frame_done)
            return is_frame_done

    def look(self, memory_bytes: int | None = None) -> Sight | None:
        """What can be seen of it now; None while it is not running.

        `memory_bytes` is noted: the memory of its process tree, for whoever measured it.
        """
        with self._lock:
            if self._sight is None or self._exited_at is not None:
                return None
            if memory_bytes is not None:
                self._task.memory_bytes = max(self._task.memory_bytes or 0, memory_bytes)
                self._sight.memory_bytes = memory_bytes
            return dataclasses.replace(self._sight)

    def exited(self) -> None:
        """The process has ended: from now on the time stands still, while it is judged."""
        with self._lock:
            self._exited_at = self._clock.monotonic()

    def finish(self, outcome: Outcome) -> None:
        """The attempt is over, or will never begin."""
        with self._lock:
            if self._exited_at is None:
                self._exited_at = self._clock.monotonic()
            self._task.is_waiting = self._task.is_running = False
            self._task.is_success = outcome.verdict.is_success
            self._task.exit_code = outcome.exit_code
            self._task.cause = outcome.verdict.cause
            self._task.message = outcome.verdict.message
            self._task.reason = outcome.verdict.reason
            self._task.warm = outcome.is_warm
            self._is_returning = self._sends_back
            if not outcome.has_results:
                self._frames = FrameSet()

    def returned(self, frame: int) -> bool:
        """All there is of a frame is at the api. False if that is no news."""
        with self._lock:
            before = self._frames
            self._note(frame)
            return self._frames != before

    def returned_all(self) -> None:
        """Nothing is on its way any more: what it has come to may be told."""
        with self._lock:
            self._is_returning = False

    def shown(self) -> HpcTask:
        """As whoever asks sees it: while results are on their way it is not over."""
        task = self.task()
        if self._is_returning:
            task.is_running, task.is_success, task.cause, task.message = True, False, None, None
        return task

    def task(self) -> HpcTask:
        """All of it, as the wire has it. A copy."""
        with self._lock:
            task = msgspec.structs.replace(
                self._task, frames=str(self._frames) or self._task.frames
            )
            if self._sight is None:
                return task
            until = self._clock.monotonic() if self._exited_at is None else self._exited_at
            task.total_seconds = int(until - self._sight.began_at)
            task.startup_seconds, task.render_seconds = self._spans(self._sight)
            return task

    @property
    def is_over(self) -> bool:
        with self._lock:
            return not (self._task.is_waiting or self._task.is_running)

    def _note_frames(self, events: Sequence[EngineEvent]) -> None:
        """A movie's frames are done, but not saved one by one: none of them is good by itself."""
        for event in events if not self._sends_back else ():
            if isinstance(event, FrameSaved) and event.frame is not None:
                self._note(event.frame)

    def _note(self, frame: int) -> None:
        if self._owed is None or frame in self._owed:
            self._frames |= FrameSet.of([frame])

    def _note_moments(
        self, sight: Sight, events: Sequence[EngineEvent], is_gain: bool, is_frame_done: bool
    ) -> None:
        now = self._clock.monotonic()
        signs = [event for event in events if isinstance(event, Progress | FrameSaved)]
        if signs and sight.sign_at is None:
            sight.sign_at = now
        if any(sign.frame is not None for sign in signs):
            sight.tells_frames = True
        if is_gain:
            sight.gain_at = now
        if is_frame_done:
            sight.frame_at = now

    def _spans(self, sight: Sight) -> tuple[float | None, float | None]:
        """Seconds of start-up and of rendering, as HpcTask has them."""
        startup_s = None if sight.sign_at is None else round(sight.sign_at - sight.began_at, 3)
        until = sight.frame_at if sight.frame_at is not None else self._exited_at
        since = sight.began_at if sight.sign_at is None else sight.sign_at
        return startup_s, None if until is None else round(until - since, 3)
