"""Whether a rendered file is a whole image. The one place that opens what a renderer wrote."""

from __future__ import annotations

import struct
import warnings
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


def fault(path: Path) -> str | None:
    """What is wrong with the file ("is empty"), to follow its name in a sentence; None if nothing.

    Images are decoded whole where Pillow can; of OpenEXR, DPX and Cineon the length is checked, of
    HDR the first bytes, and of a file that is no image only that it has a size. Takes as long as
    reading the image.
    """
    try:
        if path.stat().st_size == 0:
            return "is empty"
        extension = path.suffix.lower()
        if extension in _DECODED:
            return _decoding_fault(path)
        if extension == ".exr":
            return _exr_fault(path)
        return _magic_fault(path, _MAGIC.get(extension, ()))
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def size_px(path: Path) -> tuple[int, int] | None:
    """Width and height of an image that Pillow reads; None of anything else."""
    if path.suffix.lower() not in _DECODED:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.size
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        return None


def _decoding_fault(path: Path) -> str | None:
    # A picture that Pillow suspects to be a decompression bomb is merely a large render here; it
    # is not worth the memory to decode it again.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
    except Image.DecompressionBombError:
        return None
    except UnidentifiedImageError:
        return "is not an image"
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's word, not Pillow's
        return "is cut off or damaged"
    except (SyntaxError, ValueError, struct.error):
        return "is cut off or damaged"
    return None


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
