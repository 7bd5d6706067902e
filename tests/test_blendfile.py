"""What a .blend file says of itself: files of real Blenders, of every layout, and hostile ones."""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from support.blend_bytes import Kind, Structs, blend_file
from support.processes import DEADLINE_S
from support.scenes import blender

from renderonline import blendfile
from renderonline.blendfile import UNKNOWN, BlendFacts, SceneFacts, blocks, read

KINDS = [Kind(8), Kind(4), Kind(8, ">"), Kind(4, ">"), Kind(8, is_long=True)]
SCENES = {"Day": 17, "Night": 16, "Überblick": 24}
FACTS = BlendFacts(
    (
        SceneFacts("Day", None, "PNG"),
        SceneFacts("Night", "AVIJPEG", "AVI_JPEG"),
        SceneFacts("Überblick", "FFMPEG", "FFMPEG"),
    ),
    active="Night",
    version=(2, 79),
)
PLAIN = blend_file(Kind(), SCENES, "Night")


@pytest.fixture
def told(tmp_path: Path) -> Callable[[bytes], BlendFacts]:
    """What is read of a file with this content."""

    def read_it(content: bytes) -> BlendFacts:
        file = tmp_path / "scene.blend"
        file.write_bytes(content)
        return read(file)

    return read_it


# --------------------------------------------------------------------------- real files

SAVE = """
import bpy, sys
folder = sys.argv[-1]
known = bpy.types.ImageFormatSettings.bl_rna.properties['file_format'].enum_items
for name in [item.identifier for item in known]:
    for compress in (False, True):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.context.scene.name = 'Größe'
        bpy.context.scene.render.image_settings.file_format = name
        bpy.data.scenes.new('Another').render.image_settings.file_format = 'FFMPEG'
        bpy.data.scenes.new('Bare').render.image_settings.file_format = 'TIFF'
        # more than one of the pieces that a compressed file is made of
        mesh = bpy.data.meshes.new('large')
        mesh.vertices.add(200_000)
        mesh.use_fake_user = True
        file = '%s/%s-%d.blend' % (folder, name, compress)
        bpy.ops.wm.save_as_mainfile(filepath=file, compress=compress)
"""

MOVIES = {"AVI_JPEG": "AVIJPEG", "AVI_RAW": "AVIRAW", "FFMPEG": "FFMPEG"}


every_blender = pytest.mark.parametrize("which", ["blender", "bpy"])


