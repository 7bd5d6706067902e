"""Which fields of which blocks of a .blend file are paths. Knows Blender's structs, by their names.

Where Blender keeps most of them is known to blender_asset_tracer; what it does not know, or takes
for something else, stands here: clips that are sequences, every image of a strip, nodes outside of
lights, layers of caches, soft bodies, text inputs of nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from blender_asset_tracer import cdefs
from blender_asset_tracer.blendfile import BlendFileBlock, iterators
from blender_asset_tracer.trace import blocks2assets, modifier_walkers
from blender_asset_tracer.trace.result import BlockUsage

from renderonline.client.blend.links import Link, Shape, Slot

Block = BlendFileBlock

NOUNS = {
    b"IM": "image",
    b"MC": "movie clip",
    b"SO": "sound",
    b"VF": "font",
    b"VO": "volume",
    b"CF": "cache file",
    b"LI": "library",
    b"ME": "mesh",
    b"OB": "object",
    b"SC": "scene",
    b"LA": "light",
    b"MA": "material",
    b"NT": "node group",
    b"WO": "world",
    b"TE": "texture",
}

# DNA_movieclip_types.h, DNA_object_force_types.h, DNA_fluid_types.h, RNA_types.h, DNA_node_types.h
_CLIP_SEQUENCE = 1
_CACHE_BAKED = 1
_FLUID_BAKED = 0b10101010
_SUBTYPE_FILE, _SUBTYPE_FOLDER = 1, 2
_MODE_EXTERNAL = 1
_NODES_WITH_FILES = (b"NodeShaderTexIES", b"NodeShaderScript")

_SIMULATIONS = (
    cdefs.eModifierType_Ocean,
    cdefs.eModifierType_ParticleSystem,
    cdefs.eModifierType_Smokesim,
    cdefs.eModifierType_Fluidsim,
    cdefs.eModifierType_Fluid,
    cdefs.eModifierType_Cloth,
    cdefs.eModifierType_DynamicPaint,
    cdefs.eModifierType_Nodes,
)
_MODIFIERS = (cdefs.eModifierType_MeshCache, *_SIMULATIONS)

ERRORS = (LookupError, ValueError, AttributeError, AssertionError, RuntimeError, TypeError, OSError)
"""What the library raises for a struct that it does not know, or a file that is broken."""


def links(block: Block) -> Iterator[Link]:
    """The paths that an ID (an image, an object …) has, with those of what belongs to it alone."""
    found: list[Link] = []
    for reader in (_READERS.get(block.code, _known), _node_tree):
        try:
            found += reader(block)
        except ERRORS:  # of this kind of data nothing more is known
            continue
    with suppress(*ERRORS):
        for packed in _packed_library(block) if found else ():
            found = [packed, *(replace(link, library=packed.path) for link in found)]
    yield from found


def user_of(block: Block) -> str:
    """Whose a path is, for people."""
    name = (block.id_name or b"")[2:].decode("utf-8", "replace")
    return f'{NOUNS.get(block.code, "data block")} "{name}"'


# --------------------------------------------------------------------------- reading fields


def _slot(block: Block, field: bytes | tuple[bytes, ...]) -> Slot:
    """A field of characters."""
    start, size = block.abs_offset(field)
    return Slot(start, size)


def _text(block: Block, slot: Slot) -> str:
    """What is written there, up to the NUL. Bytes that are no UTF-8 come back as they were."""
    block.bfile.fileobj.seek(slot.start)
    written: bytes = block.bfile.fileobj.read(slot.size)
    return written.split(b"\0")[0].decode("utf-8", "surrogateescape")


def _link(
    block: Block, field: bytes, shape: Shape, user: str, is_required: bool = True
) -> Iterator[Link]:
    """The path in a field, if there is one."""
    slot = _slot(block, field)
    if path := _text(block, slot):
        yield Link(shape, path, user, slot, is_required=is_required)


def _block_slot(block: Block, lengths_at: tuple[int, ...] = ()) -> Slot:
    """The whole of a block that is one text."""
    header_at = block.file_offset - block.bfile.block_header_struct.size
    is_long = block.bfile.header.file_format_version == 1
    length = (header_at + 16, 8) if is_long else (header_at + 4, 4)
    return Slot(block.file_offset, block.size, length, lengths_at)


# --------------------------------------------------------------------------- IDs


def _known(block: Block) -> Iterator[Link]:
    """What the library knows of it: fonts, sounds, volumes, the external data of meshes."""
    if block.code not in (b"LI", b"ME", b"SO", b"VF", b"VO"):
        return
    for usage in blocks2assets.iter_assets(block):
        shape = Shape.SEQUENCE if usage.is_sequence else Shape.FILE
        if (field := usage.path_full_field) is not None:
            yield from _link(usage.block, field.name.name_only, shape, user_of(block))


def _library(block: Block) -> Iterator[Link]:
    yield from _link(block, b"name", Shape.LIBRARY, user_of(block))


def _packed_library(block: Block) -> Iterator[Link]:
    """The library that a data block was packed with into this file (Blender 5)."""
    has_id = block.code != b"LI" and block.dna_type.has_field(b"id")
    library = block.get_pointer((b"id", b"lib")) if has_id else None
    if library is not None:
        yield from _link(library, b"name", Shape.PACKED, user_of(library), is_required=False)


def _image(block: Block) -> Iterator[Link]:
    packed = block.get(b"packedfile", 0) or block.get((b"packedfiles", b"first"), 0)
    source = block.get(b"source", cdefs.IMA_SRC_FILE)
    shapes = {
        cdefs.IMA_SRC_FILE: Shape.FILE,
        cdefs.IMA_SRC_MOVIE: Shape.FILE,
        cdefs.IMA_SRC_SEQUENCE: Shape.SEQUENCE,
        cdefs.IMA_SRC_TILED: Shape.TILES,
    }
    if packed or source not in shapes:
        return
    user, slot = user_of(block), _slot(block, b"name")
    tiles = tuple(_tiles(block)) if source == cdefs.IMA_SRC_TILED else ()
    if path := _text(block, slot):
        yield Link(shapes[source], path, user, slot, tiles=tiles)
    for view in iterators.listbase(block.get_pointer((b"views", b"first"), None)):
        yield from _link(view, b"filepath", Shape.FILE, user, is_required=False)


def _tiles(block: Block) -> Iterator[int]:
    for tile in iterators.listbase(block.get_pointer((b"tiles", b"first"), None)):
        yield tile[b"tile_number"]


def _movie_clip(block: Block) -> Iterator[Link]:
    is_sequence = block.get(b"source", 0) == _CLIP_SEQUENCE
    shape = Shape.SEQUENCE if is_sequence else Shape.FILE
    yield from _link(block, b"name", shape, user_of(block))


def _cache_file(block: Block) -> Iterator[Link]:
    is_sequence = bool(block.get(b"is_sequence", 0))
    shape = Shape.SEQUENCE if is_sequence else Shape.FILE
    yield from _link(block, b"filepath", shape, user_of(block))
    for layer in iterators.listbase(block.get_pointer((b"layers", b"first"), None)):
        yield from _link(layer, b"filepath", shape, user_of(block))


def _object(block: Block) -> Iterator[Link]:
    context = modifier_walkers.ModifierContext(owner=block)
    for modifier in iterators.modifiers(block):
        try:
            yield from _modifier(block, context, modifier)
        except ERRORS:  # the next one may be understood
            continue
    soft = block.get_pointer(b"soft", None)
    if soft is not None:
        shared = soft.get_pointer(b"shared", None) or soft
        cache = shared.get_pointer(b"pointcache")
        walk = modifier_walkers._walk_point_cache  # the library never asks it about soft bodies
        if cache is not None:
            for usage in walk(context, b"", block.bfile, cache, cdefs.PTCACHE_EXT):
                yield from _usage(usage, user_of(block))


def _modifier(
    block: Block, context: modifier_walkers.ModifierContext, modifier: Block
) -> Iterator[Link]:
    number = modifier[b"modifier", b"type"]
    name = modifier[b"modifier", b"name"].decode("utf-8", "replace")
    user = f'{user_of(block)}, modifier "{name}"'
    if number == cdefs.eModifierType_Nodes:
        yield from _inputs(modifier, user)
    if number in _MODIFIERS:
        for usage in modifier_walkers.modifier_handlers[number](context, modifier, b"modifier"):
            yield from _usage(usage, user)


def _usage(usage: BlockUsage, user: str) -> Iterator[Link]:
    """A simulation's cache, as the library tells of it."""
    block, field = usage.block, usage.path_full_field
    assert field is not None
    kind, name = block.dna_type_id, field.name.name_only
    if kind == b"PointCache" and name == b"name":
        is_baked = bool(block[b"flag"] & _CACHE_BAKED)
        beginning = usage.asset_path.decode("utf-8", "surrogateescape").partition("*")[0]
        yield Link(Shape.CACHE, beginning, user, is_required=is_baked)
    elif field.name.is_pointer:
        if (text := block.get_pointer(name)) is not None:
            slot = _block_slot(text)
            yield Link(Shape.FOLDER, _text(text, slot), user, slot)
    else:
        baked = block.get(b"cache_flag", _FLUID_BAKED) & _FLUID_BAKED  # only fluids have it
        shape = Shape.FOLDER if usage.is_sequence else Shape.FILE
        yield from _link(block, name, shape, user, bool(baked))


