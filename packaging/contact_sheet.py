"""One picture of all frames: rows of thumbnails with their frame numbers, for a quick look."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

THUMBNAIL_WIDTH_PX = 240
MARGIN_PX = 12
CAPTION_PX = 18
BACKGROUND, INK = (24, 24, 27), (161, 161, 170)
MAX_FRAMES = 60
"""More than this many frames are thinned out evenly: a sheet is to be looked at."""


def make(frames: Sequence[Path], target: Path) -> int:
    """Write the contact sheet of `frames` to `target` (PNG); how many frames are on it.

    Files that Pillow cannot open (OpenEXR, say) are left out. With none left, nothing is written.
    """
    chosen = [frame for frame in thinned(list(frames), MAX_FRAMES) if _opens(frame)]
    if not chosen:
        return 0
    columns = column_count(len(chosen))
    rows = math.ceil(len(chosen) / columns)
    height_px = _thumbnail_height(chosen[0])
    cell = (THUMBNAIL_WIDTH_PX + MARGIN_PX, height_px + CAPTION_PX + MARGIN_PX)
    sheet = Image.new(
        "RGB", (columns * cell[0] + MARGIN_PX, rows * cell[1] + MARGIN_PX), BACKGROUND
    )
    for index, frame in enumerate(chosen):
        corner = (
            MARGIN_PX + index % columns * cell[0],
            MARGIN_PX + index // columns * cell[1],
        )
        _paste(sheet, frame, corner, height_px)
    sheet.save(target)
    return len(chosen)


def column_count(count: int) -> int:
    """Columns of a sheet that is about square, rather a little wider than with a gap at its end."""
    square = math.ceil(math.sqrt(count))
    return min(range(square, square + 3), key=lambda columns: -count % columns)


def thinned(frames: list[Path], at_most: int) -> list[Path]:
    """At most `at_most` of the frames, evenly spread, the first and the last among them."""
    if len(frames) <= at_most:
        return frames
    step = (len(frames) - 1) / (at_most - 1)
    return [frames[round(index * step)] for index in range(at_most)]


def _opens(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            image.load()
    except (OSError, UnidentifiedImageError):
        return False
    return True


def _thumbnail_height(frame: Path) -> int:
    with Image.open(frame) as image:
        return max(1, round(THUMBNAIL_WIDTH_PX * image.height / image.width))


def _paste(sheet: Image.Image, frame: Path, corner: tuple[int, int], height_px: int) -> None:
    with Image.open(frame) as image:
        picture = image.convert("RGBA").resize(
            (THUMBNAIL_WIDTH_PX, height_px), Image.Resampling.LANCZOS
        )
    sheet.paste(picture, corner, mask=picture)
    number = re.findall(r"\d+", frame.stem)
    caption = str(int(number[-1])) if number else frame.stem
    ImageDraw.Draw(sheet).text(
        (corner[0], corner[1] + height_px + 3), caption, INK, ImageFont.load_default(12)
    )
