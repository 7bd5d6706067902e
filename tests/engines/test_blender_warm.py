"""Which of Blender's command lines can be rendered chunk after chunk in one process, and how."""

from __future__ import annotations

import json

import pytest

from renderonline import engines
from renderonline.engines.blender_command import complete
from renderonline.engines.commandline import split
from renderonline.engines.session import ENDED, FrameSpan, Session, exit_code_in

BLENDER, BPY = engines.by_name("blender"), engines.by_name("bpy")


def session(line: str, executable: str = "/opt/blender") -> Session | None:
    return BLENDER.session(BLENDER.command(executable, complete(split(line), "/farm/out")))


@pytest.mark.parametrize(
    ("line", "spans"),
    [
        ("blender -b a.blend -s 1 -e 9 -a", [(1, 9, 1)]),
        ("-b a.blend -s 4 -e 4 -a", [(4, 4, 1)]),
        ("-b a.blend -j 2 -s 1 -e 9 -a", [(1, 9, 2)]),
        ("-b a.blend -S Other -s 1 -e 9 -a", [(1, 9, 1)]),
        ("-b a.blend -a -s 1 -e 9 -F .exr", [(1, 9, 1)]),
        ("-b a.blend -P setup.py -t 2 -s 1 -e 9 -a -- --own -s", [(1, 9, 1)]),
        ("-b a.blend -P setup.py -f 7", [(7, 7, 1)]),
        ("-b a.blend -f 1,3..5", [(1, 1, 1), (3, 5, 1)]),
    ],
)
def test_what_a_chunk_asks_for(line: str, spans: list[tuple[int, int, int]]) -> None:
    found = session(line)
    assert found is not None
    assert found.spans == tuple(FrameSpan(*span) for span in spans)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("-b a.blend -a", "the scene's own range is one chunk"),
        ("-b a.blend -s 1 -a", "so is a half of it"),
        ("-b a.blend -s +1 -e 9 -a", "relative to a range that may have changed"),
        ("-b a.blend -f -1", "likewise"),
        ("-b a.blend -f 1 -f 2", "two render calls, and what is between them"),
        ("-b a.blend -f 1 -S B -s 1 -e 2 -a", "likewise"),
        ("-b a.blend -s 1 -e 9 -F .mp4 -a", "a movie is one chunk"),
        ("-b a.blend -P render.py", "only the script knows what it renders"),
        ("-b a.blend -s 1 -e 9 -P reads.py -a", "the script may read the range"),
        ("-b a.blend -s 1 -e 9 -a -P after.py", "the script runs when all is rendered"),
        ("-b a.blend b.blend -f 1", "two projects"),
        (f"-b a.blend -f {','.join(map(str, range(1, 200, 2)))}", "too long for the pipe"),
    ],
)
def test_what_is_rendered_cold(line: str, why: str) -> None:
    assert session(line) is None, why


@pytest.mark.parametrize(
    "line", ["", "-f", "-b a.blend -s 1 -e 9 -j x -a", "-b a.blend -s 9 -e 1 -a"]
)
def test_a_line_that_blender_would_refuse_is_left_to_it(line: str) -> None:
    assert BLENDER.session(["/opt/blender", *split(line)]) is None


def test_a_batch_file_gets_no_line_ends() -> None:
    assert session("-b a.blend -f 1", r"C:\tools\Blender.CMD") is None
    assert session("-b a.blend -f 1", r"C:\tools\blender.exe") is not None


def test_a_generic_renderer_is_always_cold() -> None:
    line = ["/opt/povray", "-b", "a.blend", "-s", "1", "-e", "9", "-a"]
    assert engines.by_name("generic").session(line) is None


def test_chunks_of_a_task_share_a_command_and_others_do_not() -> None:
    template = "-b a.blend -o {out}_#### -F {format} -s {first} -e {last} -j {step} -a -- {own}"

    def command(**different: str) -> tuple[str, ...]:
        values = {
            "out": "/o/f",
            "format": "PNG",
            "first": "1",
            "last": "4",
            "step": "1",
            "own": "x",
        }
        found = session(template.format(**{**values, **different}))
        assert found is not None
        return found.command

    assert command() == command(first="5", last="8") == command(step="3")
    for other in ({"out": "/p/f"}, {"format": "JPEG"}, {"own": "y"}):
        assert command() != command(**other)
    with_scenes_step = BLENDER.session(["/b", *split("-b a.blend -s 1 -e 4 -a")])
    assert with_scenes_step is not None
    assert with_scenes_step.spans == (FrameSpan(1, 4, None),)


def test_the_templates_arguments_keep_their_order() -> None:
    found = session("-t 1 a.blend -P s.py -x 1 -s 1 -e 9 -a -- tail")
    assert found is not None
    program, before, stdin, *kept = found.command
    assert (program, before) == ("/opt/blender", "--python-expr")
    assert "os.devnull" in stdin
    assert kept[:-6] == split(
        "-b -Y -t 1 a.blend --python-exit-code 70 -P s.py -x 1 -o /farm/out/frame_####"
    )
    assert kept[-6:-3] == ["--python-exit-code", "71", "--python-expr"]
    assert "bpy.ops.render.render(animation=True)" in kept[-3]
    assert kept[-2:] == ["--", "tail"]
    assert found.files == ("a.blend", "s.py")


def test_bpy_is_asked_the_same() -> None:
    arguments = complete(split("-b a.blend -s 1 -e 9 -a"), "/farm/out")
    found = BPY.session(BPY.command("/venv/python", arguments))
    same = session("-b a.blend -s 1 -e 9 -a")
    assert found is not None and same is not None
    assert found.command[:2] == ("/venv/python", "-u")
    assert found.command[3:] == same.command[1:]
    assert found.spans == same.spans


def test_a_request_is_one_line() -> None:
    asked = Session(("b",), (), (FrameSpan(1, 9, 2), FrameSpan(12, 12)))
    line = asked.request("t0ken")
    assert json.loads(line) == {"token": "t0ken", "spans": [[1, 9, 2], [12, 12, None]]}
    assert "\n" not in line


@pytest.mark.parametrize(
    ("line", "exit_code"),
    [
        (ENDED.format(token="t1") + "0", 0),
        (ENDED.format(token="t1") + "70", 70),
        ("Fra:1 Mem:9." + ENDED.format(token="t1") + "1", 1),
        (ENDED.format(token="t2") + "0", None),
        (ENDED.format(token="t1"), None),
        (ENDED.format(token="t1") + "0 or so", None),
        ("Blender quit", None),
    ],
)
def test_only_the_answer_with_its_token_ends_a_chunk(line: str, exit_code: int | None) -> None:
    assert exit_code_in(line, "t1") == exit_code
