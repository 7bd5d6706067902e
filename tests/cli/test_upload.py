"""The body of an enqueue: whole, of the length it announces, and never all in memory."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bottle
import multipart
import pytest
import requests

from renderonline.client.upload import PIECE_BYTES, EnqueueBody, Unreadable

REQUEST = b'{"EngineId":"1"}'


def parts_of(body: bytes, content_type: str) -> dict[str, tuple[str | None, bytes]]:
    """The parts of a body by name, as a strict parser reads them: (file name, content)."""
    _, options = multipart.parse_options_header(content_type)
    parser = multipart.PushMultipartParser(
        options["boundary"], content_length=len(body), strict=True
    )
    parts: dict[str, tuple[str | None, bytes]] = {}
    with parser:
        for event in [*parser.parse(body), *parser.parse(b"")]:
            if isinstance(event, multipart.MultipartSegment):
                name, parts[event.name] = event.name, (event.filename, b"")
            elif event:
                parts[name] = (parts[name][0], parts[name][1] + bytes(event))
    return parts


@pytest.mark.parametrize("size_bytes", [1, PIECE_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 7])
def test_a_body_holds_the_request_and_the_file(tmp_path: Path, size_bytes: int) -> None:
    project = tmp_path / "scene.blend"
    project.write_bytes((b"\r\n--x" * size_bytes)[:size_bytes])
    body = EnqueueBody(project, REQUEST)
    sent = b"".join(body)
    assert len(sent) == body.len
    assert parts_of(sent, body.content_type) == {
        "request": (None, REQUEST),
        "file": ("scene.blend", project.read_bytes()),
    }


@pytest.mark.parametrize("name", ["Löwe №1.blend", "two words.blend", "100%.blend", "a#b?.blend"])
def test_names_arrive_as_they_are(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"BLENDER")
    body = EnqueueBody(tmp_path / name, REQUEST)
    assert parts_of(b"".join(body), body.content_type)["file"] == (name, b"BLENDER")


def test_a_quote_or_a_line_break_in_a_name_cannot_end_the_header(tmp_path: Path) -> None:
    project = tmp_path / 'a"\r\nX: y.blend'
    project.write_bytes(b"BLENDER")
    sent = b"".join(EnqueueBody(project, REQUEST))
    assert b'filename="a%22%0D%0AX: y.blend"\r\n' in sent


def test_a_large_project_takes_little_memory_and_reports_each_piece(tmp_path: Path) -> None:
    project = tmp_path / "large.blend"
    size_bytes = 128 * PIECE_BYTES
    with project.open("wb") as file:
        file.truncate(size_bytes)
    told: list[tuple[int, int | None]] = []
    body = EnqueueBody(project, REQUEST, lambda done, total: told.append((done, total)))
    tracemalloc.start()
    try:
        assert sum(map(len, body)) == body.len
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * PIECE_BYTES
    assert [done for done, _ in told] == [n * PIECE_BYTES for n in range(1, 129)]
    assert {total for _, total in told} == {size_bytes}


def test_requests_sends_it_with_its_length_and_not_chunked(
    tmp_path: Path, serve: Callable[..., str]
) -> None:
    project = tmp_path / "scene.blend"
    project.write_bytes(bytes(range(256)) * 40_000)
    seen: dict[str, Any] = {}
    app = bottle.Bottle()

    @app.post("/renderapi/v1/enqueue")
    def _enqueue() -> str:
        environ = bottle.request.environ
        seen["length"] = environ.get("CONTENT_LENGTH")
        seen["encoding"] = environ.get("HTTP_TRANSFER_ENCODING")
        seen["digest"] = hashlib.sha256(environ["wsgi.input"].read()).hexdigest()
        return "{}"

    body = EnqueueBody(project, REQUEST)
    url = f"{serve(app)}/renderapi/v1/enqueue"
    requests.post(url, data=body, headers={"Content-Type": body.content_type}, timeout=60)
    assert seen["length"] == str(body.len)
    assert seen["encoding"] is None
    assert seen["digest"] == hashlib.sha256(b"".join(body)).hexdigest()


def test_a_file_that_grew_is_sent_as_long_as_it_was(tmp_path: Path) -> None:
    project = tmp_path / "scene.blend"
    project.write_bytes(b"BLENDER")
    body = EnqueueBody(project, REQUEST)
    project.write_bytes(b"BLENDER and more")
    sent = b"".join(body)
    assert len(sent) == body.len
    assert parts_of(sent, body.content_type)["file"][1] == b"BLENDER"


@pytest.mark.parametrize("change", [lambda file: file.write_bytes(b"B"), Path.unlink])
def test_a_file_that_shrank_or_went_is_a_sentence(
    tmp_path: Path, change: Callable[[Path], Any]
) -> None:
    project = tmp_path / "scene.blend"
    project.write_bytes(b"BLENDER")
    body = EnqueueBody(project, REQUEST)
    change(project)
    with pytest.raises(Unreadable, match=r"scene\.blend"):
        b"".join(body)
