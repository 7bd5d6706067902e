"""Which scene, camera and view layer is rendered, on a farm of real processes with the real renderers."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.farm import Farm
from support.pictures import pictures
from support.processes import run_cli
from support.scenes import blender

from renderonline import blendfile
from renderonline.blendfile import BlendFacts, Choices, View, complaint

RENDERERS = {
    "blender": {"EngineId": "blender", "ExecutablePath": blender(), "Adapter": "blender"},
    "bpy": {"EngineId": "Blender", "ExecutablePath": sys.executable, "Adapter": "bpy"},
}
SIDE = 'Über {"Side"} \'s'

BY_HAND = """
import bpy, sys
camera, layer, scene, target = sys.argv[sys.argv.index('--') + 1:]
scene = bpy.context.window.scene = bpy.data.scenes[scene]
scene.timeline_markers.clear()
scene.camera = bpy.data.objects[camera]
for view_layer in scene.view_layers:
    view_layer.use = layer in ('', view_layer.name)
scene.frame_set(2)
scene.render.filepath = target
scene.render.image_settings.file_format = 'PNG'
bpy.ops.render.render(write_still=True, scene=scene.name)
"""


@pytest.fixture
def views(blend: Callable[[str], Path]) -> Path:
    return blend("views")


def submitted(farm: Farm, home: Path, *words: str | Path, expected_exit: int = 0) -> str:
    environment = {
        "RENDERONLINE_SERVER": farm.api.url,
        "RENDERONLINE_EMAIL": farm.user.email,
        "RENDERONLINE_TOKEN": farm.user.token,
    }
    done = run_cli(
        "submit", *words, home=home, environment=environment, expected_exit=expected_exit
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("renderer", RENDERERS)
def test_each_variant_is_rendered_as_it_was_chosen(
    renderer: str, start_farm: Callable[..., Farm], views: Path, tmp_path: Path
) -> None:
    farm = start_farm(nodes=2, engines=[RENDERERS[renderer]])
    submitted(
        farm,
        tmp_path / "home",
        *(views, "--wait", "--chunk-frames", "1", "--arg", "output_format=PNG"),
        *("--variant", "plain:frames=1-3", "--variant", f"side:camera={SIDE},frames=1-3"),
        *("--variant", "nothing:view_layer=Nothing,frames=2", "--variant", "night:scene=Night"),
    )
    found = pictures(farm.download(1, tmp_path / "results.zip"))
    names = {name.removeprefix("output/").replace("frame_000", "") for name in found}
    assert names == {
        *(f"{variant}/{n}.png" for variant in ("plain", "side") for n in (1, 2, 3)),
        "nothing/2.png",
        *(f"night/{n}.png" for n in (1, 2, 3)),  # as that scene says
    }
    second = {name.split("/")[1]: found[name] for name in found if name.endswith("2.png")}
    assert len(set(second.values())) == 4
    if renderer == "blender":
        by_hand = {
            "plain": ("Front", "", "Day"),
            "side": (SIDE, "", "Day"),
            "nothing": ("Front", "Nothing", "Day"),
            "night": ("Front", "", "Night"),
        }
        assert second == {name: rendered(views, tmp_path, *by_hand[name]) for name in second}


def rendered(scene: Path, folder: Path, *chosen: str) -> bytes:
    """The second frame, by a Blender that is told in Python."""
    target = folder / "by_hand.png"
    subprocess.run(
        [blender(), "-b", scene, "--python-expr", BY_HAND, "--", *chosen, str(target)],
        check=True,
        capture_output=True,
    )
    archive = folder / "by_hand.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(target, "by_hand.png")
    return pictures(archive)["by_hand.png"]


def test_the_chosen_scene_says_the_frames(
    start_farm: Callable[..., Farm], views: Path, tmp_path: Path
) -> None:
    farm = start_farm()
    said = submitted(farm, tmp_path / "home", views, "--scene", "Night", "--camera", SIDE, "--wait")
    assert "frames 1-3, as the scene says" in said
    assert farm.task(1)["Task"]["FramesDone"] == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--camera", "Font"), f"has no camera 'Font'; it has Front, {SIDE}."),
        (("--scene", "Dusk"), "has no scene 'Dusk'; it has Day, Night."),
        (("--view-layer", "Cube"), "has no view layer 'Cube'; it has All, Nothing."),
        (("--variant", "a:camera=Cube"), "Variant a: views.blend: The file has no camera 'Cube'"),
    ],
)
def test_what_the_file_has_not_is_refused_before_it_is_sent(
    options: tuple[str, str],
    sentence: str,
    start_farm: Callable[..., Farm],
    views: Path,
    tmp_path: Path,
) -> None:
    farm = start_farm(nodes=0)
    assert sentence in submitted(farm, tmp_path / "home", views, *options, expected_exit=2)
    assert farm.get("info")["Tasks"] == []


def test_other_clients_are_told_so_too(start_farm: Callable[..., Farm], views: Path) -> None:
    farm = start_farm(nodes=0)
    frames = {"start_frame": "1", "end_frame": "1"}
    for chosen, sentence in (
        ({"Camera": "Font"}, "has no camera 'Font'"),
        ({"Scene": "Dusk"}, "has no scene 'Dusk'"),
        ({"ViewLayer": "Front"}, "has no view layer 'Front'"),
        ({"Camera": "a\nb"}, "cannot be the name of a camera"),
        ({"Camera": "a" * 300}, "cannot be the name of a camera"),
        ({"Variants": [{"Name": "x", "Scene": "Dusk"}]}, "Variant x: The file has no scene"),
    ):
        with pytest.raises(AssertionError, match=sentence):
            farm.enqueue(views, frames, **chosen)
    assert farm.get("info")["Tasks"] == []


# --------------------------------------------------------------------------- what is in a file


@pytest.mark.parametrize("is_packed", [True, False])
def test_the_names_are_read(views: Path, tmp_path: Path, is_packed: bool) -> None:
    file = tmp_path / "it.blend"
    save = f"import bpy; bpy.ops.wm.save_as_mainfile(filepath={str(file)!r}, compress={is_packed})"
    subprocess.run([blender(), "-b", views, "--python-expr", save], check=True, capture_output=True)
    with file.open("rb") as opened:
        found = blendfile.choices_in(opened, file.stat().st_size)
    assert found == Choices(
        cameras=("Front", SIDE),
        view_layers={"Day": ("All", "Nothing"), "Night": ("All", "Nothing")},
    )


def test_a_camera_of_a_library_may_be_chosen(views: Path, tmp_path: Path) -> None:
    file = tmp_path / "shot.blend"
    script = f"""
import bpy
with bpy.data.libraries.load({str(views)!r}, link=True) as (there, here):
    here.objects = ['Front']
bpy.context.scene.collection.objects.link(here.objects[0])
bpy.ops.wm.save_as_mainfile(filepath={str(file)!r})
"""
    command = [blender(), "-b", "--factory-startup", "--python-exit-code", "7"]
    subprocess.run([*command, "--python-expr", script], check=True, capture_output=True)
    facts = blendfile.read(file)
    with file.open("rb") as opened:
        found = blendfile.choices_in(opened, file.stat().st_size)
    assert found is not None
    assert complaint(View(camera="Front"), facts, found) is None
    assert complaint(View(camera="Back"), facts, found) is not None


@pytest.mark.parametrize("cut", [0, 1, 12, 500, 5_000, 20_000])
def test_a_broken_file_has_none(views: Path, tmp_path: Path, cut: int) -> None:
    file = tmp_path / "broken.blend"
    file.write_bytes(views.read_bytes()[:cut])
    with file.open("rb") as opened:
        assert blendfile.choices_in(opened, cut) is None
    assert complaint(View("a", "b", "c"), BlendFacts(), None) is None
