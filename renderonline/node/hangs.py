"""When a running attempt must be ended by the node: it hangs, or it eats the machine's memory. Pure.

`breach` decides on what was seen; looking, and ending the process tree, is the watch's work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from renderonline.engines.base import Verdict
from renderonline.node.record import Sight
from renderonline.wire import Cause, Limits, Reason

MIB, GIB = 2**20, 2**30

FLOOR_SHARE = 0.02
FLOOR_LEAST_BYTES, FLOOR_MOST_BYTES = 200 * MIB, GIB
"""Available memory below which the system may soon kill a process of its own choice: 2 % of the
machine, but neither less than a Blender takes in a second nor more than any system needs."""


MOST_SHARE = 0.9
"""Of the machine's memory: a render that holds more soon lives in the swap, and all else with it."""

SOONEST_S = 0.05
"""Shortest pause between two looks at a render that grows fast."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The machine's memory, as psutil.virtual_memory tells it."""

    total_bytes: int
    available_bytes: int
    largest_other_bytes: int = 0  # the largest process outside the attempt's tree
    allowed_bytes: int | None = None  # of a render, by the node's settings

    @property
    def floor_bytes(self) -> float:
        """What must be available."""
        return min(max(self.total_bytes * FLOOR_SHARE, FLOOR_LEAST_BYTES), FLOOR_MOST_BYTES)

    @property
    def is_short(self) -> bool:
        """Whether somebody must give memory back."""
        return self.available_bytes < self.floor_bytes

    def is_filled_by(self, used_bytes: int) -> bool:
        """Whether a render that holds so much has taken nearly all there is."""
        most = self.total_bytes * MOST_SHARE
        # Both: processes that share memory may hold less together than it seems.
        return used_bytes > most and self.available_bytes < self.total_bytes - most


def breach(limits: Limits, sight: Sight, memory: Memory, now: float) -> Verdict | None:
    """The verdict on an attempt that must be ended at `now` (of Clock.monotonic); None: let it be."""
    return next(_memory_breaches(limits, sight, memory), None) or next(
        _hangs(limits, sight, now), None
    )


def pause_s(grown_bytes: int, over_s: float, memory: Memory, longest_s: float) -> float:
    """Until the next look at a render that grew so much in the last `over_s` seconds: less than
    `longest_s` where the machine's memory would be short by then, so that none is missed."""
    if grown_bytes <= 0 or over_s <= 0:
        return longest_s
    left_s = (memory.available_bytes - memory.floor_bytes) * over_s / grown_bytes
    return min(longest_s, max(SOONEST_S, left_s / 2))


def _hangs(limits: Limits, sight: Sight, now: float) -> Iterator[Verdict]:
    def over(
        limit_s: float | None, since: float | None, what: str, advice: str
    ) -> Iterator[Verdict]:
        if limit_s is None or since is None or now - since <= limit_s:
            return
        sentence = f"The render {what} for {now - since:.0f} s, where {limit_s:g} s are allowed"
        yield Verdict(False, Cause.TIMEOUT, f"{sentence}; it was ended. {advice}")

    is_starting = sight.sign_at is None
    yield from over(limits.silence_seconds, sight.line_at, "printed nothing", "It probably hung.")
    if is_starting:
        yield from over(
            limits.start_seconds,
            sight.began_at,
            "showed no sign of having begun",
            "If the scene takes that long to load, raise the limit StartSeconds.",
        )
    if not is_starting or limits.start_seconds is None:
        yield from over(
            limits.progress_seconds,
            max(filter(None, (sight.began_at, sight.sign_at, sight.gain_at))),
            "made no progress",
            "It probably hung.",
        )
    if sight.tells_frames:
        yield from over(
            limits.frame_seconds,
            sight.sign_at if sight.frame_at is None else sight.frame_at,
            "finished no frame",
            "If single frames take that long, raise the limit FrameSeconds.",
        )


def _memory_breaches(limits: Limits, sight: Sight, memory: Memory) -> Iterator[Verdict]:
    used_bytes = sight.memory_bytes
    if used_bytes is None:
        return
    if limits.memory_bytes is not None and used_bytes > limits.memory_bytes:
        yield _out_of_memory(
            f"The render used {_size(used_bytes)} of memory, where {_size(limits.memory_bytes)} "
            "are allowed; it was ended. Raise the limit, or make the scene smaller."
        )
    allowed_bytes = memory.allowed_bytes
    if allowed_bytes is not None and used_bytes > allowed_bytes:
        yield _out_of_memory(
            f"The render used {_size(used_bytes)} of memory, where this machine allows "
            f"{_size(allowed_bytes)} (RenderMemoryBytes); it was ended. Render it on a machine with more."
        )
    if allowed_bytes is None and memory.is_filled_by(used_bytes):
        yield _out_of_memory(
            f"The render used {_size(used_bytes)} of the machine's {_size(memory.total_bytes)} of "
            f"memory, and {_size(memory.available_bytes)} were left; it was ended before the machine "
            "came to a standstill. Render it on a machine with more."
        )
    if memory.is_short and used_bytes > memory.largest_other_bytes:
        yield _out_of_memory(
            f"The machine ran out of memory: {_size(memory.available_bytes)} of "
            f"{_size(memory.total_bytes)} were left, and the render, which used "
            f"{_size(used_bytes)}, was ended. Render it on a machine with more."
        )


def _out_of_memory(message: str) -> Verdict:
    return Verdict(False, Cause.MACHINE, message, Reason.OUT_OF_MEMORY)


def _size(size_bytes: int) -> str:
    if size_bytes >= GIB:
        return f"{size_bytes / GIB:.1f} GiB"
    return f"{size_bytes / MIB:.0f} MiB"
