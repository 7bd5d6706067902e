"""Whether a rendered file is a whole image. The one place that opens what a renderer wrote."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from renderonline.engines import exr

_DECODED = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".tga", ".rgb", ".webp", ".jp2"}
"""Extensions that Pillow decodes to the last pixel."""

_MAGIC = {
    ".hdr": (b"#?RADIANCE", b"#?RGBE"),
    ".dpx": (b"SDPX", b"XPDS"),
    ".cin": (b"\x80\x2a\x5f\xd7", b"\xd7\x5f\x2a\x80"),
}
"""The first bytes of formats that Pillow does not read, by extension."""

_SIZE_AT = {
    b"SDPX": (16, ">I"),
    b"XPDS": (16, "<I"),
    b"\x80\x2a\x5f\xd7": (20, ">I"),
    b"\xd7\x5f\x2a\x80": (20, "<I"),
}
"""Where DPX and Cineon (SMPTE 268M, 1993 Kodak) say how long the file is, by the first bytes."""

_NO_SIZE = 0xFFFFFFFF  # what stands there where the writer did not know


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a file."""

    fault: str | None  # what is wrong with it ("is empty"), to follow its name in a sentence
    size_px: tuple[int, int] | None = None  # width and height, of an image that Pillow reads


def look(path: Path) -> Look:
    """Open a file, once. Takes as long as reading the image.

    Images are decoded whole where Pillow can; of OpenEXR, DPX and Cineon the length is checked, of
    HDR the first bytes, and of a file that is no image only that it has a size.
    """
    try:
        if path.stat().st_size == 0:
            return Look("is empty")
        extension = path.suffix.lower()
        if extension in _DECODED:
            return _decoded(path)
        if extension == ".exr":
            return Look(_exr_fault(path))
        return Look(_magic_fault(path, _MAGIC.get(extension, ())))
    except FileNotFoundError:
        return Look("is not there")
    except OSError as error:
        return Look(f"cannot be read ({error.strerror or error})")


def fault(path: Path) -> str | None:
    """What is wrong with the file, as `look` tells it; None if nothing."""
    return look(path).fault


def _decoded(path: Path) -> Look:
    # A picture that Pillow suspects to be a decompression bomb is merely a large render here; it
    # is not worth the memory to decode it again.
    size_px = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                size_px = image.size
                image.load()
    except Image.DecompressionBombError:
        return Look(None)
    except UnidentifiedImageError:
        return Look("is not an image")
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's word, not Pillow's
        return Look("is cut off or damaged", size_px)
    except (SyntaxError, ValueError, struct.error):
        return Look("is cut off or damaged", size_px)
    return Look(None, size_px)


def _exr_fault(path: Path) -> str | None:
    try:
        exr.check(path)
    except exr.NotOpenExr:
        return "is not an image"
    except exr.Damaged:
        return "is cut off or damaged"
    return None


def _magic_fault(path: Path, beginnings: tuple[bytes, ...]) -> str | None:
    if not beginnings:
        return None
    with path.open("rb") as file:
        start = file.read(24)
    if not start.startswith(beginnings):
        return "is not an image"
    if start[:4] not in _SIZE_AT:
        return None
    offset, form = _SIZE_AT[start[:4]]
    if len(start) < offset + 4:
        return "is cut off or damaged"
    (size,) = struct.unpack_from(form, start, offset)
    return "is cut off or damaged" if path.stat().st_size < size != _NO_SIZE else None
