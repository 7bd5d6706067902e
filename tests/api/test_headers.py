"""Headers that are not text: one byte that is no UTF-8 is an answer to its sender, not a mistake."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import multipart
from support.processes import DEADLINE_S, Service, end_all, write_config

from .house import FRAMES, House

NO_TEXT = b"\xe4"

MULTIPART = {"Content-Type": b"multipart/form-data; boundary=x"}
JSON = {"Content-Type": b"application/json"}


def ask(port: int, method: str, path: str, headers: dict[str, bytes], body: bytes = b"") -> bytes:
    """The whole answer to a request whose headers are these bytes."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Connection: close"]
    lines += [b"%s: %s" % (k.encode(), v) for k, v in {"Host": b"127.0.0.1", **headers}.items()]
    lines += [b"Content-Length: %d" % len(body), b"", body]
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(b"\r\n".join(lines))
        return connection.makefile("rb").read()


def status(answer: bytes) -> int:
    return int(answer.split()[1])


def content(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def signed(house: House) -> dict[str, bytes]:
    return {name: value.encode() for name, value in house.artist.headers.items()}


@pytest.mark.parametrize("header", ["email", "token"])
@pytest.mark.parametrize(
    ("method", "route", "headers", "field"),
    [
        ("GET", "info", {}, None),
        ("POST", "enqueue", MULTIPART, "IsAdded"),
        ("POST", "dequeue", JSON, None),
        ("POST", "download", JSON, None),
        ("POST", "delete", JSON, None),
        ("GET", "tasks", {}, "Error"),
        ("GET", "engines", {}, "Error"),
    ],
)
def test_credentials_that_are_no_text(
    house: House,
    method: str,
    route: str,
    headers: dict[str, bytes],
    field: str | None,
    header: str,
) -> None:
    sent = {**signed(house), **headers, header: NO_TEXT + b"@b"}
    answer = ask(house.service.port, method, f"/renderapi/v1/{route}", sent)
    assert status(answer) == 401, answer
    if field is None:
        assert content(answer) == b""
    else:
        assert field in json.loads(content(answer))
    house.assert_quiet()


@pytest.mark.parametrize("kind", [b"multipart/form-data; boundary=" + NO_TEXT, NO_TEXT])
def test_content_type_that_is_no_text(house: House, kind: bytes) -> None:
    sent = {**signed(house), "Content-Type": kind}
    answer = ask(house.service.port, "POST", "/renderapi/v1/enqueue", sent, b"--x--")
    assert status(answer) == 400, answer
    assert json.loads(content(answer))["IsAdded"] is False
    house.assert_quiet()


def test_attempt_key_that_is_no_text(house: House) -> None:
    path = "/renderapi/v1/node/attempts/1/events"
    answer = ask(house.service.port, "POST", path, {**JSON, "X-Attempt-Key": NO_TEXT}, b"{}")
    assert status(answer) in (200, 401), answer  # there is no such attempt
    house.assert_quiet()


# --------------------------------------------------------------------------- a node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A node without engines."""
    folder = tmp_path_factory.mktemp("node")
    settings = {"Port": "0", "RenderingEngines": [], "DataPath": str(Path(folder, "data"))}
    service = Service("node", write_config(folder / "HPCServer.json", settings))
    yield service
    end_all([service])


@pytest.mark.parametrize("header", ["Host", "Origin"])
@pytest.mark.parametrize(
    ("method", "route", "field"),
    [("GET", "status", "Error"), ("POST", "start", "IsSuccess"), ("POST", "stop", "IsSuccess")],
)
def test_call_of_a_node_that_is_no_text(
    node: Service, method: str, route: str, field: str, header: str
) -> None:
    answer = ask(node.port, method, f"/hpc/{route}", {header: NO_TEXT}, b"{}")
    assert status(answer) == 403, answer
    assert field in json.loads(content(answer))
    assert "Traceback" not in node.stderr


# --------------------------------------------------------------------------- parts


def test_file_name_in_latin_1_is_refused_with_a_sentence(house: House) -> None:
    sent = multipart.enqueue_body("scene.any", b"x", FRAMES)
    garbled = sent.content.replace(b"scene.any", b"sz\xe4ne.any")
    answer = house.request(
        "POST", "enqueue", data=garbled, headers={"Content-Type": sent.content_type}
    )
    assert (answer.status_code, answer.json()["ErrorMessage"]) == (
        400,
        "A part's header, such as its file name, is not UTF-8.",
    )


def test_request_part_with_a_byte_order_mark(house: House) -> None:
    sent = multipart.enqueue_body("scene.any", b"x", FRAMES)
    assert sent.content.count(b"\r\n\r\n{") == 1
    marked = sent.content.replace(b"\r\n\r\n{", b"\r\n\r\n\xef\xbb\xbf{")
    answer = house.request(
        "POST", "enqueue", data=marked, headers={"Content-Type": sent.content_type}
    )
    assert answer.status_code == 200, answer.text
