"""A movie that only the scene asks for, in the command line: where it is put, and when it is not."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import pytest

from renderonline.engines import blender_warm, by_name
from renderonline.engines.base import CommandError
from renderonline.engines.blender_scene import Scene, frame_size, with_movie, with_scene, with_view


@dataclass(frozen=True)
class Says:
    """A scene, as far as we ask it."""

    movie: str | None = None
    frame_size_px: tuple[int, int] | None = None


SCENES = {None: Says("AVIJPEG"), "Clip": Says("FFMPEG"), "Small": Says(None, (64, 36))}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-b a.blend -s 1 -e 9 -a", "-b a.blend -F AVIJPEG -s 1 -e 9 -a"),
        ("blender -b a.blend -a -- -F x", "blender -b a.blend -F AVIJPEG -a -- -F x"),
        ("-b a.blend -f 1", "-b a.blend -F AVIJPEG -f 1"),
        ("-b a.blend -S Clip -a", "-b a.blend -S Clip -F FFMPEG -a"),
        ("-b a.blend -a -S Clip", "-b a.blend -a -S Clip -F FFMPEG"),
        ("-b a.blend -S Still -a", None),
        ("-b a.blend -F PNG -a", None),
        ("-b a.blend --render-format PNG -a", None),
        ("-b a.blend -F AVIRAW -a", None),
        # a script may still change it, so it comes in front of that; alone it renders what it likes
        ("-b a.blend -P x.py -a", "-b a.blend -F AVIJPEG -P x.py -a"),
        ("-b a.blend -P x.py", None),
        ("-b -P x.py -a", None),
    ],
)
def test_the_format_follows_the_scene(line: str, expected: str | None) -> None:
    assert " ".join(with_movie(line.split(), SCENES.get)) == (expected or line)


def test_completed_it_is_a_movie_for_everybody() -> None:
    adapter = by_name("blender")
    told = with_movie(["-b", "a.blend", "-s", "1", "-e", "9", "-a"], SCENES.get)
    argv = adapter.complete(told, "/out")
    owes = adapter.owes(argv, None)
    assert (owes.movie, owes.frames) == (True, "1-9")
    assert argv.index("-F") < argv.index("-a")
    late = with_movie(["-b", "a.blend", "-s", "1", "-e", "9", "-a", "-S", "Clip"], SCENES.get)
    assert adapter.owes(adapter.complete(late, "/out"), None).movie


def test_the_scene_is_not_asked_where_a_format_is_given() -> None:
    def asked(_: str | None) -> Scene | None:
        raise AssertionError("the project would be read in vain")

    assert with_movie(["-b", "a.blend", "-F", "PNG", "-a"], asked)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-b a.blend -S Small -F PNG -s 1 -e 2 -a", (64, 36)),
        ("-b a.blend -F PNG -a", None),  # of the file's own scene it is not known
        ("-b a.blend -S Gone -a", None),
        ("-b a.blend -S Small -P x.py -a", None),  # which may set another
        ("-b a.blend -S Small --python-expr x -a", None),
    ],
)
def test_how_large_frames_are_is_the_scenes_unless_a_script_has_a_say(
    line: str, expected: tuple[int, int] | None
) -> None:
    assert frame_size(line.split(), SCENES.get) == expected


# --------------------------------------------------------------------------- what is chosen


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-b a.blend -s 1 -e 9 -a", "-b a.blend -S Night -s 1 -e 9 -a"),
        ("-s 1 -b a.blend -P x.py -a", "-s 1 -b a.blend -S Night -P x.py -a"),
        ("blender -b a.blend -f 1 -- -S x", "blender -b a.blend -S Night -f 1 -- -S x"),
    ],
)
def test_a_scene_comes_behind_its_file(line: str, expected: str) -> None:
    assert " ".join(with_scene(line.split(), "Night")) == expected
    assert with_scene(line.split(), None) == line.split()


@pytest.mark.parametrize(
    "line", ["-b a.blend -S Day -a", "-b a.blend --scene Day -a", "-b -P x.py"]
)
def test_a_scene_that_the_template_chooses_stays(line: str) -> None:
    with pytest.raises(CommandError, match="chooses the scene itself"):
        with_scene(line.split(), "Night")


def test_a_view_comes_in_front_of_what_differs_from_chunk_to_chunk() -> None:
    argv = with_view(["-b", "a.blend", "-S", "Night", "-s", "1", "-e", "9", "-a"], "Side", "Mask")
    assert [word for word in argv if "import" not in word] == (
        [
            "-b",
            "a.blend",
            "-S",
            "Night",
            "--python-expr",
            "--python-expr",
            "-s",
            "1",
            "-e",
            "9",
            "-a",
        ]
    )
    adapter = by_name("blender")
    completed = adapter.complete(argv, "/out")
    assert adapter.complete(completed, "/out") == completed
    assert completed.index("--python-exit-code") < completed.index("--python-expr")
    assert adapter.owes(completed, None).frames == "1-9"
    session = blender_warm.session(["blender"], completed)
    assert session is not None
    assert [(span.first, span.last) for span in session.spans] == [(1, 9)]


@pytest.mark.parametrize(
    "name", ["a'; import os; os.abort() #", '"', "\\", "{0}", "é\n", "{name}", "\u2028"]
)
def test_a_name_is_nothing_but_a_name(name: str) -> None:
    """What is carried out asks for this very name, and does nothing else."""
    argv = with_view(["-b", "a.blend", "-a"], name, name)
    scripts = [word for before, word in pairwise(argv) if before == "--python-expr"]
    for script in scripts:
        assert script.isascii()
        assert script.isprintable()
        strings = [n.value for n in ast.walk(ast.parse(script)) if isinstance(n, ast.Constant)]
        assert name in strings
        with pytest.raises(AssertionError, match="has no"):
            exec(script.replace("import bpy; ", "", 1), {"bpy": EMPTY})


EMPTY = SimpleNamespace(
    context=SimpleNamespace(scene=SimpleNamespace(objects={}, timeline_markers=[], view_layers=[]))
)
