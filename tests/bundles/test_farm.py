"""Projects through a whole farm, from the command line to the frames: scenes with all they link to,
folders, ZIPs, and what is missing."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.farm import Farm, running_farm
from support.processes import run_cli
from support.scenes import blender
from support.tap import tapped

from . import film

POVRAY = (
    "povray +I$RENDERONLINE:@uploaded_file +O$RENDERONLINE:@output_dir/ +FN +W16 +H12 "
    "+L$RENDERONLINE:@task_dir/parts -D"
)
CASTLE = {
    "scenes/castle.pov": b'#version 3.7;\n#include "stone.inc"\n'
    b"camera { location <0, 0, -3> look_at 0 } sphere { 0, 1 pigment { Stone } finish { ambient 1 } }",
    "parts/stone.inc": b"#declare Stone = pigment { rgb <1, 0, 0> }",
}
SKETCH = {
    "shot/draw.py": b"""
import pathlib, sys
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'parts ue'))
import colours
(pathlib.Path(sys.argv[1]) / 'drawn.txt').write_text(colours.RED)
""",
    "parts ue/colours.py": b"RED = 'red'",
}


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Blender, POV-Ray and `sketch`, which runs Python projects, on two nodes that see nothing of the
    api's disk: projects are sent to them by hash, and results back."""
    engines = [
        {"EngineId": "sketch", "ExecutablePath": sys.executable, "Adapter": "generic"},
        {"EngineId": "povray", "ExecutablePath": "povray", "Adapter": "generic"},
        {"EngineId": "blender", "ExecutablePath": blender()},
    ]
    apart = {"Storage": "transfer"}
    folder = tmp_path_factory.mktemp("farm")
    with running_farm(folder, nodes=2, engines=engines, node_settings=apart) as running:
        for name, extension, template in (
            ("sketch", ".py", "sketch $RENDERONLINE:@uploaded_file $RENDERONLINE:@output_dir"),
            ("povray", ".pov", POVRAY),
        ):
            words = ["--name", name, "--extension", extension, "--render-argument", template]
            running.admin("engine", "add", *words)
        yield running


@pytest.fixture
def submit(farm: Farm, tmp_path: Path) -> Callable[..., Any]:
    """Runs `submit … --json` as the farm's user; what it told, and said. `expected_exit` as run_cli."""

    def run(*words: str | Path, expected_exit: int = 0, url: str = "") -> tuple[Any, str]:
        environment = {
            "RENDERONLINE_SERVER": url or farm.api.url,
            "RENDERONLINE_EMAIL": farm.user.email,
            "RENDERONLINE_TOKEN": farm.user.token,
        }
        home = tmp_path / "home"
        done = run_cli(
            *("submit", *words, "--json"),
            home=home,
            environment=environment,
            expected_exit=expected_exit,
        )
        return json.loads(done.stdout), done.stderr

    return run


def pixels(folder: Path) -> list[bytes]:
    return [Image.open(file).convert("RGBA").tobytes() for file in sorted(folder.iterdir())]


def test_a_scene_with_all_it_links_to_renders_as_it_does_here(
    submit: Callable[..., Any], tmp_path: Path
) -> None:
    """Nothing said but the scene: the frames are its own. The second time hardly anything is sent."""
    scene = film.make("blender", tmp_path / "work")
    expected = film.rendered("blender", scene, tmp_path / "expected")
    told, said = submit(scene, "--chunk-frames", "1", "--download", tmp_path / "frames")
    assert (told["State"], told["Warnings"]) == ("succeeded", [])
    assert "frames 1-2, as the scene says" in said
    assert pixels(tmp_path / "frames") == expected


def test_two_machines_render_it_that_cannot_see_where_it_came_from(
    submit: Callable[..., Any], farm: Farm, tmp_path: Path
) -> None:
    """All on this machine here: so its folder is gone, with all that it links to, before they begin."""
    scene = film.make("blender", tmp_path / "work")
    expected = film.rendered("blender", scene, tmp_path / "expected")
    told, _ = submit(scene, "--chunk-frames", "1", "--start-at", "2090-01-01T00:00")
    task_id = told["TaskId"]
    (tmp_path / "work").rename(tmp_path / "elsewhere")
    for node in farm.nodes:
        assert not list((node.config.parent / "data" / "work").glob(f"{task_id}-*"))
    assert farm.request("PATCH", f"tasks/{task_id}", json={"StartAt": None}).ok
    assert farm.wait_for_state(task_id)["Task"]["State"] == "succeeded"
    chunks = farm.get(f"tasks/{task_id}")["Chunks"]
    assert len({chunk["MachineId"] for chunk in chunks}) == 2, chunks
    with zipfile.ZipFile(farm.download(task_id, tmp_path / "all.zip")) as packed:
        names = [name for name in packed.namelist() if name.startswith("output/")]
        packed.extractall(tmp_path / "all", names)
    assert pixels(tmp_path / "all" / "output") == expected


