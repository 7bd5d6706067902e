"""What is too large is refused in the endpoint's words; who says nothing holds nobody up."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from cli.certificates import make_certificate
from support import multipart

from renderonline.client import Client, Refused
from renderonline.serving import JsonApp, Server

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
    with (
        Client(url, person.email, person.token, trusted) as client,
        pytest.raises(Refused, match=f"limit of {LIMIT_BYTES} bytes"),
    ):
        client.enqueue(file, arguments=FRAMES)


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
    assert waited_s < 12, "a thread each would take over 15 s to give them all up"


def plain_connection(house: House) -> socket.socket:
    """A connection that never says anything, not even TLS's first word."""
    return socket.create_connection(("127.0.0.1", house.service.port))


# --------------------------------------------------------------------------- listening


def test_certificate_files_that_are_none_are_named(tmp_path: Path) -> None:
    files = make_certificate(tmp_path, "127.0.0.1")
    files.fullchain_pem_path.write_text("not a certificate")
    with pytest.raises(OSError, match="`Certificate`") as raised:
        Server(JsonApp(), "127.0.0.1", 0, files)
    assert str(files.fullchain_pem_path) in str(raised.value)
    assert "_ssl.c" not in str(raised.value)
    assert "Port" not in str(raised.value)


@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
def test_host_that_is_none_is_named(tmp_path: Path, is_secure: bool) -> None:
    files = make_certificate(tmp_path, "127.0.0.1") if is_secure else None
    with pytest.raises(OSError, match=r"no address 999\.1\.1\.1.*`Host`"):
        Server(JsonApp(), "999.1.1.1", 0, files)


def test_name_with_two_addresses_is_served_on_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `localhost` is on many machines; here by a resolver that says so."""
    resolve = socket.getaddrinfo

    def both(host: str, *arguments: Any, **options: Any) -> Any:
        found = [resolve(a, *arguments, **options) for a in ("127.0.0.1", "127.0.0.2")]
        return found[0] + found[1] if host == "farm.invalid" else resolve(host, *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    server = Server(JsonApp(), "farm.invalid", port)
    assert server.port == port
    server.start()
    for address in ("127.0.0.1", "127.0.0.2"):
        assert requests.get(f"http://{address}:{port}/nothing", timeout=60).status_code == 404
    server.close()
    for address in ("127.0.0.1", "127.0.0.2"):
        with pytest.raises(OSError):
            socket.create_connection((address, port), 60)
