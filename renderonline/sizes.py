"""Sizes of files as people read them. Pure."""

from __future__ import annotations

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def text(size_bytes: int) -> str:
    """1.5 GiB"""
    size, unit = float(size_bytes), 0
    while abs(size) >= 1023.95 and unit < len(_UNITS) - 1:  # what would be written as 1024.0
        size, unit = size / 1024, unit + 1
    return f"{size_bytes} bytes" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
