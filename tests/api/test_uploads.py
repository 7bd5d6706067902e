"""Resumable uploads: whatever breaks off goes on, and only what is whole and right becomes a content."""

from __future__ import annotations

import contextlib
import io
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import psutil
import pytest
import requests
from cli.certificates import make_certificate
from support.waiting import DEADLINE_S, wait_until
from tusclient.client import TusClient

from renderonline.api.services.pieces import BLOCK_BYTES, FOLLOW_BYTES

from . import tus
from .house import House, running_house
from .shelf import missing, sha256
from .test_broken_uploads import chunks, cut, fill_up, small_disk
from .tus import Upload, begin, create, creation

__all__ = ["small_disk"]  # a fixture


@pytest.fixture(params=["http", "https"])
def either(request: pytest.FixtureRequest) -> House:
    """The api over waitress, and over cheroot with a certificate."""
    name = {"http": "house", "https": "secure_house"}[request.param]
    house: House = request.getfixturevalue(name)
    return house


def content(size_bytes: int) -> bytes:
    """Bytes that nobody else has."""
    return random.randbytes(size_bytes)


def stored(house: House, wanted: bytes) -> bytes:
    """What the store holds under this content's hash."""
    number = sha256(wanted)
    return (house.data / "contents" / number[:2] / number).read_bytes()


def uploads(house: House) -> list[str]:
    return sorted(file.name for file in (house.data / "uploads").iterdir())


@contextmanager
def unchanged(house: House) -> Iterator[None]:
    before = house.snapshot()
    yield
    wait_until(lambda: house.snapshot() == before, "all is as before")
    house.assert_quiet()


# --------------------------------------------------------------------------- as it should be


def test_what_the_server_can_do(either: House) -> None:
    answer = either.request("OPTIONS", tus.ROUTE)
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == str(64 * 2**30)
    extensions = set(answer.headers["Tus-Extension"].split(","))
    assert {
        "creation",
        "creation-with-upload",
        "checksum",
        "termination",
        "expiration",
    } <= extensions
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"


def test_browsers_may_ask_first(either: House) -> None:
    headers = {"Origin": "https://a", "Access-Control-Request-Method": "PATCH"}
    answer = either.request("OPTIONS", tus.ROUTE, headers=headers)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")


def test_upload_in_pieces(either: House) -> None:
    whole = content(300_000)
    upload = begin(either, whole)
    for start in range(0, len(whole), 100_000):
        head = upload.head()
        assert head.headers["Upload-Offset"] == str(start)
        assert head.headers["Upload-Length"] == "300000"
        assert head.headers["Upload-Metadata"] == creation(whole)["Upload-Metadata"]
        assert head.headers["Cache-Control"] == "no-store"
        assert missing(either, whole) == [sha256(whole)]
        answer = upload.patch(start, whole[start : start + 100_000])
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["Upload-Offset"] == str(start + 100_000)
        assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert missing(either, whole) == []
    assert stored(either, whole) == whole
    # as a client asks that has not heard of its end
    assert upload.offset() == len(whole)
    assert upload.patch(len(whole), b"").status_code == 204
    assert "Upload-Expires" not in upload.head().headers
    assert upload.delete().status_code == 204
    assert upload.head().status_code == 404
    assert missing(either, whole) == []


def test_upload_with_its_creation(either: House) -> None:
    whole = content(50_000)
    before = uploads(either)
    answer = create(either, {**creation(whole), **tus.PIECE}, data=whole)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "50000")
    assert missing(either, whole) == []
    assert uploads(either) == before


def test_upload_begun_with_its_creation(either: House) -> None:
    whole = content(50_000)
    answer = create(either, {**creation(whole), **tus.PIECE}, data=whole[:20_000])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "20000")
    upload = Upload(either, answer.headers["Location"].removeprefix("/renderapi/v1/"))
    assert upload.offset() == 20_000
    assert upload.patch(20_000, whole[20_000:]).status_code == 204
    assert stored(either, whole) == whole


def test_empty_file(either: House) -> None:
    upload = begin(either, b"")
    assert upload.offset() == 0
    assert missing(either, b"") == []
    assert stored(either, b"") == b""


