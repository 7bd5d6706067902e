"""Paths as another machine knows them: what stands before them there, and which way its slashes lean. Pure.

A mapping is written FROM=TO, the api's path and the machine's: `/mnt/farm=Z:\\farm`. Whether a path
is Windows' or not is told from its own beginning, so that an api on any platform can have nodes on
any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

MAX_MAPPINGS = 50

_DRIVE = re.compile(r"[A-Za-z]:(?=[\\/]|$)")
_UNC = re.compile(r"[\\/]{2}[^\\/]+[\\/]+[^\\/]")
_OPTION = re.compile(r"[-+]{1,2}[A-Za-z]*")
"""What a path may stand right behind at the beginning of a word: `-o/a`, `+O/a`."""

_BEFORE = frozenset("=,;")
"""What a path may stand behind inside a word: `--out=/a`, `/a,/b`."""


class BadMapping(ValueError):
    """A mapping that cannot be used. Its text is a sentence."""


@dataclass(frozen=True)
class Mapping:
    """One folder, under its name here and its name there; without separators at their ends."""

    here: str
    there: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path here, whole parts of it; Windows minds neither case nor which slash it is."""
        is_windows = _is_windows(self.here)
        parts = re.split(r"[\\/]" if is_windows else "/", self.here)
        between, flags = (r"[\\/]", re.IGNORECASE) if is_windows else ("/", 0)
        body = between.join(map(re.escape, parts))
        return re.compile(rf"{body}(?=[\\/,;]|$)" if is_windows else rf"{body}(?=[/,;]|$)", flags)

    def turned(self, rest: str) -> str:
        """What follows the folder, with the separators that it has there."""
        from_windows, to_windows = _is_windows(self.here), _is_windows(self.there)
        if from_windows == to_windows:
            return rest
        return rest.replace("/", "\\") if to_windows else rest.replace("\\", "/")

    def renamed(self, rest: str) -> str:
        """The path there. A drive alone would mean the folder that is current on it."""
        tail = self.turned(rest)
        is_root = self.there == "" or _DRIVE.fullmatch(self.there) is not None
        if is_root and tail[:1] not in ("/", "\\"):
            return self.there + ("\\" if self.there else "/") + tail
        return self.there + tail


class PathMap:
    """All mappings of one machine. The longest that fits counts."""

    def __init__(self, mappings: Sequence[Mapping]) -> None:
        self._mappings = sorted(mappings, key=lambda mapping: -len(mapping.here))

    def word(self, word: str) -> str:
        """A word of a command line, or a path, as the machine has to be given it."""
        found = list(self._places(word)) if self._mappings else []
        if not found:
            return word
        pieces = [word[: found[0][0]]]
        ends = [start for start, _, _ in found[1:]] + [len(word)]
        for (_, behind, mapping), end in zip(found, ends, strict=True):
            pieces.append(mapping.renamed(word[behind:end]))
        return "".join(pieces)

    def _places(self, word: str) -> list[tuple[int, int, Mapping]]:
        """Where paths that are mapped begin and where their own folder ends."""
        found: list[tuple[int, int, Mapping]] = []
        option = _OPTION.match(word)
        letters = option.end() if option else 0
        for start in range(len(word)):
            may_begin = start <= letters or word[start - 1] in _BEFORE
            if not may_begin or (found and start < found[-1][1]):
                continue
            for mapping in self._mappings:
                match = mapping.pattern.match(word, start)
                if match is not None:
                    found.append((start, match.end(), mapping))
                    break
        return found


def parse(text: str) -> Mapping:
    """Read FROM=TO. Raises BadMapping."""
    for index, letter in enumerate(text):
        here, there = text[:index].strip(), text[index + 1 :].strip()
        if letter == "=" and _is_absolute(here) and _is_absolute(there):
            return _checked(text, _trimmed(here), _trimmed(there))
    raise BadMapping(
        f"{text[:120]!r} is not of the form FROM=TO, with two absolute paths: /mnt/farm=Z:\\farm."
    )


def of(texts: Sequence[str]) -> PathMap:
    """The mappings of a machine. Raises BadMapping."""
    if len(texts) > MAX_MAPPINGS:
        raise BadMapping(f"These are more than {MAX_MAPPINGS} mappings.")
    mappings = [parse(text) for text in texts]
    for mapping in mappings:
        if sum(mapping.pattern.fullmatch(other.here) is not None for other in mappings) > 1:
            raise BadMapping(f"{mapping.here} is mapped twice.")
    return PathMap(mappings)


def _checked(text: str, here: str, there: str) -> Mapping:
    if not here:
        raise BadMapping(f"{text[:120]!r} maps everything. Name a folder.")
    if any(ord(c) < 32 for c in text):
        raise BadMapping("A mapping has a control character in it.")
    return Mapping(here, there)


def _trimmed(path: str) -> str:
    """Without separators at its end, and those of Windows in its own way."""
    if _is_windows(path):
        return path.replace("/", "\\").rstrip("\\")
    return path.rstrip("/")


def _is_absolute(path: str) -> bool:
    return _is_windows(path) or path.startswith("/")


def _is_windows(path: str) -> bool:
    """Whether a path begins with a drive, or names a share (also as //server/share)."""
    return _DRIVE.match(path) is not None or _UNC.match(path) is not None
