"""Small .blend files, made by the real Blender, once for all workers of a test run.

Saved by the oldest Blender at hand, so that newer ones (and `bpy`) can open them. Frames take a
fraction of a second on one core.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from pathlib import Path

from .processes import DEADLINE_S

FRAMES = 10
SIZE_PX = 32

SCENE = f"""
import bpy, math, sys
kind, target = sys.argv[sys.argv.index('--') + 1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.frame_start, scene.frame_end = 1, {FRAMES}
scene.render.resolution_x = scene.render.resolution_y = {SIZE_PX}
scene.render.threads_mode, scene.render.threads = 'FIXED', 1
scene.render.engine = 'BLENDER_WORKBENCH' if kind == 'workbench' else 'CYCLES'
scene.cycles.samples = 1
scene.cycles.use_denoising = False  # not every build has the denoiser
scene.cycles.use_adaptive_sampling = False
bpy.ops.mesh.primitive_cube_add(size=2)
cube = bpy.context.object
for frame, turn in ((1, 0), ({FRAMES}, math.pi / 3)):
    cube.rotation_euler = (turn, turn / 2, turn)
    cube.keyframe_insert('rotation_euler', frame=frame)
bpy.ops.object.light_add(type='SUN', rotation=(0.6, 0.3, 0))
if kind != 'no_camera':
    bpy.ops.object.camera_add(location=(0, -6, 0), rotation=(math.pi / 2, 0, 0))
    scene.camera = bpy.context.object
if kind == 'slow':
    scene.render.resolution_x = scene.render.resolution_y = 1024
    scene.cycles.samples = 65536
if kind == 'movie':
    scene.render.image_settings.file_format = 'AVI_JPEG'
if kind == 'views':
    scene.world = bpy.data.worlds.new('Grey')
    scene.world.color = (0.2, 0.2, 0.2)
    front = scene.camera
    front.name = 'Front'
    scene.timeline_markers.new('F', frame=1).camera = front
    bpy.ops.object.camera_add(location=(6, 0, 2), rotation=(math.pi / 2.6, 0, math.pi / 2))
    bpy.context.object.name = 'Über {{"Side"}} \\'s'
    bpy.ops.object.empty_add()
    cube.name = 'Cube'
    scene.name, scene.view_layers[0].name = 'Day', 'All'
    props = bpy.data.collections.new('Props')
    scene.collection.children.link(props)
    scene.collection.objects.unlink(cube)
    props.objects.link(cube)
    scene.view_layers.new('Nothing').layer_collection.children['Props'].exclude = True
    night = scene.copy()
    night.name, night.frame_end, night.use_fake_user = 'Night', 3, True
    night.world = bpy.data.worlds.new('Dark')
    night.world.color = (0.3, 0, 0)
    night.camera = front
    for marker in night.timeline_markers:
        marker.camera = None
    bpy.context.window.scene = scene
bpy.ops.wm.save_as_mainfile(filepath=target, compress=True)
"""

KINDS = {
    "cube": "a cube that turns over FRAMES frames, Cycles, one sample: each frame differs",
    "workbench": "the same in Workbench (needs an OpenGL library, no display)",
    "no_camera": "the same without a camera: Blender ends with exit code 1 and no frame",
    "slow": "one frame takes minutes: for stopping, killing, losing",
    "views": "two scenes, two cameras (one held by a marker), two view layers (one empty)",
    "movie": "the scene itself says AVI: one file for the whole range",
}


def blend(folder: Path, kind: str = "cube") -> Path:
    """The scene of this kind (see KINDS) below `folder`, made if no other worker has made it yet.

    Made under a name of its own and renamed: two workers at once cost a second, and nobody ever
    sees half a file.
    """
    assert kind in KINDS
    target = folder / f"{kind}.blend"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        own = folder / f"{kind}.{os.getpid()}.{uuid.uuid4().hex}.blend"
        _make(kind, own)
        own.replace(target)
    return target


def blender() -> str:
    """The real Blender's executable."""
    found = shutil.which("blender")
    assert found, "Blender is not installed; tests/run.py installs it"
    return found


def _make(kind: str, target: Path) -> None:
    done = subprocess.run(
        [
            *(blender(), "-b", "--factory-startup", "--python-exit-code", "7"),
            *("--python-expr", SCENE, "--", kind, str(target)),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0 and target.exists(), done.stdout[-2000:] + done.stderr[-2000:]