def _inputs(modifier: Block, user: str) -> Iterator[Link]:
    """Texts given to a geometry node group. Whether one is a path is not written with it: it is
    one if it looks so and there is such a file."""
    properties = modifier.get_pointer((b"settings", b"properties"), None)
    if properties is None:
        return
    for item in iterators.listbase(properties.get_pointer((b"data", b"group", b"first"))):
        is_text = item[b"type"] == cdefs.IDP_STRING
        if is_text and (text := item.get_pointer((b"data", b"pointer"))) is not None:
            slot = _block_slot(text, (item.abs_offset(b"len")[0], item.abs_offset(b"totallen")[0]))
            path = _text(text, slot)
            if re.match(r"/|\\\\|[A-Za-z]:[\\/]", path):
                yield Link(Shape.FILE, path, user, slot, is_required=False)


# --------------------------------------------------------------------------- scenes


def _scene(block: Block) -> Iterator[Link]:
    editing = block.get_pointer(b"ed", None)
    if editing is not None:
        for strip, number in iterators.sequencer_strips(editing):
            yield from _strip(block, strip, number)


def _strip(scene: Block, strip: Block, number: int) -> Iterator[Link]:
    sounds = (cdefs.SEQ_TYPE_SOUND_RAM, cdefs.SEQ_TYPE_SOUND_HD)
    if number not in (cdefs.SEQ_TYPE_IMAGE, cdefs.SEQ_TYPE_MOVIE, *sounds):
        return
    data = strip.get_pointer(b"strip")
    elements = data and data.get_pointer(b"stripdata")
    if not data or not elements:
        return
    name = strip[b"name"][2:].decode("utf-8", "replace")
    user = f'{user_of(scene)}, strip "{name}"'
    folder = _slot(data, b"dir")
    base = _text(data, folder)
    # The sound that is heard is a data block of its own.
    is_required = number not in sounds
    for element in iterators.dynamic_array(elements):
        slot = _slot(element, b"name")
        if file := _text(element, slot):
            path = base + ("" if base.endswith(("/", "\\")) else "/") + file
            yield Link(Shape.FILE, path, user, folder, slot, is_required=is_required)
        if number != cdefs.SEQ_TYPE_IMAGE:
            break  # one file, whatever is written behind it


