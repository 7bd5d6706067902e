"""What is too large is refused in the endpoint's words; who says nothing holds nobody up."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests
from cli.certificates import make_certificate
from support import multipart

from renderonline.client import Client, Refused
from renderonline.client.submission import Submission

from .house import FRAMES, House, running_house

LIMIT_BYTES = 10_000
HUGE = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "9" * 14}
BODY = multipart.enqueue_body("scene.any", b"x" * 8_000_000, FRAMES)


@pytest.fixture(scope="module", params=["http", "https"])
def small_house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """An api that takes files of LIMIT_BYTES."""
    folder = tmp_path_factory.mktemp("small_house")
    certificate = (
        make_certificate(folder / "tls", "127.0.0.1") if request.param == "https" else None
    )
    with running_house(folder, certificate, UploadLimitBytes=LIMIT_BYTES) as running:
        yield running


def head_and_json(answer: bytes) -> tuple[bytes, dict[str, object]]:
    head, _, content = answer.partition(b"\r\n\r\n")
    return head, json.loads(content)


def test_length_above_the_limit_is_answered_before_the_body(small_house: House) -> None:
    """Nothing of the body is sent: an answer that waited for it would never come."""
    with small_house.connect() as connection:
        connection.sendall(small_house.head("enqueue", HUGE))
        head, said = head_and_json(connection.makefile("rb").read())
    assert head.split()[1] == b"413"
    assert b"access-control-allow-origin: *" in head.lower()
    assert said == {
        "IsAdded": False,
        "ErrorMessage": f"The file is larger than this server's limit of {LIMIT_BYTES} bytes.",
        "TaskId": None,
    }


@pytest.mark.parametrize(
    ("route", "field"), [("dequeue", "IsRemoved"), ("delete", "IsDeleted"), ("tasks", "Error")]
)
def test_the_other_endpoints_keep_their_shape(small_house: House, route: str, field: str) -> None:
    with small_house.connect() as connection:
        connection.sendall(small_house.head(route, HUGE))
        head, said = head_and_json(connection.makefile("rb").read())
    assert head.split()[1] in (b"413", b"405")
    assert field in said


def test_stranger_learns_no_limit(small_house: House) -> None:
    with small_house.connect() as connection:
        connection.sendall(small_house.head("enqueue", {**HUGE, "token": "wrong"}))
        head, _ = head_and_json(connection.makefile("rb").read())
    assert head.split()[1] == b"401"


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_whoever_goes_on_sending_sees_the_answer(small_house: House, is_chunked: bool) -> None:
    for _ in range(5):  # closing at once loses it now and then
        answer = small_house.request(
            "POST",
            "enqueue",
            headers={"Content-Type": BODY.content_type},
            data=BODY.chunks() if is_chunked else BODY.content,
        )
        assert (answer.status_code, answer.json()["IsAdded"]) == (413, False)
    small_house.assert_quiet()


def test_client_is_refused_and_told_the_limit(small_house: House) -> None:
    file = small_house.folder / "large.any"
    file.write_bytes(b"x" * 8_000_000)
    person = small_house.artist
    url, trusted = small_house.service.url, small_house.certificate
    with Client(url, person.email, person.token, trusted) as client:
        chosen = next(e for e in client.engines() if e.name == "any")
        with pytest.raises(Refused, match=f"limit of {LIMIT_BYTES} bytes"):
            client.submit(Submission(file, chosen, FRAMES, None))


# --------------------------------------------------------------------------- silence


def test_silent_connections_hold_nobody_up(secure_house: House) -> None:
    """Far more than there are threads; each would hold one for seconds."""
    with ExitStack() as silent:
        for _ in range(200):
            silent.enter_context(plain_connection(secure_house))
        began = time.monotonic()
        answer = requests.get(
            f"{secure_house.service.url}/health",
            verify=str(secure_house.certificate),
            timeout=60,
        )
        waited_s = time.monotonic() - began
    assert answer.status_code == 200
    assert waited_s < 4, "none of the silent ones has been given up yet"


def plain_connection(house: House) -> socket.socket:
    """A connection that never says anything, not even TLS's first word."""
    return socket.create_connection(("127.0.0.1", house.service.port))
