"""The names in a .blend file that a submission may choose among: scenes, cameras, view layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

from renderonline.blendfile.blocks import (
    ERRORS,
    MAX_BLOCKS,
    Dna,
    Fields,
    Stream,
    blocks_of,
    layout_of,
)
from renderonline.blendfile.facts import BlendFacts, wanted_blocks

_CAMERA = 11
"""`Object.type` of cameras. Source: OB_CAMERA of Blender's DNA_object_types.h."""

_SHOWN = 12
"""So many names are offered when one is wrong."""


@dataclass(frozen=True, slots=True)
class View:
    """Which part of the file is rendered. What is None is the file's to say."""

    scene: str | None = None
    camera: str | None = None  # the object's name
    view_layer: str | None = None

    def __bool__(self) -> bool:
        return any((self.scene, self.camera, self.view_layer))

    def over(self, whole: View) -> View:
        """This, where it says something, and else what `whole` says."""
        return View(
            self.scene or whole.scene,
            self.camera or whole.camera,
            self.view_layer or whole.view_layer,
        )


WHOLE = View()
"""What the file says by itself."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is to choose from, by name."""

    cameras: tuple[str, ...] = ()
    linked: frozenset[str] = frozenset()  # objects of libraries, which may be cameras
    view_layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by scene


def choices_in(raw: IO[bytes], size_bytes: int) -> Choices | None:
    """What an open .blend file (that can be sought in) has; None if it cannot be read.

    Reads the file twice: the structs of its blocks are described at its end. Any thread.
    """
    try:
        _, dna, _ = wanted_blocks(Stream(raw, size_bytes))
        raw.seek(0)
        return _choices(Stream(raw, size_bytes), dna)
    except ERRORS:
        return None


def complaint(view: View, facts: BlendFacts, choices: Choices | None) -> str | None:
    """What a file lacks that is asked of it, as a sentence; None where nothing is known to be missing."""
    if not facts.scenes:
        return None
    if view.scene is not None and facts.scene(view.scene) is None:
        return _lacks("scene", view.scene, [scene.name for scene in facts.scenes])
    if choices is None:
        return None
    if view.camera is not None and view.camera not in {*choices.cameras, *choices.linked}:
        return _lacks("camera", view.camera, choices.cameras)
    layers = choices.view_layers.get(view.scene or facts.active or "")
    if view.view_layer is not None and layers is not None and view.view_layer not in layers:
        return _lacks("view layer", view.view_layer, layers)
    return None


def _lacks(what: str, wanted: str, there: list[str] | tuple[str, ...]) -> str:
    names = ", ".join(there[:_SHOWN]) + (", …" if len(there) > _SHOWN else "")
    return f"The file has no {what} {wanted!r}; it has {names or 'none'}."


# --------------------------------------------------------------------------- reading


def _choices(stream: Stream, dna: Dna) -> Choices:
    layout = layout_of(stream)

    def is_wanted(code: bytes, number: int) -> bool:
        if code == b"DATA":
            return dna.type_of(number) == "ViewLayer"
        return code in (b"OB\0\0", b"ID\0\0", b"SC\0\0")

    cameras: list[str] = []
    linked: set[str] = set()
    first_layers: dict[str, int] = {}  # by scene, where its first one was in memory
    layers: dict[int, tuple[str, int]] = {}  # name and the next one, by where it was
    for block in blocks_of(stream, layout, is_wanted, most=MAX_BLOCKS):
        fields = Fields(block, dna, layout)
        if block.code == b"OB\0\0":
            if fields.number("Object", "type") == _CAMERA:
                cameras.append(fields.text("Object", "id.name")[2:])
        elif block.code == b"ID\0\0":
            name = fields.text(dna.type_of(block.struct), "name")
            if name.startswith("OB"):
                linked.add(name[2:])
        elif block.code == b"SC\0\0":
            if fields.has("view_layers.*first"):
                first = fields.number("Scene", "view_layers.*first", "pointer")
                first_layers[fields.text("Scene", "id.name")[2:]] = first
        else:
            next_one = fields.number("ViewLayer", "*next", "pointer")
            layers[block.address] = fields.text("ViewLayer", "name"), next_one
    by_scene = {scene: tuple(_chain(first, layers)) for scene, first in first_layers.items()}
    return Choices(tuple(sorted(cameras, key=str.casefold)), frozenset(linked), by_scene)


def _chain(address: int, layers: Mapping[int, tuple[str, int]]) -> Iterator[str]:
    """The names of a linked list, each once."""
    seen: set[int] = set()
    while address in layers and address not in seen:
        seen.add(address)
        name, address = layers[address]
        yield name