# --------------------------------------------------------------------------- nodes


def _node_tree(block: Block) -> Iterator[Link]:
    """Files that nodes name themselves; an image of a node is an ID of its own."""
    tree = block if block.code == b"NT" else None
    if tree is None and block.dna_type.has_field(b"nodetree"):
        tree = block.get_pointer(b"nodetree")
    if tree is None or tree.dna_type_id != b"bNodeTree":
        return
    user = user_of(block)
    for node in iterators.listbase(tree.get_pointer((b"nodes", b"first"))):
        storage = node.get_pointer(b"storage")
        if storage is not None and storage.dna_type_id in _NODES_WITH_FILES:
            is_required = storage[b"mode"] == _MODE_EXTERNAL
            yield from _link(storage, b"filepath", Shape.FILE, user, is_required)
        for socket in iterators.listbase(node.get_pointer((b"inputs", b"first"))):
            yield from _socket(socket, user)


def _socket(socket: Block, user: str) -> Iterator[Link]:
    """A text input that takes a path (of the nodes that import files)."""
    if socket[b"type"] != cdefs.SOCK_STRING:
        return
    value = socket.get_pointer(b"default_value")
    if value is None or value.dna_type_id != b"bNodeSocketValueString":
        return
    shapes = {_SUBTYPE_FILE: Shape.FILE, _SUBTYPE_FOLDER: Shape.FOLDER}
    if (subtype := value[b"subtype"]) in shapes:
        yield from _link(value, b"value", shapes[subtype], user, not socket.get(b"link", 0))


_READERS: dict[bytes, Callable[[Block], Iterator[Link]]] = {
    b"LI": _library,
    b"IM": _image,
    b"MC": _movie_clip,
    b"CF": _cache_file,
    b"OB": _object,
    b"SC": _scene,
}
