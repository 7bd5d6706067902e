"""A second real engine through `generic`: POV-Ray, as docs/engines.md sets it up."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from renderonline import engines
from renderonline.engines.base import Progress
from renderonline.engines.template import expand, is_splittable

from .conftest import Renderer, Run

POVRAY = Renderer(engines.by_name("generic"), "povray")
DOCS = Path(__file__).parents[2] / "docs" / "engines.md"
SCENE = """
#version 3.7;
global_settings { assumed_gamma 1 }
camera { location <0, 1, -4> look_at 0 }
light_source { <5, 8, -6> rgb 1 }
sphere { <0, clock / 10, 0>, 1 pigment { rgb <1, 0.3, 0.2> } }
"""


def documented_template() -> str:
    """The template of the recipe, as an admin would paste it."""
    match = re.search(
        r"--name povray .*?--render-argument '([^']+)'", DOCS.read_text("utf-8"), re.S
    )
    assert match
    return match[1]


def recipe(scene: Path, output_dir: Path, first: int, last: int) -> list[str]:
    values = {"start_frame": str(first), "end_frame": str(last)}
    specials = {"@uploaded_file": str(scene), "@output_dir": str(output_dir)}
    return expand(documented_template(), values, specials)


def test_the_recipe_renders(run: Run, tmp_path: Path, output_dir: Path) -> None:
    scene = tmp_path / "a scene.pov"
    scene.write_text(SCENE)
    attempt = run(POVRAY, [*recipe(scene, output_dir, 2, 4), "+W32", "+H24"])
    assert attempt.verdict.is_success, attempt.output
    pictures = [Image.open(output_dir / file).tobytes() for file in attempt.files]
    assert len(set(pictures)) == 3
    fractions = [event.fraction for event in attempt.of(Progress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_a_frame_is_the_same_however_the_range_is_cut(
    run: Run, tmp_path: Path, output_dir: Path
) -> None:
    assert is_splittable(documented_template())
    scene = tmp_path / "a scene.pov"
    scene.write_text(SCENE)
    run(POVRAY, [*recipe(scene, output_dir, 2, 4), "+W32", "+H24"])
    whole = (output_dir / "a scene0003.png").read_bytes()
    run(POVRAY, [*recipe(scene, output_dir, 3, 3), "+W32", "+H24"])
    with Image.open(output_dir / "a scene0003.png") as cut:
        (tmp_path / "whole.png").write_bytes(whole)
        with Image.open(tmp_path / "whole.png") as other:
            assert cut.tobytes() == other.tobytes()


def test_a_broken_scene_fails_with_its_own_words(
    run: Run, tmp_path: Path, output_dir: Path
) -> None:
    scene = tmp_path / "broken.pov"
    scene.write_text("sphere { nonsense }")
    attempt = run(POVRAY, recipe(scene, output_dir, 2, 3))
    assert not attempt.verdict.is_success
    assert "Parse Error" in (attempt.verdict.message or "")
