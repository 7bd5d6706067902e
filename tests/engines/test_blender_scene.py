"""A movie that only the scene asks for, in the command line: where it is put, and when it is not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from renderonline.engines import by_name
from renderonline.engines.blender_scene import Scene, frame_size, with_movie


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