def test_a_second_submission_sends_hardly_anything(
    submit: Callable[..., Any], farm: Farm, tmp_path: Path
) -> None:
    scene = film.make("blender", tmp_path / "work")
    with tapped(farm.api.port) as tap:
        submit(scene, "--frames", "1", url=tap.url)
        first_bytes = tap.sent_bytes
        _, said = submit(scene, "--frames", "2", url=tap.url)
        # Ten small requests: what a project of many megabytes costs as well.
        assert tap.sent_bytes - first_bytes < 12_000
        assert first_bytes > 200_000
        assert "the farm has all of it" in said


def test_a_missing_texture_stops_it_and_is_named(
    submit: Callable[..., Any], farm: Farm, tmp_path: Path
) -> None:
    scene = film.make("blender", tmp_path / "work")
    texture = scene.parent / "lib/Größe/chair.png"
    texture.unlink()
    before = farm.get("tasks")["Tasks"]
    told, said = submit(scene, expected_exit=2)
    assert told["Error"] == "missing_files"
    for words in (str(texture), 'image "chair.png" in lib/chair.blend', "--allow-missing"):
        assert words in said
    assert farm.get("tasks")["Tasks"] == before
    told, said = submit(scene, "--allow-missing", "--download", tmp_path / "frames")
    assert told["State"] == "succeeded"
    assert any(str(texture) in warning for warning in told["Warnings"])
    assert f"Warning: {scene.name}: {texture} is not there" in said


def test_a_dry_run_shows_and_sends_nothing(submit: Callable[..., Any], tmp_path: Path) -> None:
    scene = film.make("blender", tmp_path / "work")
    (scene.parent / "beep.wav").unlink()
    nobody = "http://127.0.0.1:1"
    told, _ = submit(scene, "--dry-run", url=nobody, expected_exit=2)
    assert told["Main"] == scene.name
    assert {file["Path"] for file in told["Files"]} >= {scene.name, "lib/chair.blend"}
    assert told["SizeBytes"] == sum(file["SizeBytes"] for file in told["Files"])
    (missing,) = told["Missing"]
    assert missing == {"Path": str(scene.parent / "beep.wav"), "Users": ['sound "beep.wav"']}
    (facts,) = told["Scenes"]
    assert facts["IsActive"] and facts["HasCamera"] and facts["Engine"] == "CYCLES"
    assert (facts["FrameStart"], facts["FrameEnd"], facts["WidthPx"]) == (1, 2, 48)
    told, _ = submit(scene, "--dry-run", "--allow-missing", url=nobody)
    told, _ = submit(scene, "--dry-run", "--no-links", url=nobody)
    assert (len(told["Files"]), told["Missing"]) == (1, [])


def test_a_scene_without_a_camera_is_warned_of(
    submit: Callable[..., Any], blend: Callable[[str], Path]
) -> None:
    told, _ = submit(blend("no_camera"), "--dry-run")
    assert "has no camera" in told["Warnings"][0]


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_is_rendered_by_any_engine(submit: Callable[..., Any], tmp_path: Path) -> None:
    folder = written(tmp_path / "Projekt ü", SKETCH)
    told, _ = submit(folder, "--main", "shot/draw.py", "--download", tmp_path / "results")
    assert told["State"] == "succeeded"
    assert [Path(file).read_text() for file in told["Files"]] == ["red"]


def test_a_zip_is_rendered_by_povray(submit: Callable[..., Any], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "castle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in CASTLE.items():
            archive.writestr(name, content)
    words = ("--main", "scenes/castle.pov", "--download", tmp_path / "results")
    told, _ = submit(tmp_path / "castle.zip", *words)
    assert told["State"] == "succeeded", told
    (picture,) = (Path(file) for file in told["Files"])
    red, green, _ = Image.open(picture).convert("RGB").getpixel((8, 6))
    assert red > 200 and green < 50


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("{folder}",), "Say which file in it is to be rendered (`--main NAME`)."),
        (("{folder}", "--main", "gone.py"), "There is no file gone.py in"),
        (
            ("{folder}", "{folder}", "--main", "shot/draw.py"),
            "`--main` names a file of one project.",
        ),
        (("{folder}/shot/draw.py", "--main", "draw.py"), "is no ZIP"),
        (
            ("{folder}/shot/draw.py", "--project", "{folder}/none"),
            "does not lie in the project's folder",
        ),
    ],
)
def test_what_cannot_be_meant_is_2(
    submit: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    folder = written(tmp_path / "sketch", SKETCH)
    _, said = submit(*(word.format(folder=folder) for word in words), expected_exit=2)
    assert says in said
