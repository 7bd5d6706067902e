"""The quick start's sample: an animation, built by the renderer that will render it.

Owns one scene: hexagonal columns that a wave runs through, a golden ball riding it, a camera that
circles. Runs inside Blender (`blender -b --factory-startup -P sample_scene.py -- out.blend`) or on
PyPI's `bpy` (`python sample_scene.py -- out.blend`), 2.93 and later. It must look right at few
samples without a denoiser, which not every build of Blender has: a large sun and a bright sky, few
bounces, no glass.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import bpy  # only there inside Blender, or with the `bpy` extra

FRAMES = 24
SIZE_PX = (480, 270)
SAMPLES = 28
RINGS = 10
SPACING = 1.02  # between the centres of two columns that touch
COLUMN_RADIUS = 0.56
WAVE_HEIGHT = 0.62
SKY = (
    (0.00, (0.006, 0.012, 0.040)),
    (0.34, (0.014, 0.026, 0.085)),
    (0.50, (0.300, 0.130, 0.210)),
    (0.58, (0.640, 0.340, 0.260)),
    (1.00, (0.240, 0.380, 0.800)),
)
"""Straight down to straight up, linear RGB: night, a rose horizon, the day's last blue."""
COLOURS = (
    (0.00, (0.012, 0.030, 0.120)),
    (0.38, (0.020, 0.190, 0.340)),
    (0.66, (0.720, 0.120, 0.110)),
    (1.00, (1.000, 0.560, 0.140)),
)
"""The wave's colours from trough to crest, linear RGB: night blue, teal, coral, amber."""


