"""A film's scene that links to everything, made by a real Blender: `blender` (3.4) or `bpy` (4.5).

Owns the scripts that make and render it, and how a bundle is laid out elsewhere, as a node does.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from support.processes import DEADLINE_S
from support.scenes import blender

from renderonline.client.bundle import Bundle

WHICH = ("blender", "bpy")
FRAMES = (1, 2)
NAME = "Szene ü 1.blend"

KIT = """
import bpy, math, pathlib, shutil, sys, wave
root = pathlib.Path(sys.argv[sys.argv.index('--') + 1])
outside = pathlib.Path(sys.argv[sys.argv.index('--') + 2])

def png(path, colour, size=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = bpy.data.images.new('made', size, size)
    image.pixels[:] = [*colour, 1] * (size * size)
    image.filepath_raw, image.file_format = str(path), 'PNG'
    image.save()
    bpy.data.images.remove(image)

def begin(path):
    # A path that begins with // means something once the file has a name.
    bpy.ops.wm.read_factory_settings(use_empty=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(path))

def save():
    bpy.context.preferences.filepaths.save_version = 0
    bpy.ops.wm.save_mainfile(compress=True)

def glowing(name, image):
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    nodes, links = made.node_tree.nodes, made.node_tree.links
    nodes.clear()
    texture, glow = nodes.new('ShaderNodeTexImage'), nodes.new('ShaderNodeEmission')
    end = nodes.new('ShaderNodeOutputMaterial')
    texture.image, texture.interpolation = image, 'Closest'
    links.new(texture.outputs[0], glow.inputs[0])
    links.new(glow.outputs[0], end.inputs[0])
    return made, texture

def plane(name, at, material):
    bpy.ops.mesh.primitive_plane_add(size=0.9, location=(*at, 0))
    made = bpy.context.object
    made.name = name
    made.data.materials.append(material)
    return made

def loaded(path, **options):
    image = bpy.data.images.load(path)
    for name, value in options.items():
        setattr(image, name, value)
    return image
"""

FILM = (
    KIT
    + f"""
begin(root / 'made.blend')
png(outside / 'wood.png', (1, 0, 0))
png(root / 'lib/Größe/chair.png', (0, 1, 0))
png(root / 'lib/unused.png', (0, 0, 0))
png(root / 'lib/deep/leg.png', (0, 0, 1))
for tile, colour in ((1001, (1, 1, 0)), (1002, (0, 1, 1))):
    png(root / f'tiles/tile.{{tile}}.png', colour)
for number in range(1, 4):
    png(root / f'plates/plate_{{number:04}}_left.png', (number / 3, 0, number / 3))
png(root / 'plates/plate_back.png', (0, 0, 0))
fonts = pathlib.Path(bpy.utils.system_resource('DATAFILES')) / 'fonts'
shutil.copy(next(f for n in ('DejaVuSans', 'Inter') for f in fonts.glob(n + '.woff2')), root / 'a font.woff2')

bpy.ops.mesh.primitive_cube_add(size=0.5)
volume = bpy.data.volumes.new('made')
holder = bpy.data.objects.new('made', volume)
bpy.context.scene.collection.objects.link(holder)
holder.modifiers.new('made', 'MESH_TO_VOLUME').object = bpy.context.object
graph = bpy.context.evaluated_depsgraph_get()
graph.update()
(root / 'smoke').mkdir()
for number in (1, 2):
    holder.evaluated_get(graph).data.grids.save(filepath=str(root / f'smoke/smoke_{{number:03}}.vdb'))
(root / 'made.blend').unlink()

begin(root / 'lib/deep/leg.blend')
plane('Leg', (1, 1), glowing('LegWood', loaded('//leg.png'))[0])
save()

begin(root / 'lib/chair.blend')
chair = plane('Chair', (0, 1), glowing('ChairWood', loaded('//Größe/chair.png'))[0])
plane('Unused', (0, 0), glowing('Unused', loaded('//unused.png'))[0])
with bpy.data.libraries.load(str(root / 'lib/deep/leg.blend'), link=True, relative=True) as (_, into):
    into.objects = ['Leg']
group = bpy.data.collections.new('Furniture')
bpy.context.scene.collection.children.link(group)
for thing in (chair, bpy.data.objects['Leg']):
    group.objects.link(thing)
save()

begin(root / '{NAME}')
scene = bpy.context.scene
scene.frame_start, scene.frame_end = 1, 2
scene.render.engine, scene.cycles.samples = 'CYCLES', 1
scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
scene.cycles.pixel_filter_type = 'BOX'
scene.render.threads_mode, scene.render.threads = 'FIXED', 1
scene.render.resolution_x = scene.render.resolution_y = 48
plane('Wood', (0, 0), glowing('Wood', loaded(str(outside / 'wood.png')))[0])
plates, texture = glowing('Plates', loaded('//plates/plate_0001_left.png', source='SEQUENCE'))
texture.image_user.frame_duration, texture.image_user.use_auto_refresh = 3, True
plane('Plates', (1, 0), plates)
image = loaded('//tiles/tile.1001.png')
image.source, image.filepath = 'TILED', '//tiles/tile.<UDIM>.png'
image.tiles.new(1002)
tiles = plane('Tiles', (2, 0), glowing('Tiles', image)[0])
for at in tiles.data.uv_layers[0].data:
    at.uv[0] *= 2
packed = loaded(str(outside / 'wood.png'))
packed.pack()
packed.filepath_raw = '//nowhere/packed.png'
plane('Packed', (2, 1), glowing('Packed', packed)[0])
text = bpy.data.curves.new('Text', 'FONT')
text.body, text.font = 'Ü', bpy.data.fonts.load('//a font.woff2')
text.materials.append(plates)
shown = bpy.data.objects.new('Text', text)
shown.location = (0, 2, 0)
scene.collection.objects.link(shown)
smoke = bpy.data.volumes.new('Smoke')
smoke.filepath, smoke.is_sequence, smoke.frame_duration = '//smoke/smoke_001.vdb', True, 2
cloud = bpy.data.materials.new('Cloud')
cloud.use_nodes = True
nodes = cloud.node_tree.nodes
nodes.clear()
principled, end = nodes.new('ShaderNodeVolumePrincipled'), nodes.new('ShaderNodeOutputMaterial')
principled.inputs['Emission Strength'].default_value = 5
cloud.node_tree.links.new(principled.outputs[0], end.inputs['Volume'])
smoke.materials.append(cloud)
fog = bpy.data.objects.new('Smoke', smoke)
fog.location = (2, 2, 0)
scene.collection.objects.link(fog)
with wave.open(str(root / 'beep.wav'), 'wb') as sound:
    sound.setnchannels(1)
    sound.setsampwidth(2)
    sound.setframerate(8000)
    sound.writeframes(bytes(8000))
speaker = bpy.data.speakers.new('Speaker')
speaker.sound = bpy.data.sounds.load('//beep.wav')
scene.collection.objects.link(bpy.data.objects.new('Speaker', speaker))
with bpy.data.libraries.load(str(root / 'lib/chair.blend'), link=True, relative=True) as (_, into):
    into.collections = ['Furniture']
instance = bpy.data.objects.new('Furniture', None)
instance.instance_type, instance.instance_collection = 'COLLECTION', bpy.data.collections['Furniture']
scene.collection.objects.link(instance)
camera = bpy.data.cameras.new('Camera')
camera.type, camera.ortho_scale = 'ORTHO', 3
scene.camera = bpy.data.objects.new('Camera', camera)
scene.camera.location = (1, 1, 5)
scene.collection.objects.link(scene.camera)
save()
"""
)

RENDER = f"""
import bpy, sys
file, target = sys.argv[sys.argv.index('--') + 1:]
bpy.ops.wm.open_mainfile(filepath=file)
for frame in {FRAMES}:
    bpy.context.scene.frame_set(frame)
    bpy.context.scene.render.filepath = f'{{target}}/{{frame}}.png'
    bpy.ops.render.render(write_still=True)
"""


def run(which: str, script: str, *arguments: Path) -> str:
    """Run a script in a real Blender; what it printed."""
    programs = {
        "blender": [
            *(blender(), "-b", "--factory-startup", "--python-exit-code", "7", "--python-expr")
        ],
        "bpy": [sys.executable, "-c"],
    }
    done = subprocess.run(
        [*programs[which], script, "--", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    said = done.stdout[-3000:] + done.stderr[-3000:]
    assert done.returncode == 0, said
    return said


def make(which: str, folder: Path) -> Path:
    """The scene below `folder`/Mein Film, with one texture in `folder`/elsewhere."""
    root = folder / "Mein Film"
    root.mkdir(parents=True)
    run(which, FILM, root, folder / "elsewhere")
    return root / NAME


def rendered(which: str, blend: Path, target: Path) -> list[bytes]:
    """The pixels of its frames."""
    target.mkdir(parents=True)
    run(which, RENDER, blend, target)
    return [Image.open(target / f"{frame}.png").convert("RGBA").tobytes() for frame in FRAMES]


def laid_out(bundle: Bundle, folder: Path) -> Path:
    """Write a bundle's files to their places; the main file."""
    for part in bundle.parts:
        place = folder / part.place
        place.parent.mkdir(parents=True, exist_ok=True)
        with part.source.open() as source, place.open("xb") as copy:
            shutil.copyfileobj(source, copy)
    return folder / bundle.main