def test_upload_whose_hash_was_not_said(either: House) -> None:
    whole = content(1000)
    answer = create(either, {**tus.HEADERS, "Upload-Length": "1000"})
    upload = Upload(either, answer.headers["Location"].removeprefix("/renderapi/v1/"))
    assert upload.patch(0, whole).status_code == 204
    assert upload.offset() == 1000
    assert stored(either, whole) == whole


def test_upload_waits_two_days(either: House) -> None:
    upload = begin(either, content(1000))
    now = datetime.now(UTC)
    expires_at = parsedate_to_datetime(upload.head().headers["Upload-Expires"])
    assert timedelta(hours=47) < expires_at - now < timedelta(hours=49)


def test_clients_that_can_only_post(either: House) -> None:
    whole = content(1000)
    upload = begin(either, whole)
    headers = {**tus.PIECE, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    answer = either.request("POST", upload.route, headers=headers, data=whole)
    assert answer.status_code == 204
    assert stored(either, whole) == whole
    headers = {**tus.HEADERS, "X-HTTP-Method-Override": "DELETE"}
    assert either.request("POST", upload.route, headers=headers).status_code == 204
    assert upload.head().status_code == 404
    headers = {**tus.HEADERS, "X-HTTP-Method-Override": "PUT"}
    assert either.request("POST", upload.route, headers=headers).status_code == 405


@pytest.mark.parametrize("with_checksum", [False, True])
@pytest.mark.parametrize("chunk_size", [None, 100_000])
def test_another_client(
    either: House,
    chunk_size: int | None,
    with_checksum: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PyPI's tuspy: it knows tus, and nothing of us."""
    if either.certificate:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(either.certificate))
    whole = content(350_000)
    client = TusClient(f"{either.service.url}/renderapi/v1/files/uploads", either.artist.headers)
    options = {
        "file_stream": io.BytesIO(whole),
        "metadata": {"sha256": sha256(whole), "name": "wood.png"},
        "upload_checksum": with_checksum,
        **({} if chunk_size is None else {"chunk_size": chunk_size}),
    }
    first = client.uploader(**options)
    first.upload(stop_at=100_000)
    assert first.offset == 100_000
    again = client.uploader(url=first.url, **options)
    assert again.offset == 100_000
    again.upload()
    assert stored(either, whole) == whole


# --------------------------------------------------------------------------- broken off


def begin_piece(house: House, upload: Upload, offset: int, length: int) -> bytes:
    """The head of a PATCH that promises so many bytes."""
    headers = {**tus.PIECE, "Upload-Offset": str(offset), "Content-Length": str(length)}
    return house.head(upload.route, headers).replace(b"POST", b"PATCH", 1)


def is_free(upload: Upload) -> bool:
    """Whether nobody writes to it just now."""
    return upload.patch(upload.offset(), b"").status_code == 204


TENTH = 2 * BLOCK_BYTES


def test_cut_off_at_every_tenth(either: House) -> None:
    whole = content(10 * TENTH)
    upload = begin(either, whole)
    for end in range(TENTH, 10 * TENTH, TENTH):
        offset = upload.offset()
        connection = either.connect()
        connection.sendall(begin_piece(either, upload, offset, len(whole) - offset))
        connection.sendall(whole[offset:end])
        if either.certificate:  # it streams; waitress shows the request only when it is whole
            wait_until(lambda end=end: upload.offset() == end, "HEAD tells what has come")
        cut(connection)
        wait_until(lambda: is_free(upload), "the piece has ended")
        assert upload.offset() == (end if either.certificate else 0)
    offset = upload.offset()
    assert upload.patch(offset, whole[offset:]).status_code == 204
    assert stored(either, whole) == whole
    either.assert_quiet()


def test_cut_off_in_chunks_of_unknown_length(either: House) -> None:
    whole = content(300_000)
    upload = begin(either, whole)
    headers = {**tus.PIECE, "Upload-Offset": "0", "Transfer-Encoding": "chunked"}
    head = either.head(upload.route, headers).replace(b"POST", b"PATCH", 1)
    connection = either.connect()
    connection.sendall(head + b"".join(chunks(whole[:200_000])))
    if either.certificate:
        wait_until(lambda: upload.offset() > 0, "the piece has begun")
    cut(connection)
    wait_until(lambda: is_free(upload), "the piece has ended")
    assert upload.patch(upload.offset(), whole[upload.offset() :]).status_code == 204
    assert stored(either, whole) == whole


def test_piece_with_a_checksum_is_all_of_it_or_nothing(either: House) -> None:
    whole = content(300_000)
    upload = begin(either, whole)
    first = whole[:100_000]
    assert upload.patch(0, first, tus.checksum(first, "sha256")).status_code == 204
    second = whole[100_000:200_000]
    wrong = upload.patch(100_000, second, tus.checksum(first, "sha1"))
    assert (wrong.status_code, wrong.json()["Error"]) == (460, "bad_hash")
    assert wrong.headers["Tus-Resumable"] == "1.0.0"
    assert upload.offset() == 100_000
    connection = either.connect()
    head = begin_piece(either, upload, 100_000, 100_000)[:-2]
    more = "".join(f"{k}: {v}\r\n" for k, v in tus.checksum(second, "sha1").items())
    connection.sendall(head + more.encode() + b"\r\n" + second[:BLOCK_BYTES])
    if either.certificate:
        wait_until(lambda: upload.offset() == 100_000 + BLOCK_BYTES, "much of it has come")
    cut(connection)
    wait_until(lambda: is_free(upload), "the piece has ended")
    assert upload.offset() == 100_000
    assert upload.patch(100_000, second, tus.checksum(second, "sha1")).status_code == 204
    assert upload.patch(200_000, whole[200_000:]).status_code == 204
    assert stored(either, whole) == whole
    assert not [name for name in uploads(either) if name.endswith(".mark")]


def test_what_was_hashed_and_is_cut_off_again_does_not_count(either: House) -> None:
    """More comes than is to come, and is hashed meanwhile: all of that piece goes."""
    whole = content(3 * FOLLOW_BYTES)
    upload = begin(either, whole)
    assert upload.patch(0, whole[:BLOCK_BYTES]).status_code == 204
    too_much = io.BytesIO(content(len(whole)))
    answer = upload.patch(BLOCK_BYTES, iter(lambda: too_much.read(BLOCK_BYTES), b""))
    assert (answer.status_code, answer.json()["Error"]) == (400, "too_long")
    assert upload.offset() == BLOCK_BYTES
    assert upload.patch(BLOCK_BYTES, whole[BLOCK_BYTES:-1]).status_code == 204
    assert upload.patch(len(whole) - 1, whole[-1:]).status_code == 204
    assert stored(either, whole) == whole


def test_connection_goes_on_after_a_refused_piece(either: House) -> None:
    """Nothing holds on to the body of a request that is over."""
    whole = content(100_000)
    upload = begin(either, whole)
    refused = [
        ({"Upload-Offset": "1"}, whole, 409),
        ({"Upload-Offset": "0", "Content-Type": "text/plain"}, whole, 415),
        ({"Upload-Offset": "0", **tus.checksum(b"", "sha1")}, whole, 460),
        ({"Upload-Offset": "0", "Upload-Checksum": "md5 AA=="}, whole, 400),
        ({"Upload-Offset": "0"}, whole + b"x", 400),
        ({"Upload-Offset": "0"}, iter([whole, b"x"]), 400),
        ({"Upload-Offset": "0"}, whole, 204),
    ]
    with requests.Session() as session:
        session.trust_env = False
        for headers, piece, status in refused:
            answer = session.patch(
                f"{either.service.url}/renderapi/v1/{upload.route}",
                data=piece,
                headers={**either.artist.headers, **tus.PIECE, **headers},
                verify=str(either.certificate) if either.certificate else None,
                timeout=DEADLINE_S,
            )
            assert answer.status_code == status, answer.text
    assert stored(either, whole) == whole
    either.assert_quiet()


@pytest.fixture(params=["http", "https"])
def own_house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """An api of this test's own, which it may kill."""
    is_secure = request.param == "https"
    certificate = make_certificate(tmp_path / "tls", "127.0.0.1") if is_secure else None
    with running_house(tmp_path / "house", certificate) as running:
        yield running


@pytest.mark.parametrize("with_checksum", [False, True])
def test_api_killed_in_the_middle(own_house: House, with_checksum: bool) -> None:
    house, whole = own_house, content(1_000_000)
    upload = begin(house, whole)
    assert upload.patch(0, whole[:300_000]).status_code == 204
    rest = whole[300_000:]
    head = begin_piece(house, upload, 300_000, len(rest))
    if with_checksum:
        more = "".join(f"{k}: {v}\r\n" for k, v in tus.checksum(rest, "sha256").items())
        head = head[:-2] + more.encode() + b"\r\n"
    with house.connect() as connection:
        connection.sendall(head + rest[:BLOCK_BYTES])
        if house.certificate:
            wait_until(lambda: upload.offset() > 300_000, "the piece has begun")
        house.service.kill()
        with contextlib.suppress(OSError):
            connection.recv(1)
    house.service.restart()
    is_kept = house.certificate is not None and not with_checksum
    assert upload.offset() == 300_000 + (BLOCK_BYTES if is_kept else 0)
    assert upload.patch(upload.offset(), whole[upload.offset() :]).status_code == 204
    assert stored(house, whole) == whole
    assert missing(house, whole) == []


def test_killed_between_the_last_byte_and_its_content(own_house: House) -> None:
    """The bytes are all there, and the client does not know: asking is enough to end it well."""
    house, whole = own_house, content(100_000)
    upload = begin(house, whole)
    assert upload.patch(0, whole[:50_000]).status_code == 204
    house.service.kill()
    (data,) = [file for file in (house.data / "uploads").iterdir() if not file.suffix]
    with data.open("ab") as file:
        file.write(whole[50_000:])
    house.service.restart()
    assert upload.offset() == len(whole)
    assert missing(house, whole) == []
    assert stored(house, whole) == whole


def test_killed_between_the_move_and_its_row(own_house: House) -> None:
    house, whole = own_house, content(100_000)
    upload = begin(house, whole)
    assert upload.patch(0, whole).status_code == 204
    house.service.kill()
    house.rows("DELETE FROM contents WHERE sha256 = ?", sha256(whole))
    house.service.restart()
    assert missing(house, whole) == [sha256(whole)]
    assert upload.offset() == len(whole)
    assert missing(house, whole) == []


def test_what_a_crash_left_without_a_sender_goes(own_house: House) -> None:
    """Whose last byte came long ago: another api may be receiving just now."""
    house, number, fresh = own_house, os.urandom(16).hex(), os.urandom(16).hex()
    upload = begin(house, content(1000))
    kept = uploads(house)
    house.service.kill()
    for name in (number, f"{number}.mark", fresh):
        (house.data / "uploads" / name).write_bytes(b"5")
        if name != fresh:
            os.utime(house.data / "uploads" / name, (0, 0))
    house.service.restart()
    wait_until(lambda: uploads(house) == sorted([*kept, fresh]), "only what is fresh stays")
    assert upload.offset() == 0


# --------------------------------------------------------------------------- several at once


def test_two_writers_of_one_upload(either: House) -> None:
    whole = content(2_000_000)
    upload = begin(either, whole)
    statuses: list[int] = []
    together = threading.Barrier(2)

    def write() -> None:
        together.wait()
        statuses.append(upload.patch(0, whole).status_code)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = sorted(statuses)
    assert first == 204
    assert second in (409, 423)
    assert stored(either, whole) == whole
    either.assert_quiet()


def test_second_writer_while_the_first_one_is_at_it(secure_house: House) -> None:
    whole = content(300_000)
    upload = begin(secure_house, whole)
    with secure_house.connect() as connection:
        connection.sendall(begin_piece(secure_house, upload, 0, len(whole)) + whole[:BLOCK_BYTES])
        wait_until(lambda: upload.offset() == BLOCK_BYTES, "the first one is at it")
        answer = upload.patch(BLOCK_BYTES, whole[BLOCK_BYTES:])
        assert (answer.status_code, answer.json()["Error"]) == (423, "busy")
        assert upload.delete().status_code == 423
        connection.sendall(whole[BLOCK_BYTES:])
        assert b" 204 " in connection.makefile("rb").readline()
    assert stored(secure_house, whole) == whole


def test_two_clients_send_the_same(either: House) -> None:
    whole = content(500_000)
    first = begin(either, whole)
    second = begin(either, whole, either.people["other"])
    for upload in (first, second):
        assert upload.patch(0, whole[:250_000]).status_code == 204
    answers: list[int] = []
    together = threading.Barrier(2)

    def finish(upload: Upload) -> None:
        together.wait()
        answers.append(upload.patch(250_000, whole[250_000:]).status_code)

    threads = [threading.Thread(target=finish, args=(upload,)) for upload in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [204, 204]
    assert stored(either, whole) == whole
    assert missing(either, whole) == []
    assert [upload.offset() for upload in (first, second)] == [500_000, 500_000]
    kept = [name for name in uploads(either) if upload.route.rpartition("/")[2] in name]
    assert kept == [f"{upload.route.rpartition('/')[2]}.json"], "its bytes are in the store, once"


def test_content_that_is_there_meanwhile(either: House) -> None:
    whole = content(1000)
    finished, dropped = begin(either, whole), begin(either, whole)
    tus.send(either, whole, either.people["other"])
    assert finished.patch(0, whole).status_code == 204
    assert dropped.patch(0, whole[:10]).status_code == 204
    assert dropped.delete().status_code == 204
    assert dropped.head().status_code == 404
    assert missing(either, whole) == []


# --------------------------------------------------------------------------- what is refused


def test_whole_that_is_not_what_was_said(either: House) -> None:
    whole = content(1000)
    with unchanged(either):
        upload = begin(either, whole)
        assert upload.patch(0, whole[:500]).status_code == 204
        answer = upload.patch(500, bytes(500))
        assert (answer.status_code, answer.json()["Error"]) == (460, "bad_hash")
        assert upload.head().status_code == 404
        answer = create(either, {**creation(whole), **tus.PIECE}, data=bytes(1000))
        assert answer.status_code == 460


def test_somebody_elses_upload_is_not_there(either: House) -> None:
    whole = content(1000)
    upload = begin(either, whole)
    theirs = Upload(either, upload.route, either.people["other"])
    assert theirs.head().status_code == 404
    assert theirs.patch(0, whole).status_code == 404
    assert theirs.delete().status_code == 404
    nobody = either.request("HEAD", upload.route, headers={**tus.HEADERS, "token": "wrong"})
    assert nobody.status_code == 401
    assert upload.offset() == 0
    assert upload.delete().status_code == 204


@pytest.mark.parametrize("number", ["0" * 32, "x", "..", "%2e%2e%2fcontents", "0" * 500, "a.json"])
def test_upload_that_is_none(either: House, number: str) -> None:
    with unchanged(either):
        upload = Upload(either, f"{tus.ROUTE}/{number}")
        assert upload.head().status_code == 404
        assert upload.patch(0, b"x").status_code == 404
        assert upload.delete().status_code == 404


GOOD = creation(b"wood")
CREATIONS: dict[str, tuple[int, dict[str, str | None]]] = {
    "no version": (412, {"Tus-Resumable": None}),
    "another version": (412, {"Tus-Resumable": "0.2.2"}),
    "no length": (400, {"Upload-Length": None}),
    "length later": (400, {"Upload-Length": None, "Upload-Defer-Length": "1"}),
    "length negative": (400, {"Upload-Length": "-1"}),
    "length a word": (400, {"Upload-Length": "four"}),
    "length in other digits": (400, {"Upload-Length": "٤".encode().decode("latin-1")}),
    "length beyond numbers": (400, {"Upload-Length": "9" * 30}),
    "length beyond the limit": (413, {"Upload-Length": str(64 * 2**30 + 1)}),
    "hash too short": (400, {"Upload-Metadata": f"sha256 {tus.encoded('abc')}"}),
    "hash not hexadecimal": (400, {"Upload-Metadata": f"sha256 {tus.encoded('x' * 64)}"}),
    "hash not base64": (400, {"Upload-Metadata": "sha256 !!!"}),
    "hash empty": (400, {"Upload-Metadata": "sha256"}),
    "hash twice": (400, {"Upload-Metadata": ",".join([GOOD["Upload-Metadata"]] * 2)}),
    "key empty": (400, {"Upload-Metadata": "a YQ==,, b YQ=="}),
    "key that is not ASCII": (400, {"Upload-Metadata": "n\xe4me YQ=="}),
    "too much of it": (400, {"Upload-Metadata": f"name {'YWFh' * 2000}"}),
    "checksum of nothing known": (
        400,
        {"Content-Type": tus.PIECE["Content-Type"], "Upload-Checksum": "crc32 YQ=="},
    ),
}


@pytest.mark.parametrize("case", CREATIONS)
def test_creation_that_cannot_be(either: House, case: str) -> None:
    status, changed = CREATIONS[case]
    headers = {k: v for k, v in {**GOOD, **changed}.items() if v is not None}
    body = b"wood" if "Content-Type" in headers else b""
    with unchanged(either):
        answer = create(either, headers, data=body)
        assert answer.status_code == status, answer.text
        assert answer.json()["ErrorMessage"].endswith(".")
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        assert ("Tus-Version" in answer.headers) is (status == 412)


PIECES: dict[str, tuple[int, dict[str, str | None], bytes]] = {
    "offset behind": (409, {"Upload-Offset": "1"}, b"ood"),
    "offset before": (409, {"Upload-Offset": "0"}, b"w"),
    "no offset": (400, {"Upload-Offset": None}, b"od"),
    "offset negative": (400, {"Upload-Offset": "-2"}, b"od"),
    "offset a word": (400, {"Upload-Offset": "two"}, b"od"),
    "offset beyond numbers": (400, {"Upload-Offset": "9" * 30}, b"od"),
    "another type": (415, {"Content-Type": "application/json"}, b"od"),
    "no type": (415, {"Content-Type": None}, b"od"),
    "too much": (400, {}, b"odd"),
    "no version": (412, {"Tus-Resumable": None}, b"od"),
    "checksum of another piece": (460, {"Upload-Checksum": "sha1 AAAA"}, b"od"),
    "checksum not base64": (400, {"Upload-Checksum": "sha1 !"}, b"od"),
    "checksum unknown": (400, {"Upload-Checksum": "md5 AAAA"}, b"od"),
}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("case", PIECES)
def test_piece_that_cannot_be(either: House, case: str, chunked: bool) -> None:
    status, changed, piece = PIECES[case]
    upload = begin(either, b"wood")
    assert upload.patch(0, b"wo").status_code == 204
    headers = {**tus.PIECE, "Upload-Offset": "2", **changed}
    if case == "offset before":
        headers["Upload-Offset"] = "0"
    sent = {k: v for k, v in headers.items() if v is not None}
    with unchanged(either):
        body = iter([piece]) if chunked else piece
        answer = either.request("PATCH", upload.route, data=body, headers=sent)
        assert answer.status_code == status, answer.text
        assert answer.json()["ErrorMessage"].endswith(".")
        assert upload.offset() == 2
    assert upload.delete().status_code == 204


def test_broken_creation_leaves_nothing(either: House) -> None:
    whole = content(300_000)
    with unchanged(either):
        headers = {**creation(whole), **tus.PIECE, "Content-Length": "300000"}
        connection = either.connect()
        connection.sendall(either.head(tus.ROUTE, headers) + whole[:100_000])
        if either.certificate:
            before = len(uploads(either))
            wait_until(lambda: len(uploads(either)) >= before, "it has begun")
        cut(connection)


# --------------------------------------------------------------------------- room


def test_disk_below_its_floor_is_said_before_the_transfer(tmp_path: Path) -> None:
    free = psutil.disk_usage(str(tmp_path)).free
    with running_house(tmp_path / "house", DiskFloorBytes=free + (1 << 40)) as house:
        whole = content(1000)
        with unchanged(house):
            answer = create(house, creation(whole))
            assert (answer.status_code, answer.json()["Error"]) == (507, "disk_full")
            assert "1000 bytes were to be sent" in answer.json()["ErrorMessage"]
            assert house.enqueue(content=whole).status_code == 507


def test_disk_that_gets_full_in_the_middle(small_disk: Path, tmp_path: Path) -> None:
    """What came stays; with room again the upload goes on."""
    settings = {"DiskFloorBytes": 0, "data": small_disk / "data"}
    with running_house(tmp_path / "house", **settings) as house:
        whole = content(1_000_000)
        upload = begin(house, whole)
        assert upload.patch(0, whole[:300_000]).status_code == 204
        filler = small_disk / "filler"
        fill_up(filler, small_disk, free_pages=20)
        answer = upload.patch(300_000, whole[300_000:])
        assert (answer.status_code, answer.json()["Error"]) == (507, "disk_full")
        assert 300_000 <= upload.offset() < 400_000
        filler.unlink()
        offset = upload.offset()
        assert upload.patch(offset, whole[offset:]).status_code == 204
        assert stored(house, whole) == whole
        assert missing(house, whole) == []
        house.assert_quiet()


def test_disk_that_gets_full_at_the_end(small_disk: Path, tmp_path: Path) -> None:
    """All bytes have come, and there is no room for the row: asking again ends it."""
    settings = {"DiskFloorBytes": 0, "data": small_disk / "data"}
    with running_house(tmp_path / "house", **settings) as house:
        whole, filler, statuses = content(5000), small_disk / "filler", []
        upload = begin(house, whole)
        for free_pages in range(20):
            fill_up(filler, small_disk, free_pages)
            offset = upload.offset() if upload.head().status_code == 200 else 5000
            statuses.append(upload.patch(offset, whole[offset:]).status_code)
            filler.unlink()
            if statuses[-1] == 204:
                break
        assert statuses[-1] == 204
        assert set(statuses[:-1]) == {507}
        assert stored(house, whole) == whole
        assert missing(house, whole) == []
        house.assert_quiet()


def test_bytes_are_written_once(house: House) -> None:
    whole = content(48 << 20)
    process = psutil.Process(house.service.pid)
    upload = begin(house, whole)
    before = process.io_counters().write_bytes
    for start in range(0, len(whole), 16 << 20):
        assert upload.patch(start, whole[start : start + (16 << 20)]).status_code == 204
    assert stored(house, whole) == whole
    assert process.io_counters().write_bytes - before < 1.1 * len(whole)


def peak_bytes(house: House) -> int:
    """The most memory that the api has had until now."""
    status = Path(f"/proc/{house.service.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if "VmHWM" in line)) << 10


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("way", ["tus", "multipart"])
def test_a_large_file_takes_little_memory(tmp_path: Path, way: str, secure: bool) -> None:
    certificate = make_certificate(tmp_path / "tls", "127.0.0.1") if secure else None
    whole = content(192 << 20)
    with running_house(tmp_path / "house", certificate) as house:
        house.task()
        process = psutil.Process(house.service.pid)
        peak, written = peak_bytes(house), process.io_counters().write_bytes
        if way == "tus":
            upload = begin(house, whole)
            for start in range(0, len(whole), 16 << 20):
                assert upload.patch(start, whole[start : start + (16 << 20)]).status_code == 204
        else:
            assert house.enqueue(content=whole).status_code == 200
        assert sha256(stored(house, whole)) == sha256(whole)
        assert peak_bytes(house) - peak < 96 << 20
        copies = {"tus": 1, "multipart": 2}[way]
        assert process.io_counters().write_bytes - written < (copies + 0.1) * len(whole)
        house.assert_quiet()


def test_log_stayed_quiet(house: House, secure_house: House) -> None:
    house.assert_quiet()
    secure_house.assert_quiet()
