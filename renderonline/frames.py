"""Which frames: an immutable set of frame numbers, written "1-250x2,300,-5--1".

Owns the grammar of frame ranges, their arithmetic, and which frame a file is. A set is kept as
runs, so that a million frames cost as much as one; only where differently stepped runs interleave
are they walked frame by frame. Pure; imported by api, node and client.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

MAX_FRAMES = 10_000_000
"""Most frames one text may list, frames listed twice counted twice: bounds the work of parsing."""

MAX_TEXT = 100_000
"""Longest text that is parsed, in characters."""

MAX_FRAME = 2**31 - 1
"""Largest frame number, either sign; renderers count frames in 32 bits."""

_NUMBERS = re.compile(r"-?\d+")
_UNSIGNED = re.compile(r"(.*[^\d-])\d+", re.DOTALL)
_EXTENSION = re.compile(r"\.[A-Za-z]\w*$")  # begins with a letter: in `shot.0007` a frame follows

_ITEM = re.compile(r"(-?[0-9]{1,10})(?:-(-?[0-9]{1,10})(?:x([0-9]{1,10}))?)?")


class FrameError(ValueError):
    """A text that is no frame range. Its own text is a sentence for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class FrameSet:
    """An immutable, ordered set of frame numbers. Equal sets are equal and print the same.

    `runs` is the canonical form: ascending, their spans do not overlap. Build one with `parse`,
    `between` or `of`; the bare constructor makes the empty set.
    """

    runs: tuple[range, ...] = ()

    @classmethod
    def parse(cls, text: str) -> FrameSet:
        """Read "7", "1-250", "1-250x2" (every second), "-5--1", or several of these with commas.

        Raises FrameError with a sentence: nothing in it, not of that form, an inverted range, a
        step of 0, more than MAX_FRAMES frames or MAX_TEXT characters.
        """
        if len(text) > MAX_TEXT:
            raise FrameError(f"The frames are longer than {MAX_TEXT} characters.")
        if not text:
            raise FrameError('No frames are given; a range looks like "1-250".')
        runs = [_parse_item(item) for item in text.split(",")]
        if sum(len(run) for run in runs) > MAX_FRAMES:
            raise FrameError(f"These are more than {MAX_FRAMES} frames: {_short(text)!r}.")
        return cls(tuple(_normalise(runs)))

    @classmethod
    def between(cls, first: int, last: int, step: int = 1) -> FrameSet:
        """The frames from `first` to `last`, both included. Raises FrameError if inverted."""
        return cls(tuple(_compress([_run(first, last, step)])))

    @classmethod
    def of(cls, frames: Iterable[int]) -> FrameSet:
        """The set of these frames, in any order."""
        return cls(tuple(_compress(range(f, f + 1) for f in sorted(set(frames)))))

    @property
    def first(self) -> int:
        """The lowest frame. Raises FrameError on the empty set."""
        self._check_not_empty()
        return self.runs[0][0]

    @property
    def last(self) -> int:
        """The highest frame. Raises FrameError on the empty set."""
        self._check_not_empty()
        return self.runs[-1][-1]

    @property
    def is_contiguous(self) -> bool:
        """Whether it is one unbroken range, as `-s FIRST -e LAST` needs it. False when empty."""
        return len(self.runs) == 1 and self.runs[0].step == 1

    @property
    def step(self) -> int | None:
        """The distance between its frames, as `-j` needs it; 1 of a single frame. None where it is
        not the same everywhere, or where there are no frames."""
        if len(self.runs) == 2 and len(self) == 2:  # a pair with a gap is kept as two runs
            return self.last - self.first
        return self.runs[0].step if len(self.runs) == 1 else None

    def take_even(self, count: int) -> FrameSet:
        """Up to `count` of its lowest frames, evenly spaced: of its first run, or its first two
        frames where both stand alone."""
        are_alone = len(self.runs) > 1 and len(self.runs[0]) == len(self.runs[1]) == 1
        return FrameSet(self.runs[: 1 + are_alone]).take(count)

    def take_last(self, count: int) -> FrameSet:
        """Up to `count` of its highest frames, evenly spaced: of its last run."""
        return FrameSet(tuple(_compress(run[-count:] for run in self.runs[-1:])))

    def take(self, count: int) -> FrameSet:
        """The `count` lowest frames, or all if there are fewer."""
        taken: list[range] = []
        for run in self.runs:
            if count <= 0:
                break
            taken.append(run[:count])
            count -= len(run)
        return FrameSet(tuple(_compress(taken)))

    def __str__(self) -> str:
        return ",".join(_print_run(run) for run in self.runs)

    def __len__(self) -> int:
        return sum(len(run) for run in self.runs)

    def __iter__(self) -> Iterator[int]:
        for run in self.runs:
            yield from run

    def __contains__(self, frame: object) -> bool:
        if not isinstance(frame, int):
            return False
        index = bisect_right(self.runs, frame, key=lambda run: run[0]) - 1
        return index >= 0 and frame in self.runs[index]

    def __or__(self, other: FrameSet) -> FrameSet:
        return FrameSet(tuple(_normalise([*self.runs, *other.runs])))

    def __sub__(self, other: FrameSet) -> FrameSet:
        pieces = (piece for run in self.runs for piece in _without(run, other.runs))
        return FrameSet(tuple(_compress(pieces)))

    def __and__(self, other: FrameSet) -> FrameSet:
        return self - (self - other)

    def _check_not_empty(self) -> None:
        if not self.runs:
            raise FrameError("There are no frames in this set.")


# --------------------------------------------------------------------------- text


def _parse_item(item: str) -> range:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise FrameError(
            f'{_short(item)!r} is not a frame or a range; write "7", "1-250" or "1-250x2".'
        )
    first, last, step = match.groups()
    return _run(int(first), int(last or first), int(step or 1))


