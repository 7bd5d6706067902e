"""Small pictures of frames: of every kind that can be shown, and of what must do no harm."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import psutil
import pytest
import requests
from PIL import Image
from support.waiting import wait_until

from renderonline import thumbnailer
from renderonline.api.storage import thumbnails, trees
from renderonline.api.storage.thumbnails import Busy, Thumbnailer

from .house import House

SIZE = (640, 360)
ORANGE = (250, 120, 10)


def orange(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new("RGBA", size, (*ORANGE, 255)).convert(mode)


def saved(image: Image.Image, file: Path, **options: Any) -> None:
    image.save(file, **options)


def exr(file: Path, compression: int = OpenEXR.ZIP_COMPRESSION, prefix: str = "") -> None:
    """An orange one, in linear light, and beside it a channel that is none of a picture."""
    linear = [(value / 255) ** 2.2 for value in ORANGE]
    shape = (SIZE[1], SIZE[0])
    channels = {
        f"{prefix}{band}": np.full(shape, value, dtype=np.float16)
        for band, value in zip("RGB", linear, strict=True)
    }
    channels["Depth.Z"] = np.full(shape, 1e10, dtype=np.float32)
    header = {"compression": compression, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(file))


def write(house: House, name: str, content: bytes | Callable[[Path], None]) -> int:
    """A task with one result; its id."""
    task_id = house.task(arguments={"start_frame": "1", "end_frame": "9"})
    file = house.task_dir(task_id) / "output" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content) if isinstance(content, bytes) else content(file)
    return task_id


def thumbnail(house: House, task_id: int, query: str = "", **options: Any) -> requests.Response:
    return house.request("GET", f"tasks/{task_id}/frames/1/thumbnail{query}", **options)


def picture(answer: requests.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    image = Image.open(io.BytesIO(answer.content))
    assert answer.headers["Content-Type"] == f"image/{(image.format or '').lower()}"
    return image


def assert_orange(image: Image.Image) -> None:
    seen = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    assert isinstance(seen, tuple)
    assert all(abs(a - b) < 12 for a, b in zip(seen, ORANGE, strict=True)), seen


# --------------------------------------------------------------------------- what can be shown


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("0001.png", {}),
        ("0001.jpg", {}),
        ("0001.webp", {"lossless": True}),
        ("0001.bmp", {}),
        ("0001.tif", {"compression": "tiff_lzw"}),
        ("0001.tga", {}),
        ("0001.rgb", {"format": "SGI"}),
        ("0001.jp2", {}),
    ],
)
def test_what_pillow_reads(house: House, name: str, options: dict[str, Any]) -> None:
    image = picture(thumbnail(house, write(house, name, lambda f: saved(orange(), f, **options))))
    assert image.size == (256, 144)
    assert_orange(image)


@pytest.mark.parametrize(
    ("compression", "prefix"),
    [
        (OpenEXR.ZIP_COMPRESSION, ""),
        (OpenEXR.NO_COMPRESSION, ""),
        (OpenEXR.PIZ_COMPRESSION, ""),
        (OpenEXR.DWAA_COMPRESSION, ""),
        (OpenEXR.ZIP_COMPRESSION, "ViewLayer.Combined."),
    ],
)
def test_open_exr(house: House, compression: int, prefix: str) -> None:
    task_id = write(house, "0001.exr", lambda file: exr(file, compression, prefix))
    image = picture(thumbnail(house, task_id))
    assert image.size == (256, 144)
    assert_orange(image)


def test_an_exr_of_one_channel_and_of_numbers_that_are_none(house: House) -> None:
    depth = np.full((100, 100), np.nan, dtype=np.float32)
    depth[:50] = np.inf

    def write_depth(file: Path) -> None:
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"Z": depth}).write(str(file))

    image = picture(thumbnail(house, write(house, "0001.exr", write_depth)))
    assert (image.mode, image.getextrema()) == ("L", (0, 255))


def test_what_can_be_seen_through_stays_so(house: House) -> None:
    see_through = Image.new("RGBA", SIZE, (*ORANGE, 100))
    image = picture(thumbnail(house, write(house, "0001.png", lambda f: saved(see_through, f))))
    assert (image.format, image.mode) == ("PNG", "RGBA")
    solid = picture(thumbnail(house, write(house, "0001.png", lambda f: saved(orange("RGBA"), f))))
    assert solid.format == "JPEG"


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "I;16"])
def test_other_modes(house: House, mode: str) -> None:
    image = Image.new(mode, (64, 64), 40_000 if mode == "I;16" else None)
    shown = picture(thumbnail(house, write(house, "0001.png", lambda f: saved(image, f))))
    assert shown.size == (64, 64), "what is small is not made larger"
    if mode == "I;16":
        assert shown.getpixel((1, 1)) == pytest.approx(156, abs=3)


def test_a_width(house: House) -> None:
    task_id = write(house, "0001.png", lambda f: saved(orange(), f))
    assert picture(thumbnail(house, task_id, "?width=64")).width == 64
    for width in ("15", "1025", "x", "-1"):
        assert thumbnail(house, task_id, f"?width={width}").status_code == 400


def test_a_frame_is_shown_and_not_a_pass_of_it(house: House) -> None:
    task_id = write(house, "0001.exr", exr)
    depth = house.task_dir(task_id) / "output" / "depth"
    depth.mkdir()
    saved(Image.new("RGB", SIZE, "blue"), depth / "0001.png")
    assert_orange(picture(thumbnail(house, task_id)))


def test_of_several_files_the_one_that_is_opened_quickest(house: House) -> None:
    task_id = write(house, "a/0001.exr", lambda f: exr(f))
    saved(Image.new("RGB", SIZE, "blue"), house.task_dir(task_id) / "output" / "z_0001.png")
    (house.task_dir(task_id) / "output" / "0001.txt").write_text("no picture")
    seen = picture(thumbnail(house, task_id)).convert("RGB").getpixel((9, 9))
    assert isinstance(seen, tuple) and seen[2] > 240


def test_it_is_known_by_its_file(house: House) -> None:
    task_id = write(house, "0001.png", lambda f: saved(orange(), f))
    first = thumbnail(house, task_id)
    known = {"If-None-Match": first.headers["ETag"]}
    assert thumbnail(house, task_id, headers=known).status_code == 304
    assert thumbnail(house, task_id, "?width=64", headers=known).status_code == 200
    saved(Image.new("RGB", SIZE, "blue"), house.task_dir(task_id) / "output" / "0001.png")
    again = thumbnail(house, task_id, headers=known)
    assert (again.status_code, again.content != first.content) == (200, True)
    head = house.request("HEAD", f"tasks/{task_id}/frames/1/thumbnail")
    assert (head.status_code, head.content) == (200, b"")


def test_only_its_owner_and_an_admin_see_it(house: House) -> None:
    task_id = write(house, "0001.png", lambda f: saved(orange(), f))
    assert thumbnail(house, task_id, person=house.people["other"]).status_code == 404
    assert thumbnail(house, task_id, person=house.people["admin"]).status_code == 200


# --------------------------------------------------------------------------- what cannot


def png_that_claims(columns: int, lines: int) -> bytes:
    """A PNG that unfolds to whatever it says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", columns, lines, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(10_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", head), chunk(b"IDAT", packed), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("0001.png", b"", "no picture that can be shown"),
        ("0001.png", b"no picture at all", "no picture that can be shown"),
        ("0001.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
        ("0001.png", b"\x89PNG\r\n\x1a\n" + b"\xff" * 1000, "be shown|read as a picture"),
        ("0001.png", png_that_claims(100_000, 100_000), "100000 × 100000 pixels"),
        ("0001.png", png_that_claims(9_000, 9_000), "be shown|read as a picture"),
        ("0001.exr", b"\x76\x2f\x31\x01" + os.urandom(5000), "be shown|read as a picture"),
        ("0001.exr", b"", "read as a picture"),
        ("0001.mp4", b"a movie", "no picture that can be shown; those are png"),
        ("0001.hdr", b"#?RADIANCE", "those are png"),
    ],
)
def test_what_is_no_picture_is_415_and_a_sentence(
    house: House, name: str, content: bytes, says: str
) -> None:
    answer = thumbnail(house, write(house, name, content))
    assert (answer.status_code, answer.json()["Error"]) == (415, "no_thumbnail")
    assert re.search(says, answer.json()["ErrorMessage"]), answer.text
    assert name in answer.json()["ErrorMessage"]