def run(which: str, script: str, target: Path) -> tuple[int, int]:
    """Run a script in a real Blender; the Blender's version."""
    programs = {
        "blender": [blender(), "-b", "--factory-startup", "--python-expr"],
        "bpy": [sys.executable, "-c"],
    }
    said = "\nprint('version', *bpy.app.version[:2])"
    done = subprocess.run(
        [*programs[which], script + said, "--", str(target)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    found = re.search(r"version (\d+) (\d+)", done.stdout)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return int(found[1]), int(found[2])


@every_blender
def test_every_format_that_a_real_blender_saves_is_told(which: str, tmp_path: Path) -> None:
    version = run(which, SAVE, tmp_path)
    files = sorted(tmp_path.glob("*.blend"))
    assert len(files) >= 20
    for file in files:
        facts = read(file)
        name = file.stem.rpartition("-")[0]
        movie = MOVIES.get(name)
        assert facts.active == "Größe", file.name
        scene = facts.scene()
        assert scene == facts.scene("Größe")
        assert scene is not None and (scene.movie, scene.file_format) == (movie, name), file.name
        assert [(s.name, s.movie) for s in facts.scenes if s != scene] == [
            ("Another", "FFMPEG"),
            ("Bare", None),
        ]
        assert facts.scene("Nowhere") is None
        assert facts.version == version


DESCRIBED = """
import bpy, sys
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.name, render = 'Größe', scene.render
scene.frame_start, scene.frame_end, scene.frame_step = 3, 120, 4
render.resolution_x, render.resolution_y, render.resolution_percentage = 1920, 1080, 50
render.engine, render.image_settings.file_format = 'CYCLES', 'OPEN_EXR'
render.fps, render.fps_base = 24000, 1001
other = bpy.data.scenes.new('Seen')
other.render.engine = 'BLENDER_WORKBENCH'
other.camera = bpy.data.objects.new('Camera', bpy.data.cameras.new('Camera'))
marked = bpy.data.scenes.new('Marked')
marked.timeline_markers.new('Cut').camera = other.camera
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"""


@every_blender
def test_a_scene_says_what_is_to_be_rendered(which: str, tmp_path: Path) -> None:
    run(which, DESCRIBED, tmp_path / "described.blend")
    facts = read(tmp_path / "described.blend")
    scene = facts.scene()
    assert scene == SceneFacts(
        "Größe",
        *(None, "OPEN_EXR", 3, 120, 4, 1920, 1080, 50, "CYCLES"),
        has_camera=False,
        fps=scene.fps if scene else None,
    )
    assert scene.fps is not None and abs(scene.fps - 23.976) < 0.001
    assert scene.size_px == (960, 540)
    seen, marked = facts.scene("Seen"), facts.scene("Marked")
    assert seen is not None and (seen.has_camera, seen.engine) == (True, "BLENDER_WORKBENCH")
    assert marked is not None and marked.has_camera is not False


# --------------------------------------------------------------------------- every layout


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_layout_is_read(told: Callable[[bytes], BlendFacts], kind: Kind) -> None:
    version = (5, 0) if kind.is_long else (2, 79)
    assert told(blend_file(kind, SCENES, "Night")) == replace(FACTS, version=version)


def pieces(content: bytes) -> bytes:
    """Packed as Blender does: in frames of their own, with a table behind them."""
    packed = [zstandard.compress(content[at : at + 100]) for at in range(0, len(content), 100)]
    return b"".join(packed) + struct.pack("<II", 0x184D2A5E, 8) + bytes(8)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, pieces])
def test_compressed_files_are_read(
    told: Callable[[bytes], BlendFacts], pack: Callable[[bytes], bytes]
) -> None:
    assert told(pack(PLAIN)) == FACTS
    assert told(pack(PLAIN)[:-200]) == UNKNOWN


def test_without_the_library_compressed_files_are_unknown(
    told: Callable[[bytes], BlendFacts], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "zstandard", None)
    assert told(zstandard.compress(PLAIN)) == UNKNOWN
    assert told(PLAIN) == FACTS


def test_an_active_scene_that_is_not_there_is_none(told: Callable[[bytes], BlendFacts]) -> None:
    facts = told(blend_file(Kind(), SCENES, "gone"))
    assert (facts.scenes, facts.active, facts.scene()) == (FACTS.scenes, None, None)


# --------------------------------------------------------------------------- hostile ones


@pytest.mark.parametrize("name", ["none.blend", ".", "nul\0.blend"])
def test_what_is_no_file_is_unknown(tmp_path: Path, name: str) -> None:
    assert read(tmp_path / name) == UNKNOWN


def hostile() -> Iterator[bytes]:
    """Files that would keep a trusting reader busy for ever, or eat its memory."""
    kind = Kind()
    for size in (-1, -24, -(2**31), 2**31 - 1, 10**9):
        for code in (b"DATA", b"SC\0\0", b"GLOB", b"DNA1"):
            yield kind.start + kind.block(code, b"", size=size) + PLAIN[12:]
            yield kind.start + kind.block(code, b"", size=size)
    for size in (-(2**63), 2**63 - 1, -32):
        long = Kind(is_long=True)
        yield long.start + long.block(b"DATA", b"", size=size)
    for mark in (b"NAME", b"TYPE", b"STRC"):
        for count in (2**32 - 1, 2**31, 10**6, 0):
            yield blend_file(kind, SCENES, "Night", Structs(kind, {mark: count}).block())
    yield blend_file(kind, SCENES, "Night", b"")
    yield blend_file(kind, SCENES, "Night", kind.block(b"DNA1", b""))
    yield blend_file(kind, SCENES, "Night", kind.block(b"DNA1", b"SDNANAME" + b"\xff" * 900_000))
    yield blend_file(kind, SCENES, "Night", more=kind.block(b"SC\0\0", b"") * 5000)
    yield gzip.compress(PLAIN + bytes(300 << 20))[:-1]
    bomb = kind.start + kind.block(b"DATA", b"", size=2**31 - 1) + bytes(400 << 20)
    yield zstandard.compress(bomb)
    yield gzip.compress(bomb, 1)


