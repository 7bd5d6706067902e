"""OpenEXR files as the real bpy writes them, with each compression: whole, and cut off anywhere."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from renderonline.engines import exr

from .conftest import DEADLINE_S

CODECS = ["NONE", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "DWAA", "DWAB"]

WRITE = """
import sys
import bpy
folder, codecs = sys.argv[-2:]
scene = bpy.context.scene
scene.render.resolution_x, scene.render.resolution_y = 20, 70  # no multiple of the lines of a piece
settings = scene.render.image_settings
image = bpy.data.images.new('noise', 20, 70, float_buffer=True)
image.pixels = [(i * 7919 % 1009) / 1009 for i in range(20 * 70 * 4)]
settings.file_format = 'OPEN_EXR'
for codec in codecs.split(','):
    settings.exr_codec = codec
    image.save_render(f'{folder}/{codec}.exr', scene=scene)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("exr")
    command = [sys.executable, "-c", WRITE, str(folder), ",".join(CODECS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return sorted(folder.glob("*.exr"))


def test_whole_files_of_each_compression(files: list[Path]) -> None:
    assert {file.stem for file in files} == set(CODECS)
    for file in files:
        exr.check(file)


def test_a_file_that_is_cut_off_anywhere(files: list[Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.exr"
    for file in files:
        content = file.read_bytes()
        for length in (0, 4, 8, 20, 100, len(content) // 2, len(content) - 1):
            cut.write_bytes(content[:length])
            with pytest.raises(exr.Damaged):
                exr.check(cut)


def test_a_file_whose_table_was_never_written(files: list[Path], tmp_path: Path) -> None:
    """What is left when the process dies between its pixels and the end."""
    file = next(file for file in files if file.stem == "NONE")
    content = bytearray(file.read_bytes())
    rows = 70
    first = next(
        at
        for at in range(len(content) - 8)
        if struct.unpack_from("<Q", content, at)[0] == at + rows * 8
    )
    content[first : first + rows * 8] = b"\0" * (rows * 8)
    file = tmp_path / "unfinished.exr"
    file.write_bytes(content)
    with pytest.raises(exr.Damaged, match="pieces are missing"):
        exr.check(file)
