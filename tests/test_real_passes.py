"""What a scene's compositor writes comes back, from nodes that share the api's disk and from others."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.farm import running_farm
from support.processes import DEADLINE_S, run_cli
from support.scenes import blender

FRAMES = 4

SCENE = """
import bpy, sys
cube, target, outside = sys.argv[sys.argv.index('--') + 1:]
bpy.ops.wm.open_mainfile(filepath=cube)
scene = bpy.context.scene
scene.view_layers[0].use_pass_z = True
scene.use_nodes = True
tree = scene.node_tree
layers = next(node for node in tree.nodes if node.type == 'R_LAYERS')
for folder, name in (('//passes/', 'depth_'), ('//output/z/', 'z_'), (outside + '/', 'lost_')):
    output = tree.nodes.new('CompositorNodeOutputFile')
    output.base_path, output.format.file_format = folder, 'PNG'
    output.file_slots[0].path = name
    tree.links.new(layers.outputs['Depth'], output.inputs[0])
bpy.ops.wm.save_as_mainfile(filepath=target)
"""


@pytest.mark.parametrize("storage", ["auto", "transfer"])
def test_passes_come_back_and_what_cannot_is_told(cube: Path, tmp_path: Path, storage: str) -> None:
    scene, outside = tmp_path / "work" / "shot.blend", tmp_path / "elsewhere"
    scene.parent.mkdir()
    script = ["--factory-startup", "--python-exit-code", "7", "--python-expr", SCENE]
    words = ["--", str(cube), str(scene), str(outside)]
    subprocess.run([blender(), "-b", *script, *words], check=True, timeout=DEADLINE_S)
    with running_farm(tmp_path / "farm", nodes=2, node_settings={"Storage": storage}) as farm:
        done = run_cli(
            *("submit", scene, "--frames", f"1-{FRAMES}", "--chunk-frames", "1"),
            *("--download", tmp_path / "frames", "--json"),
            home=tmp_path / "home",
            environment={
                "RENDERONLINE_SERVER": farm.api.url,
                "RENDERONLINE_EMAIL": farm.user.email,
                "RENDERONLINE_TOKEN": farm.user.token,
            },
        )
        told = json.loads(done.stdout)
        chunks = farm.task(told["TaskId"])["Chunks"]
    files = [p for p in (tmp_path / "frames").rglob("*") if p.is_file()]
    names = sorted(p.relative_to(tmp_path / "frames").as_posix() for p in files)
    kinds = ("frame_", "passes/depth_", "z/z_")
    assert names == [f"{kind}{frame:04}.png" for kind in kinds for frame in range(1, FRAMES + 1)]
    assert {chunk["State"] for chunk in chunks} == {"succeeded"}
    (warning,) = told["Warnings"]
    assert str(outside) in warning