def _run(first: int, last: int, step: int) -> range:
    if first > last:
        raise FrameError(f"The range {first}-{last} is inverted; write {last}-{first}.")
    if step < 1:
        raise FrameError(f"The range {first}-{last} has a step of {step}; it takes 1 or more.")
    if max(abs(first), abs(last)) > MAX_FRAME:
        raise FrameError(f"The frames end at {MAX_FRAME}; {first}-{last} is beyond that.")
    return range(first, last + 1, step)


def _print_run(run: range) -> str:
    if len(run) == 1:
        return str(run[0])
    return f"{run[0]}-{run[-1]}" + (f"x{run.step}" if run.step != 1 else "")


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


# --------------------------------------------------------------------------- runs


def _normalise(runs: Iterable[range]) -> Iterator[range]:
    """The canonical runs of the union of any runs."""
    return _compress(piece for cluster in _clusters(runs) for piece in _flatten(cluster))


def _clusters(runs: Iterable[range]) -> Iterator[list[range]]:
    """Group runs whose spans overlap; the groups ascend and do not overlap."""
    cluster: list[range] = []
    end = 0
    for run in sorted(runs, key=lambda run: run[0]):
        if cluster and run[0] > end:
            yield cluster
            cluster = []
        end = max(end, run[-1]) if cluster else run[-1]
        cluster.append(run)
    if cluster:
        yield cluster


def _flatten(cluster: list[range]) -> Iterator[range]:
    """One cluster as ascending runs that do not overlap."""
    if len(cluster) == 1:
        yield cluster[0]
    elif all(run.step == 1 for run in cluster):
        yield range(cluster[0][0], max(run[-1] for run in cluster) + 1)
    else:
        previous = None
        for frame in heapq.merge(*cluster):
            if frame != previous:
                yield range(frame, frame + 1)
            previous = frame


def _without(run: range, others: tuple[range, ...]) -> Iterator[range]:
    """What is left of `run` without the ascending, non-overlapping `others`."""
    index = max(0, bisect_right(others, run[0], key=lambda other: other[0]) - 1)
    rest = run
    for other in others[index:]:
        if not rest or other[0] > rest[-1]:
            break
        before, between, rest = _cut(rest, other)
        if before:
            yield before
        if between.step != other.step or (between and between[0] not in other):
            yield from (range(f, f + 1) for f in between if f not in other)
    if rest:
        yield rest


def _cut(run: range, other: range) -> tuple[range, range, range]:
    """`run` in three: below the span of `other`, inside it, above it."""
    low = _count_below(run, other[0])
    high = _count_below(run, other[-1] + 1)
    return run[:low], run[low:high], run[high:]


def _count_below(run: range, frame: int) -> int:
    return min(len(run), max(0, -(-(frame - run[0]) // run.step))) if run else 0


def _compress(runs: Iterable[range]) -> Iterator[range]:
    """The canonical runs of ascending runs that do not overlap.

    The result is what a greedy reader of the frames one by one would make of them: a run goes on
    as long as the distance stays the same, and a pair is a run only if it has no gap. So it
    depends on the frames alone, not on how they came in runs.
    """
    current = range(0)
    for run in runs:
        index = 0
        while index < len(run):
            if index > 0 and len(current) > 1 and current.step == run.step:
                current = range(current[0], run[-1] + 1, current.step)
                break
            finished, current = _append(current, run[index])
            if finished:
                yield finished
            index += 1
    if len(current) == 2 and current.step != 1:
        yield from (range(frame, frame + 1) for frame in current)
    elif current:
        yield current


def _append(current: range, frame: int) -> tuple[range | None, range]:
    """One step of the greedy reader: a run that is finished by `frame`, and the open one."""
    if len(current) == 0:
        return None, range(frame, frame + 1)
    if len(current) == 1 or frame == current[-1] + current.step:
        step = current.step if len(current) > 1 else frame - current[0]
        return None, range(current[0], frame + 1, step)
    if len(current) == 2 and current.step != 1:
        return range(current[0], current[0] + 1), range(current[-1], frame + 1, frame - current[-1])
    return current, range(frame, frame + 1)


def heads_of(names: Iterable[str]) -> frozenset[str]:
    """What stands before the last number of those names in which no hyphen parts the two."""
    stems = (_EXTENSION.sub("", name) for name in names)
    return frozenset(match[1] for match in map(_UNSIGNED.fullmatch, stems) if match)


def frame_of(
    name: str, owed: FrameSet, current: int | None, heads: Set[str] = frozenset()
) -> int | None:
    """The frame a file belongs to: by its name if that holds an owed number, else the current one.

    The last number before the extension (`.jp2` is no frame 2) counts, with and without a hyphen
    before it. Where both are owed, it is the current one; else a hyphen behind a letter or a digit
    parts (`shot-0005.png` is frame 5) unless what stands before it is one of `heads` (`shot`, since
    there is `shot0005.png`, too); any other is a sign (`shot_-0005.png` is frame -5). None where
    nothing tells.
    """
    stem = _EXTENSION.sub("", name)
    found = [_readings(match, heads) for match in reversed(list(_NUMBERS.finditer(stem)))]
    candidates = [number for ways in found for number in sorted(ways, key=lambda n: n != current)]
    named = next((number for number in candidates if number in owed), None)
    if named is not None:
        return named
    return current if current is not None else next(iter(candidates), None)


def _readings(number: re.Match[str], heads: Set[str]) -> tuple[int, ...]:
    """What a number in a name may mean, the likelier first."""
    value, before = int(number[0]), number.string[: number.start()]
    if value >= 0:
        return (value,)
    is_parted = before[-1:].isalnum() and before not in heads
    return (-value, value) if is_parted else (value, -value)