def test_hostile_files_are_unknown_and_cost_little(told: Callable[[bytes], BlendFacts]) -> None:
    began = time.process_time()
    for content in hostile():
        if len(content) > 1 << 20 or content[:2] == b"\x1f\x8b":
            assert told(content).scene("Night") in (None, FACTS.scene("Night"))
        else:
            assert told(content) in (UNKNOWN, FACTS)
    assert time.process_time() - began < DEADLINE_S


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("*other[2]", "*x[999999999][999999999]"),  # in front of what is looked for
        ("*other[2]", "*x" + "[9]" * 5000),
        ("pad[7]", "x" * 5000),  # behind it
    ],
)
def test_a_field_of_a_huge_size_or_name_is_not_calculated_with(
    told: Callable[[bytes], BlendFacts], field: str, name: str
) -> None:
    structs = Structs(renamed={field: name})
    assert told(blend_file(Kind(), SCENES, "Night", structs.block())) == UNKNOWN


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[-1]], ids=str)
def test_a_file_cut_off_anywhere_is_unknown(
    told: Callable[[bytes], BlendFacts], kind: Kind
) -> None:
    whole = blend_file(kind, SCENES, "Night")
    end = whole.rindex(b"ENDB") + 4
    for length in range(0, end, 7):
        assert told(whole[:length]) == UNKNOWN, length


def test_a_wrong_byte_anywhere_does_no_harm(told: Callable[[bytes], BlendFacts]) -> None:
    for at in range(0, len(PLAIN), 3):
        for value in (0, 0x7F, 0xFF):
            facts = told(PLAIN[:at] + bytes([value]) + PLAIN[at + 1 :])
            assert len(facts.scenes) <= len(SCENES)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_do_no_harm(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.blend"
    for start in (b"", *(kind.start for kind in KINDS)):
        file.write_bytes(start + content)
        assert read(file) == UNKNOWN


def test_a_huge_file_costs_no_memory(tmp_path: Path) -> None:
    """Its images and meshes are stepped over, not read: here a hole of a gigabyte."""
    kind, hole = Kind(), 1 << 30
    with (tmp_path / "huge.blend").open("wb") as file:
        file.write(kind.start + kind.block(b"DATA", b"", size=hole))
        file.seek(hole, 1)
        file.write(PLAIN[12:])
    tracemalloc.start()
    try:
        assert read(tmp_path / "huge.blend") == FACTS
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_the_size_of_frames_is_known_unless_they_are_cropped(tmp_path: Path) -> None:
    script = (
        "import bpy, sys; r = bpy.context.scene.render; r.resolution_x, r.resolution_y = 640, 360; "
        "r.resolution_percentage = 50; exec(sys.argv[-1]); "
        "bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-2])"
    )
    changes = {
        "plain": ("pass", (320, 180)),
        "border": ("r.use_border = True", (320, 180)),
        "crop": ("r.use_border = r.use_crop_to_border = True", None),
        "eyes": ("r.use_multiview = True", None),
    }
    for name, (change, expected) in changes.items():
        file = tmp_path / f"{name}.blend"
        command = [blender(), "-b", "--factory-startup", "--python-exit-code", "7"]
        command += ["--python-expr", script, "--", str(file), change]
        subprocess.run(command, check=True, capture_output=True)
        scene = blendfile.read(file).scene()
        assert scene is not None
        assert scene.frame_size_px == expected, name
