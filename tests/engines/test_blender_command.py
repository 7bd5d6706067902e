"""Blender's command line: what is added, moved, translated and refused, and what it owes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from renderonline.engines.base import CommandError
from renderonline.engines.blender_command import complete, owes
from renderonline.engines.commandline import join, split

OUT = "/farm/task/output"


@pytest.mark.parametrize(
    ("given_line", "completed"),
    [
        # the README's template: results folder, the whole range, no auto-run scripts
        (
            "blender -b a.blend -s 1 -e 9 -a",
            "blender -Y -b a.blend -s 1 -e 9 -o {out}/frame_#### -j 1 -a",
        ),
        # what is there already stays
        (
            "-b -y a.blend -o /x/f_## -s 1 -e 9 -j 2 -a",
            "-b -y a.blend -o /x/f_## -s 1 -e 9 -j 2 -a",
        ),
        ("a.blend -f 1", "-b -Y a.blend -o {out}/frame_#### -f 1"),
        # a negative end is a frame: Blender counts it from the end that it knows, which is made 0
        (
            "-Y -b a.blend -s -5 -e 9 -a",
            "-Y -b a.blend -s 0 -s -5 -e 9 -o {out}/frame_#### -j 1 -a",
        ),
        (
            "-Y -b -e -1 a.blend -a --frame-start -5",
            "-Y -b a.blend -e 0 -e -1 --frame-start 0 --frame-start -5 -o {out}/frame_#### -j 1 -a",
        ),
        ("-Y -b a.blend -s 7 -s -5 -a", "-Y -b a.blend -s 7 -s 0 -s -5 -o {out}/frame_#### -a"),
        # relative to anything is below the results folder
        ("-Y -b a.blend -o //r_ -f 1", "-Y -b a.blend -o {out}/r_ -f 1"),
        ("-Y -b a.blend -o shots/r_ -f 1", "-Y -b a.blend -o {out}/shots/r_ -f 1"),
        ("-Y -b a.blend -o // -f 1", "-Y -b a.blend -o {out}/frame_#### -f 1"),
        # formats
        ("-Y -b a.blend -F .png -f 1", "-Y -b a.blend -F PNG -o {out}/frame_#### -f 1"),
        ("-Y -b a.blend -F avijpeg -f 1", "-Y -b a.blend -F AVIJPEG -o {out}/movie_#### -f 1"),
        # order: settings in front of the file, behind the action, in front of -S
        ("-Y -b -s 2 a.blend -f 1", "-Y -b a.blend -s 2 -o {out}/frame_#### -f 1"),
        ("-Y -b a.blend -f 1 -F PNG", "-Y -b a.blend -F PNG -o {out}/frame_#### -f 1"),
        ("-Y -b a.blend -s 2 -S B -f 1", "-Y -b a.blend -S B -s 2 -o {out}/frame_#### -f 1"),
        (
            "-Y -b a.blend -f 1 -S B -f 2 -x 1",
            "-Y -b a.blend -o {out}/frame_#### -f 1 -S B -x 1 -o {out}/frame_#### -f 2",
        ),
        # scripts end Blender when they raise; a script alone may render
        (
            "-Y -b a.blend -P s.py -f 1",
            "-Y -b a.blend --python-exit-code 70 -P s.py -o {out}/frame_#### -f 1",
        ),
        (
            "-Y -b a.blend --python-exit-code 3 -P s.py -- -a x",
            "-Y -b a.blend --python-exit-code 3 -o {out}/frame_#### -P s.py -- -a x",
        ),
        # the long names
        (
            "--background -Y a.blend --frame-start 1 --frame-end 2 --render-anim",
            "--background -Y a.blend --frame-start 1 --frame-end 2 -o {out}/frame_#### -j 1 --render-anim",
        ),
    ],
)
def test_completes(given_line: str, completed: str) -> None:
    assert complete(given_line.split(), OUT) == completed.replace("{out}", OUT).split()


@pytest.mark.parametrize(
    ("line", "step", "completed", "frames"),
    [
        ("-s 1 -e 9 -a", 2, "-s 1 -e 9 -j 2 -a", "1-9x2"),
        ("-s -4 -e 8 -a", 3, "-s 0 -s -4 -e 8 -j 3 -a", "-4-8x3"),
        ("-s 7 -e 7 -a", 1, "-s 7 -e 7 -j 1 -a", "7"),
        # instead of its own one, which may stand there as it is
        ("-j 5 -s 1 -e 9 -a", 2, "-j 5 -s 1 -e 9 -j 2 -a", "1-9x2"),
        ("-j 5 -s 1 -e 9 -a", 1, "-j 5 -s 1 -e 9 -j 1 -a", "1-9"),
        ("-j 2 -s 1 -e 9 -a", 2, "-j 2 -s 1 -e 9 -a", "1-9x2"),
        ("-s 1 -e 9 -a -s 21 -e 30 -a", 3, "-s 1 -e 9 -j 3 -a -s 21 -e 30 -a", "1-7x3,21-30x3"),
        # -j means nothing to a list
        ("-f 1..9", 4, "-f 1,5,9", "1-9x4"),
        ("-f 1..9,12", 1, "-f 1..9,12", "1-9,12"),
        ("-f 3..+9", 4, "-f 3..+9", None),
        # the scene's own range has the scene's own step
        ("-a", 2, "-a", None),
    ],
)
def test_every_nth_frame(line: str, step: int, completed: str, frames: str | None) -> None:
    front = "-b -Y a.blend -o /x/f_#### "
    argv = complete((front + line).split(), OUT, step)
    assert argv == (front + completed).split()
    assert complete(argv, OUT, step) == complete(argv, OUT) == argv
    assert owes(argv, None).frames == frames


def test_a_windows_results_folder_keeps_its_separators() -> None:
    argv = complete(["-b", r"C:\t\a.blend", "-f", "1"], r"C:\t\output")
    assert r"C:\t\output\frame_####" in argv
    argv = complete(["-b", r"C:\t\a.blend", "-o", r"D:\r\x_", "-f", "1"], r"C:\t\output")
    assert r"D:\r\x_" in argv


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("-b a.blend", "neither -a"),
        ("-b -a", "no .blend file"),
        ("-b a.blend -- -a", "neither -a"),
        ("-b a.blend -f abc", "-f abc"),
        ("-b a.blend -f 1,,2", "-f 1,,2"),
        ("-b a.blend -f 5..1", "5..1 is inverted"),
        ("-b a.blend -f 1048575", "last one, 1048574"),
        ("-b a.blend -s 9 -e 1 -a", "inverted: 9 to 1"),
        ("-b a.blend -a -s 9 -e 1", "inverted: 9 to 1"),
        ("-b a.blend -s 1048575 -e 1048576 -a", "last one, 1048574"),
        ("-b a.blend -s x -a", "'x' is not a frame number"),
        ("-b a.blend -s -1048575 -a", "last one, 1048574"),
        ("-b a.blend -s -1 -e -5 -a", "inverted: -1 to -5"),
        ("-b a.blend -s", "-s needs a value"),
        ("-b a.blend -j 0 -a", "-j takes a whole number from 1"),
        ("-b a.blend -t x -a", "-t takes"),
        ("-b a.blend -F xyz -a", "PNG, JPEG"),
        ("-b a.blend -o //../x -a", "outside"),
        ("-b a.blend -o a/../../x -a", "outside"),
    ],
)
def test_refuses_with_a_sentence(line: str, says: str) -> None:
    with pytest.raises(CommandError) as caught:
        complete(line.split(), OUT)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((name, name) for name in ("PNG", "JPEG", "BMP", "HDR", "TIFF", "IRIS", "RAWTGA", "TGA")),
        *((name, name) for name in ("AVIJPEG", "AVIRAW", "FFMPEG", "OPEN_EXR", "WEBP")),
        *((f".{extension}", "JPEG") for extension in ("jpg", "jpeg", "JPG")),
        (".tif", "TIFF"),
        ("exr", "OPEN_EXR"),
        ("open_exr_multilayer", "OPEN_EXR_MULTILAYER"),
        (".rgb", "IRIS"),
        (".tga", "TGA"),
        *((f".{extension}", "FFMPEG") for extension in ("mp4", "mkv", "mov", "avi", "webm")),
    ],
)
def test_formats_by_name_and_by_extension(text: str, name: str) -> None:
    argv = complete(["-b", "a.blend", "-F", text, "-f", "1"], OUT)
    assert argv[argv.index("-F") + 1] == name


@pytest.mark.parametrize(
    ("line", "frames", "movie"),
    [
        ("-b a.blend -s 1 -e 9 -a", "1-9", False),
        ("-b a.blend -s 1 -e 9 -j 4 -a", "1-9x4", False),
        ("-b a.blend -s -9 -e -1 -j 4 -a", "-9--1x4", False),
        ("-b a.blend -f 1,3..5", "1,3-5", False),
        ("-b a.blend -s 1 -e 2 -a -f 9", "1-2,9", False),
        ("-b a.blend -s 1 -e 9 -F mp4 -a", "1-9", True),
        ("-b a.blend -F AVIRAW -f 1 -F PNG", "1", False),
        # what only the scene knows
        ("-b a.blend -a", None, False),
        ("-b a.blend -s 3 -a", None, False),
        ("-b a.blend -s +3 -e 9 -a", None, False),
        ("-b a.blend -f +2", None, False),
        ("-b a.blend -f -1", None, False),
        ("-b a.blend -f 1 -S B -a", None, False),
        ("-b a.blend -P render_it.py", None, False),
    ],
)
def test_owes(line: str, frames: str | None, movie: bool) -> None:
    owed = owes(complete(line.split(), OUT), None)
    assert (owed.frames, owed.movie) == (frames, movie)


@pytest.mark.parametrize("line", ["", "-b a.blend -s 9 -e 1 -a", "-b -s", "-b a.blend -f x..y"])
def test_owes_of_a_line_that_blender_would_refuse(line: str) -> None:
    assert owes(line.split(), "*.png").frames is None
    assert owes(line.split(), "*.png").pattern == "*.png"


WORDS = """-b,-Y,a.blend,-a,-f 1,-f 2..3,-s 1,-e 5,-s -3,--frame-start -7,-e -1,-s 0,-j 2,-S B,-F mp4,-F .png,-o //x,-o /abs/x,
-P s.py,-t 1,-x 1,-E CYCLES,-- -a"""
words = st.sampled_from(WORDS.replace("\n", "").split(","))


@example(["-P s.py", "a.blend", "-- -a"])
@example(["-P s.py", "-S B", "-- -a"])
@given(st.lists(words, max_size=8))
def test_completing_twice_changes_nothing(parts: list[str]) -> None:
    argv = " ".join(["blender a.blend", *parts, "-f 7"]).split()
    try:
        once = complete(argv, OUT)
    except CommandError:
        return
    assert complete(once, OUT) == once
    assert split(join(once)) == once
