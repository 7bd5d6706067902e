"""Times and sizes as people write them on a command line: `90`, `15m`, `8G`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

TIMES = "seconds, as 90, 15m or 2h"
SIZES = "bytes, as 800M or 8G"

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_MOST = 2**50


def seconds(text: str) -> int:
    """The seconds that a time means, at least 1. Raises ValueError for what is none."""
    return _scaled(text, _SECONDS)


def size_bytes(text: str) -> int:
    """The bytes that a size means, at least 1. Raises ValueError for what is none."""
    return _scaled(text, _BYTES)


def _scaled(text: str, units: Mapping[str, int]) -> int:
    # ".0" is what a limit that was stored as a fraction looks like.
    found = re.fullmatch(r"([0-9]{1,15})(?:\.0)?([a-z]?)", text.strip().lower(), re.ASCII)
    if found is None or found[2] not in units:
        raise ValueError(text)
    amount = int(found[1]) * units[found[2]]
    if not 1 <= amount < _MOST:
        raise ValueError(text)
    return amount
