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


@dataclass(frozen=True, slots=True)
class Memory:
    """The machine's memory, as psutil.virtual_memory tells it."""

    total_bytes: int
    available_bytes: int
    largest_other_bytes: int = 0  # resident, the largest process outside the attempt's tree

    @property
    def is_short(self) -> bool:
        """Whether somebody must give memory back."""
        floor = min(max(self.total_bytes * FLOOR_SHARE, FLOOR_LEAST_BYTES), FLOOR_MOST_BYTES)
        return self.available_bytes < floor


def breach(limits: Limits, sight: Sight, memory: Memory, now: float) -> Verdict | None:
    """The verdict on an attempt that must be ended at `now` (of Clock.monotonic); None: let it be."""
    return next(_memory_breaches(limits, sight, memory), None) or next(
        _hangs(limits, sight, now), None
    )


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
