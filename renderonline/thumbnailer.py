"""The small process beside the api that makes thumbnails of what renderers wrote.

A picture from a scene is data from elsewhere, opened by decoders written in C, which may crash, hang
or fill the memory over it. So it is opened here, by a process that has nothing to lose and is ended
when it takes too long.

One request a line on stdin: {"Path", "Device", "Inode", "Width"}. The answer on stdout: a line
{"Type", "Size"} and as many bytes, or {"Error": a sentence's end}.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

MAX_PIXELS = 100_000_000
"""Of the picture that is opened: at most about 800 MB of memory, for a moment."""

MAX_FILE_BYTES = 2 << 30
MEMORY_BYTES = 4 << 30
"""The largest that the process may become, where the platform can be told so."""

JPEG_QUALITY = 85
TALLEST = 8
"""Times the width: a strip of film is no thumbnail."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "TGA", "WEBP", "SGI", "JPEG2000")
"""What Pillow may try: none that starts another program, as its PostScript does."""

_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")


class CannotBeShown(Exception):
    """Why there is no thumbnail, to follow the file's name in a sentence."""


def main() -> int:
    """Answer requests until stdin ends."""
    # Whoever stops the api, by Ctrl-C or as a service, often signals us as well.
    for name in ("SIGINT", "SIGHUP"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)
    _limit_memory()
    serve(sys.stdin.buffer, sys.stdout.buffer)
    return 0


def serve(requests: Iterable[bytes], answers: IO[bytes]) -> None:
    """Answer each line of `requests`."""
    for line in requests:
        try:
            kind, content = _answer(json.loads(line))
            head: dict[str, object] = {"Type": kind, "Size": len(content)}
        except CannotBeShown as error:
            head, content = {"Error": str(error)}, b""
        except MemoryError:
            head, content = {"Error": "is too large to be shown."}, b""
        except Exception as error:  # noqa: BLE001 - the edge: whatever a decoder makes of its data
            head, content = {"Error": f"cannot be read as a picture ({type(error).__name__})."}, b""
        answers.write(json.dumps(head).encode() + b"\n" + content)
        answers.flush()


def _answer(request: dict[str, Any]) -> tuple[str, bytes]:
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(request["Path"], flags), "rb") as file:
        status = os.fstat(file.fileno())
        # The api has found out whose file it is; it must still be that one.
        if (status.st_dev, status.st_ino) != (request["Device"], request["Inode"]):
            raise CannotBeShown("has just been replaced.")
        if status.st_size > MAX_FILE_BYTES:
            raise CannotBeShown("is too large to be shown.")
        is_exr = Path(request["Path"]).suffix.lower() == ".exr"
        make: Callable[[IO[bytes], int], Any] = _exr if is_exr else _picture
        return _encoded(make(file, request["Width"]))


def _picture(file: IO[bytes], width: int) -> Any:
    """What Pillow reads, as a small picture with 8 bits."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # we have a limit of our own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(file, formats=_FORMATS)
        except UnidentifiedImageError:
            raise CannotBeShown("is no picture that can be shown.") from None
        _check_size(*image.size)
        image.draft("RGB", (width, width))
        image.load()
    small = _shown(image)
    small.thumbnail((width, width * TALLEST))
    return small


def _shown(image: Any) -> Any:
    """The picture in a mode that a browser knows; 16 bits are cut to 8."""
    if image.mode in _DEEP:
        return image.point(lambda value: value / 256).convert("L")
    if image.mode == "F":
        return image.point(lambda value: value * 255).convert("L")
    if image.mode in ("RGB", "RGBA", "L"):
        return image
    has_alpha = "A" in image.mode or "transparency" in image.info
    return image.convert("RGBA" if has_alpha else "RGB")


def _exr(file: IO[bytes], width: int) -> Any:
    """An OpenEXR picture as a screen shows it: sRGB, exposure 0, what is brighter is white."""
    try:
        import Imath
        import numpy as np
        import OpenEXR
    except ImportError:
        raise CannotBeShown(
            "is an OpenEXR picture, and this server cannot read those: install it with the extra `exr`."
        ) from None
    from PIL import Image

    opened = OpenEXR.InputFile(file)
    header = opened.header()
    window = header["dataWindow"]
    columns, lines = window.max.x - window.min.x + 1, window.max.y - window.min.y + 1
    _check_size(columns, lines)
    names = _channels(list(header["channels"]))
    step = max(1, columns // (2 * width))
    pixel = Imath.PixelType(Imath.PixelType.FLOAT)
    found = np.zeros((len(range(0, lines, step)), len(range(0, columns, step)), len(names)))
    for index, y in enumerate(range(window.min.y, window.max.y + 1, step)):
        for band, name in enumerate(names):
            line = np.frombuffer(opened.channel(name, pixel, y, y), dtype=np.float32)
            found[index, :, band] = line[::step]
    light = np.clip(np.nan_to_num(found, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    image = Image.fromarray((curve * 255 + 0.5).astype(np.uint8).squeeze())
    image.thumbnail((width, width * TALLEST))
    return image


def _channels(names: list[str]) -> list[str]:
    """The picture among a file's channels: R, G and B, bare or of the first layer that has them
    (Combined before others), or else one channel in grey."""
    layers = [name.removesuffix("R") for name in names if name == "R" or name.endswith(".R")]
    whole = [layer for layer in layers if f"{layer}G" in names and f"{layer}B" in names]
    if whole:
        best = min(whole, key=lambda layer: (layer != "", "Combined" not in layer, layer))
        return [f"{best}{band}" for band in "RGB"]
    return [next((name for name in names if name.split(".")[-1] == "Y"), names[0])]


def _check_size(columns: int, lines: int) -> None:
    if not 0 < columns * lines <= MAX_PIXELS:
        raise CannotBeShown(
            f"has {columns} × {lines} pixels, more than are opened for a thumbnail."
        )


def _encoded(image: Any) -> tuple[str, bytes]:
    """As PNG where it can be seen through, else as JPEG."""
    written = io.BytesIO()
    if image.mode == "RGBA" and image.getextrema()[3][0] < 255:
        image.save(written, "PNG")
        return "image/png", written.getvalue()
    image.convert("L" if image.mode == "L" else "RGB").save(written, "JPEG", quality=JPEG_QUALITY)
    return "image/jpeg", written.getvalue()


def _limit_memory() -> None:
    """Let a picture that unfolds to more than was expected fail by itself."""
    if sys.platform == "win32":
        return
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        os.nice(5)
    except (OSError, ValueError):
        return  # not on this platform


if __name__ == "__main__":
    sys.exit(main())
