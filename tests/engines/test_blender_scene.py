"""A movie that only the scene asks for, in the command line: where it is put, and when it is not."""

from __future__ import annotations

import pytest

from renderonline.engines import by_name
from renderonline.engines.blender_scene import with_movie

MOVIES = {None: "AVIJPEG", "Clip": "FFMPEG"}


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
    assert " ".join(with_movie(line.split(), MOVIES.get)) == (expected or line)


def test_completed_it_is_a_movie_for_everybody() -> None:
    adapter = by_name("blender")
    told = with_movie(["-b", "a.blend", "-s", "1", "-e", "9", "-a"], MOVIES.get)
    argv = adapter.complete(told, "/out")
    owes = adapter.owes(argv, None)
    assert (owes.movie, owes.frames) == (True, "1-9")
    assert argv.index("-F") < argv.index("-a")
    late = with_movie(["-b", "a.blend", "-s", "1", "-e", "9", "-a", "-S", "Clip"], MOVIES.get)
    assert adapter.owes(adapter.complete(late, "/out"), None).movie


def test_the_scene_is_not_asked_where_a_format_is_given() -> None:
    def asked(_: str | None) -> str | None:
        raise AssertionError("the project would be read in vain")

    assert with_movie(["-b", "a.blend", "-F", "PNG", "-a"], asked)
