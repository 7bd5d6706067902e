"""What a .blend file names on a disk: each place in it that has a path, and what the path means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Shape(Enum):
    """What a path stands for."""

    FILE = "one file"
    LIBRARY = "another .blend, of which something is linked"
    PACKED = "a .blend of which data is packed into this one: its folder is what `//` means to them"
    SEQUENCE = "numbered files, of which it names one"
    TILES = "UDIM tiles: numbered files, with a mark where the number stands"
    FOLDER = "a folder, and all that lies in it"
    CACHE = "a simulation's files beside the .blend, which no field names: its path is a beginning"


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the path is written: bytes of the unpacked file.

    A field has a fixed size and ends with a NUL. A text that is a block of its own may grow: then
    `block_length` is where the block's header has its length, and in how many bytes; `lengths_at`
    is where else the text's own length is written, in four.
    """

    start: int
    size: int
    block_length: tuple[int, int] | None = None
    lengths_at: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """One path, as it is written: `//` at its beginning is the folder of the .blend."""

    shape: Shape
    path: str
    user: str  # who uses it, for people: 'image "wood"'
    slot: Slot | None = None  # None: it cannot be changed, since it is not written anywhere
    name_slot: Slot | None = None  # a strip has the folder in `slot` and the name here
    tiles: tuple[int, ...] = ()  # of TILES: those that are used
    is_required: bool = True  # False: that it is not there is no fault
    library: str = ""  # the path of a PACKED one: then its folder is what `//` means