def test_a_frame_without_files(house: House) -> None:
    answer = thumbnail(house, house.task())
    assert (answer.status_code, answer.json()["Error"]) == (404, "no_such_file")


def test_no_link_is_opened(house: House) -> None:
    task_id = write(house, "0002.png", lambda f: saved(orange(), f))
    secret = house.folder / "secret.png"
    saved(orange(), secret)
    (house.task_dir(task_id) / "output" / "0001.png").symlink_to(secret)
    assert thumbnail(house, task_id).status_code == 404


def test_a_decoder_that_died_is_started_again(house: House) -> None:
    task_id = write(house, "0001.png", lambda f: saved(orange(), f))
    picture(thumbnail(house, task_id, "?width=100"))
    (decoder,) = [
        child
        for child in psutil.Process(house.service.pid).children()
        if "renderonline.thumbnailer" in child.cmdline()
    ]
    decoder.kill()
    wait_until(lambda: decoder.status() == psutil.STATUS_ZOMBIE, "it is dead")
    picture(thumbnail(house, task_id, "?width=101"))


# --------------------------------------------------------------------------- its process


@pytest.fixture
def entry(tmp_path: Path) -> trees.Entry:
    saved(orange(), tmp_path / "0001.png")
    (found,) = trees.entries(tmp_path)
    return found


