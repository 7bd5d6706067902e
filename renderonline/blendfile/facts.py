"""What a .blend file says about itself, read without Blender: who wrote it, and its scenes.

Source of the formats' numbers: Blender's DNA_scene_types.h.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from renderonline.blendfile.blocks import (
    ERRORS,
    Block,
    Dna,
    Fields,
    Layout,
    Stream,
    blocks_of,
    layout_of,
)

_MOVIES = {
    15: "AVIRAW",
    16: "AVIJPEG",
    **dict.fromkeys((24, 31, 32, 33, 36), "FFMPEG"),  # and its H264, XVID, THEORA, AV1
}
"""`ImageFormatData.imtype` of movies, with what Blender's `-F` calls them."""

FORMATS = dict(
    (
        *((0, "TARGA"), (1, "IRIS"), (4, "JPEG"), (14, "TARGA_RAW"), (15, "AVI_RAW")),
        *((16, "AVI_JPEG"), (17, "PNG"), (20, "BMP"), (21, "HDR"), (22, "TIFF"), (23, "OPEN_EXR")),
        *((24, "FFMPEG"), (26, "CINEON"), (27, "DPX"), (28, "OPEN_EXR_MULTILAYER")),
        *((30, "JPEG2000"), (35, "WEBP")),
    )
)
"""The same of what today's Blender has, as its Python calls them."""

_WANTED = (b"SC\0\0", b"GLOB", b"DNA1")


@dataclass(frozen=True, slots=True)
class SceneFacts:
    """One scene. What a file does not tell is None."""

    name: str
    movie: str | None  # the format as `-F` takes it, where that is a movie's
    file_format: str | None = None  # as Blender's Python has it: "PNG"
    frame_start: int | None = None
    frame_end: int | None = None
    frame_step: int | None = None
    width_px: int | None = None  # at 100 percent
    height_px: int | None = None
    percentage: int | None = None
    engine: str | None = None  # "CYCLES", "BLENDER_EEVEE_NEXT", "BLENDER_WORKBENCH"
    has_camera: bool | None = None  # None also where markers may bring one
    fps: float | None = None
    is_other_size: bool = False  # cropped to a border, or for two eyes: no frame has that size

    @property
    def is_movie(self) -> bool:
        """Whether it makes one file of all its frames."""
        return self.movie is not None

    @property
    def frame_size_px(self) -> tuple[int, int] | None:
        """What every frame has, if that can be told."""
        return None if self.is_other_size else self.size_px

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height of what is rendered."""
        if self.width_px is None or self.height_px is None or self.percentage is None:
            return None
        return self.width_px * self.percentage // 100, self.height_px * self.percentage // 100


@dataclass(frozen=True, slots=True)
class BlendFacts:
    """A file. `active`: the scene that is rendered unless another one is asked for."""

    scenes: tuple[SceneFacts, ...] = ()
    active: str | None = None
    version: tuple[int, int] | None = None  # of the Blender that saved it: (4, 5)

    def scene(self, name: str | None = None) -> SceneFacts | None:
        """The scene of this name, or the active one; None if there is no such scene."""
        wanted = self.active if name is None else name
        return next((scene for scene in self.scenes if scene.name == wanted), None)


UNKNOWN = BlendFacts()


def read(file: Path) -> BlendFacts:
    """What can be told of the file; UNKNOWN if it cannot be read or is no .blend file.

    Takes milliseconds, of a huge file seconds. Any thread.
    """
    try:
        with file.open("rb") as raw:
            return read_from(raw, file.stat().st_size)
    except ERRORS:
        return UNKNOWN


def read_from(raw: IO[bytes], size_bytes: int) -> BlendFacts:
    """The same of an open file that can be sought in."""
    try:
        return _facts(Stream(raw, size_bytes))
    except ERRORS:
        return UNKNOWN


def is_blend(head: bytes) -> bool:
    """Whether a file that begins so may be a .blend: as it is, or packed as Blender packs them."""
    return head.startswith((b"BLENDER", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))


def wanted_blocks(stream: Stream) -> tuple[list[Block], Dna, Layout]:
    """The blocks of scenes and of the file as a whole, and what they are made of. Raises ERRORS."""
    layout = layout_of(stream)
    blocks = list(blocks_of(stream, layout, lambda code, _: code in _WANTED))
    structs = next((b.data for b in blocks if b.code == b"DNA1"), b"")
    return blocks, Dna(structs, layout.order, layout.pointer_bytes), layout


def _facts(stream: Stream) -> BlendFacts:
    blocks, dna, layout = wanted_blocks(stream)
    scenes = {b.address: _scene(Fields(b, dna, layout)) for b in blocks if b.code == b"SC\0\0"}
    current = [_current(Fields(b, dna, layout)) for b in blocks if b.code == b"GLOB"]
    active = scenes.get(current[-1]) if current else None
    return BlendFacts(tuple(scenes.values()), active.name if active else None, layout.version)


def _current(file: Fields) -> int:
    return int(file.number("FileGlobal", "*curscene", "pointer"))


def _scene(scene: Fields) -> SceneFacts:
    name = scene.text("Scene", "id.name")[2:]  # "SCScene"
    (format_number,) = scene.bytes("Scene", "r.im_format.imtype")
    whole = {
        "frame_start": scene.known("r.sfra"),
        "frame_end": scene.known("r.efra"),
        "frame_step": scene.known("r.frame_step"),
        "width_px": scene.known("r.xsch"),
        "height_px": scene.known("r.ysch"),
        "percentage": scene.known("r.size"),
    }
    return SceneFacts(
        name,
        _MOVIES.get(format_number),
        FORMATS.get(format_number),
        **whole,
        is_other_size=_is_other_size(scene),
        engine=scene.text("Scene", "r.engine") if scene.has("r.engine") else None,
        has_camera=_has_camera(scene),
        fps=_fps(scene),
    )


def _is_other_size(scene: Fields) -> bool:
    """Looked up by switching them on and off in Blender 3.4 and 4.5."""
    mode, scene_mode = scene.known("r.mode") or 0, scene.known("r.scemode") or 0
    return bool(mode & _CROPPED) or bool(scene_mode & _TWO_EYES)


_CROPPED, _TWO_EYES = 1 << 11, 1 << 21
"""Bits of RenderData's `mode` and `scemode`."""


def _has_camera(scene: Fields) -> bool | None:
    camera, markers = (scene.known(path, "pointer") for path in ("*camera", "markers.*first"))
    return True if camera else None if camera is None or markers else False


def _fps(scene: Fields) -> float | None:
    rate, base = scene.known("r.frs_sec"), scene.known("r.frs_sec_base", "float")
    return None if not rate or not base or not math.isfinite(base) else rate / base
