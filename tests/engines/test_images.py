"""What counts as a whole image: real files of each format, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from renderonline.engines.images import fault

FORMATS = ["png", "jpg", "bmp", "tif", "tga", "rgb", "webp"]


@pytest.mark.parametrize("extension", FORMATS)
def test_whole_and_cut_off(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    Image.effect_noise((64, 64), 80).convert("RGB").save(path)
    assert fault(path) is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert fault(path) is not None


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.png", b"", "is empty"),
        ("a.mp4", b"", "is empty"),
        ("a.png", b"no image at all", "is not an image"),
        ("a.exr", b"no image at all", "is not an image"),
        ("a.exr", b"\x76\x2f\x31\x01rest", "is cut off or damaged"),
        ("a.dpx", b"XPDS" + b"\0" * 12 + b"\x18\0\0\0" + b"\0" * 4, None),
        ("a.dpx", b"XPDS" + b"\0" * 12 + b"\x19\0\0\0" + b"\0" * 4, "is cut off or damaged"),
        ("a.dpx", b"SDPX" + b"\0" * 12 + b"\xff\xff\xff\xff" + b"\0" * 4, None),
        ("a.dpx", b"SDPX" + b"\0" * 12, "is cut off or damaged"),
        ("a.cin", b"\x80\x2a\x5f\xd7" + b"\0" * 16 + b"\0\0\0\x19", "is cut off or damaged"),
        ("a.hdr", b"#?RADIANCE\n", None),
        ("a.mp4", b"whatever", None),
    ],
)
def test_by_content(tmp_path: Path, name: str, content: bytes, says: str | None) -> None:
    (tmp_path / name).write_bytes(content)
    assert fault(tmp_path / name) == says


def test_absent_and_unreadable(tmp_path: Path) -> None:
    assert fault(tmp_path / "absent.png") == "is not there"
    (tmp_path / "folder.png").mkdir()
    assert "cannot be read" in (fault(tmp_path / "folder.png") or "")


def test_a_picture_too_large_for_pillow_counts_as_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (64, 64)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert fault(path) is None