@pytest.fixture
def script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Thumbnailer]]:
    """A thumbnailer whose process is a Python script."""
    made: list[Thumbnailer] = []

    def start(source: str, timeout_s: float = 100.0) -> Thumbnailer:
        made.append(Thumbnailer([sys.executable, "-c", source], timeout_s))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.mark.parametrize(
    "source",
    [
        "",
        "import os, sys; sys.stdin.readline(); os.abort()",
        "import sys; sys.stdin.readline(); print('no JSON', flush=True); sys.stdin.read()",
        'import sys; sys.stdin.readline(); print(\'{"Type": "x", "Size": 9}\')',
        "import sys; sys.stdin.readline(); print('[]')",
    ],
)
def test_one_that_crashes_or_talks_nonsense(
    source: str, script: Callable[..., Thumbnailer], entry: trees.Entry
) -> None:
    made = script(source).make(entry, 100)
    assert made.error is not None and "crashed" in made.error


def test_one_that_hangs_is_ended(script: Callable[..., Thumbnailer], entry: trees.Entry) -> None:
    hanging = script("import time; time.sleep(1000)", timeout_s=0.3)
    made = hanging.make(entry, 100)
    assert made.error is not None and "took too long" in made.error
    assert hanging.make(entry, 100) is made, "it is not tried again and again"


def test_who_would_wait_behind_too_many_is_sent_away(
    script: Callable[..., Thumbnailer], tmp_path: Path
) -> None:
    for number in range(thumbnails.MAX_WAITING + 1):
        saved(orange(), tmp_path / f"{number}.png")
    *first, last = trees.entries(tmp_path)
    slow = script(
        "import os, sys, time\n"
        "for line in sys.stdin:\n"
        f"    while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)\n"
        '    print(\'{"Error": "is none."}\', flush=True)'
    )
    threads = [threading.Thread(target=slow.make, args=(entry, 100)) for entry in first]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: slow.waiting == thumbnails.MAX_WAITING, "all of them wait")
        with pytest.raises(Busy):
            slow.make(last, 100)
    finally:
        (tmp_path / "go").touch()
        for thread in threads:
            thread.join()
    assert slow.make(last, 100).error == "is none."


def test_a_server_without_open_exr_says_so(
    script: Callable[..., Thumbnailer], tmp_path: Path
) -> None:
    exr(tmp_path / "0001.exr")
    (entry,) = trees.entries(tmp_path)
    source = (
        "import sys; sys.modules['OpenEXR'] = None\n"
        "from renderonline import thumbnailer; thumbnailer.main()"
    )
    made = script(source).make(entry, 100)
    assert made.error is not None and "extra `exr`" in made.error


def test_a_file_that_took_the_place_of_another_is_not_opened(entry: trees.Entry) -> None:
    """Between the api's look and the process's: it may be a link by now."""
    status = entry.path.stat()
    request = {"Path": str(entry.path), "Device": status.st_dev, "Width": 100}
    answers = io.BytesIO()
    lines = [json.dumps({**request, "Inode": status.st_ino + n}).encode() for n in (0, 1)]
    thumbnailer.serve(lines, answers)
    first, _, rest = answers.getvalue().partition(b"\n")
    assert "Error" not in json.loads(first)
    assert json.loads(rest[json.loads(first)["Size"] :]) == {"Error": "has just been replaced."}


def test_what_is_kept_is_bounded(
    entry: trees.Entry, script: Callable[..., Thumbnailer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "MAX_KEPT_BYTES", 3000)
    made = script("from renderonline import thumbnailer; thumbnailer.main()")
    for width in range(100, 120):
        assert made.make(entry, width).error is None
    assert made._kept_bytes <= 3000
    assert 0 < len(made._kept) < 20


def test_log_stayed_quiet(house: House) -> None:
    house.assert_quiet()