def build() -> None:
    """Replace whatever is loaded by the sample scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    _render_settings(scene)
    _world(scene)
    _sun(scene)
    _columns(scene, _wave_material())
    _ball(scene)
    _camera(scene)


def _render_settings(scene: Any) -> None:
    scene.frame_start, scene.frame_end = 1, FRAMES
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y = SIZE_PX
    render.resolution_percentage = 100
    render.image_settings.file_format = "PNG"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = SAMPLES
    cycles.use_denoising = False  # Debian's Blender is built without it and fails when asked
    cycles.max_bounces = 3
    cycles.diffuse_bounces = 2
    cycles.glossy_bounces = 2
    cycles.sample_clamp_indirect = 4.0  # no fireflies
    scene.view_settings.view_transform = "Filmic"
    scene.view_settings.exposure = 0.1
    _set_look(scene.view_settings)


def _set_look(view: Any) -> None:
    """More contrast; the look's name depends on Blender's version."""
    for look in ("Medium High Contrast", "Filmic - Medium High Contrast"):
        try:
            view.look = look
            return
        except TypeError:  # an enum without that item
            continue


def _world(scene: Any) -> None:
    """A dusk sky; also the fill light."""
    world = bpy.data.worlds.new("Sky")
    scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    background = next(node for node in nodes if node.type == "BACKGROUND")
    direction = nodes.new("ShaderNodeTexCoord")
    split = nodes.new("ShaderNodeSeparateXYZ")
    ramp = nodes.new("ShaderNodeValToRGB")
    height = nodes.new("ShaderNodeMapRange")
    height.inputs["From Min"].default_value = -1.0
    _set_ramp(ramp, SKY)
    links.new(direction.outputs["Generated"], split.inputs[0])
    links.new(split.outputs["Z"], height.inputs["Value"])
    links.new(height.outputs["Result"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], background.inputs["Color"])
    background.inputs["Strength"].default_value = 0.55
    world.cycles.sampling_method = "NONE"  # an importance map takes longer than it saves here


def _sun(scene: Any) -> None:
    light = bpy.data.lights.new("Sun", "SUN")
    light.energy = 6.0
    light.angle = math.radians(3)
    light.color = (1.0, 0.82, 0.62)
    sun = bpy.data.objects.new("Sun", light)
    sun.rotation_euler = (math.radians(66), 0.0, math.radians(35))
    scene.collection.objects.link(sun)


def _wave_material() -> Any:
    """Colours a column by its own height, so that the colours travel with the wave."""
    material = bpy.data.materials.new("Wave")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Roughness"].default_value = 0.55
    info = nodes.new("ShaderNodeObjectInfo")
    split = nodes.new("ShaderNodeSeparateXYZ")
    height = nodes.new("ShaderNodeMapRange")
    height.inputs["From Min"].default_value = -WAVE_HEIGHT
    height.inputs["From Max"].default_value = WAVE_HEIGHT
    ramp = nodes.new("ShaderNodeValToRGB")
    _set_ramp(ramp, COLOURS)
    links.new(info.outputs["Location"], split.inputs[0])
    links.new(split.outputs["Z"], height.inputs["Value"])
    links.new(height.outputs["Result"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    return material


def _set_ramp(ramp: Any, stops: tuple[tuple[float, tuple[float, float, float]], ...]) -> None:
    elements = ramp.color_ramp.elements
    while len(elements) < len(stops):
        elements.new(0.5)
    for element, (position, colour) in zip(elements, stops, strict=True):
        element.position = position
        element.color = (*colour, 1.0)


def wave_height(x: float, y: float, frame: int) -> float:
    """Height of the wave at a place, in metres; the same again after FRAMES frames."""
    turn = 2 * math.pi * (frame - 1) / FRAMES
    rings = math.sin(1.05 * math.hypot(x + 1.5, y - 1.0) - turn)
    swell = math.sin(0.55 * x + 0.35 * y + turn)
    return WAVE_HEIGHT * (0.62 * rings + 0.38 * swell) - _shore(x, y)


def _shore(x: float, y: float) -> float:
    """How far the ground has dropped at a place: the field ends as an island, not as a table."""
    return 0.045 * max(0.0, math.hypot(x, y) - 0.55 * RINGS * SPACING) ** 2


def _columns(scene: Any, material: Any) -> None:
    mesh = _column_mesh(material)
    for x, y in _hexagon(RINGS):
        column = bpy.data.objects.new("Column", mesh)
        scene.collection.objects.link(column)
        _follow_wave(column, x, y, 0.0)


def _hexagon(rings: int) -> list[tuple[float, float]]:
    """The centres of a hexagon of hexagons."""
    return [
        (SPACING * (q + r / 2), SPACING * r * math.sqrt(3) / 2)
        for q in range(-rings, rings + 1)
        for r in range(-rings, rings + 1)
        if abs(q + r) <= rings
    ]


def _column_mesh(material: Any) -> Any:
    """One column, its top at height 0, its upper edge bevelled to catch the light."""
    outlines = ((COLUMN_RADIUS, -4.0), (COLUMN_RADIUS, -0.07), (COLUMN_RADIUS - 0.07, 0.0))
    corners = [math.radians(60 * side + 30) for side in range(6)]
    points = [
        (radius * math.cos(corner), radius * math.sin(corner), z)
        for radius, z in outlines
        for corner in corners
    ]
    walls = [
        (
            ring * 6 + side,
            ring * 6 + (side + 1) % 6,
            ring * 6 + 6 + (side + 1) % 6,
            ring * 6 + 6 + side,
        )
        for ring in range(len(outlines) - 1)
        for side in range(6)
    ]
    mesh = bpy.data.meshes.new("Column")
    mesh.from_pydata(points, [], [*walls, tuple(range(12, 18))])
    mesh.materials.append(material)
    return mesh


def _follow_wave(thing: Any, x: float, y: float, above: float) -> None:
    """Keyframe `thing` at (x, y) to ride the wave, `above` metres over it."""
    for frame in range(1, FRAMES + 2, 2):
        thing.location = (x, y, wave_height(x, y, frame) + above)
        thing.keyframe_insert("location", frame=frame)


def _ball(scene: Any) -> None:
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32, radius=0.95)
    ball = bpy.context.object
    ball.data.polygons.foreach_set("use_smooth", [True] * len(ball.data.polygons))
    material = bpy.data.materials.new("Gold")
    material.use_nodes = True
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (1.0, 0.58, 0.20, 1.0)
    shader.inputs["Metallic"].default_value = 1.0
    shader.inputs["Roughness"].default_value = 0.12
    ball.data.materials.append(material)
    _follow_wave(ball, 0.0, 0.0, 1.45)


def _camera(scene: Any) -> None:
    """A third of a circle around the ball, sinking a little on the way."""
    lens = bpy.data.cameras.new("Camera")
    lens.lens = 38
    camera = bpy.data.objects.new("Camera", lens)
    scene.collection.objects.link(camera)
    scene.camera = camera
    aim = bpy.data.objects.new("Aim", None)
    aim.location = (0.0, 0.0, 0.55)
    scene.collection.objects.link(aim)
    track = camera.constraints.new("TRACK_TO")
    track.target, track.track_axis, track.up_axis = aim, "TRACK_NEGATIVE_Z", "UP_Y"
    for frame in range(1, FRAMES + 2, 4):
        along = (frame - 1) / FRAMES
        angle = math.radians(-100 + 80 * along)
        camera.location = (11.5 * math.cos(angle), 11.5 * math.sin(angle), 6.4 - 1.6 * along)
        camera.keyframe_insert("location", frame=frame)


def main(argv: list[str]) -> int:
    """Build the scene and save it where the argument after `--` says."""
    target = argv[argv.index("--") + 1]
    build()
    bpy.ops.wm.save_as_mainfile(filepath=target)
    return 0


if __name__ == "__main__":
    main(sys.argv)
