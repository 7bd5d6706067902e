"""What the client makes of servers that refuse, that are not farms, or that cannot be trusted."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import bottle
import pytest

from renderonline import wire
from renderonline.client import (
    Client,
    ClientError,
    NotAllowed,
    NotFound,
    Refused,
    Unreachable,
    Unusable,
    server_address,
    transport,
)
from renderonline.client.submission import Submission
from renderonline.config import CertificateFiles
from renderonline.serving import HttpError, JsonApp, reply

from .certificates import make_certificate

Serve = Callable[..., str]
Connect = Callable[..., Client]
TOKEN = "the-secret-token"


@pytest.fixture
def client(serve: Serve) -> Iterator[Connect]:
    """Makes clients of an address (and a certificate); they are closed before the servers end."""
    with ExitStack() as opened:

        def make(url: str, certificate: Path | None = None) -> Client:
            return opened.enter_context(Client(url, "artist@example.com", TOKEN, certificate))

        yield make


def farm() -> JsonApp:
    """A server of our kind: it is healthy, knows task 1, and says who called."""
    app = JsonApp()

    @app.get("/health")
    def _health() -> object:
        return reply(wire.HealthResponse(name="RenderOnline", version="1"))

    return app


def answering(status: int, body: str = "", **headers: str) -> bottle.Bottle:
    """A server that says the same to everything."""
    app = bottle.Bottle()

    @app.route("/<_:path>", method=["GET", "POST"])
    def _answer(_: str) -> bottle.HTTPResponse:
        return bottle.HTTPResponse(body, status, headers)

    return app


# --------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        (" https://Farm.Example/ ", "https://farm.example"),
        ("https://farm.example/renderapi/v1", "https://farm.example"),
        ("http://[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    assert server_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "farm",
        "farm:5000",
        "ftp://farm",
        "http://",
        "http://farm:x",
        "http://farm:99999",
        "http://user:secret@farm",
        "http://farm/page",
        "http://farm?x=1",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_said_without_repeating_a_password(text: str) -> None:
    with pytest.raises(Unusable) as raised:
        server_address(text)
    assert "http://127.0.0.1:5000" in raised.value.hint
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("email", "token"), [("", "t"), ("a@b", " "), ("a@b", "t\nX: 1"), ("a\0@b", "t")]
)
def test_credentials_that_no_header_can_hold(email: str, token: str) -> None:
    with pytest.raises(Unusable):
        Client("http://127.0.0.1:1", email, token)


# --------------------------------------------------------------------------- not there, or another


def test_no_server_names_the_address_and_what_to_do(client: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unreachable, match=url) as raised:
            client(url).health()
    assert "renderonline api" in raised.value.hint


def test_a_name_that_nobody_has(client: Connect) -> None:
    with pytest.raises(Unreachable, match=r"http://no-such-farm\.invalid cannot be reached"):
        client("http://no-such-farm.invalid").health()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>It works!</html>"),
        (200, '{"another": "program"}'),
        (404, "<html>Not Found</html>"),
        (502, "<html>Bad Gateway</html>"),
        (500, '["not", "an", "object"]'),
        (500, ""),
    ],
)
def test_a_server_of_another_kind(client: Connect, status: int, body: str, serve: Serve) -> None:
    with pytest.raises(Unreachable, match=f"status {status}"):
        client(serve(answering(status, body))).health()


def test_an_answer_that_is_no_http_at_all(client: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(Unreachable):
            client(url).health()
        thread.join()


def test_a_redirect_is_told_and_not_followed_with_the_token(client: Connect, serve: Serve) -> None:
    called: list[str] = []
    elsewhere = bottle.Bottle()

    @elsewhere.route("/<path:path>")
    def _called(path: str) -> str:
        called.append(bottle.request.get_header("token", ""))
        return "{}"

    target = serve(elsewhere)
    with pytest.raises(Unreachable, match=target):
        client(serve(answering(302, Location=f"{target}/health"))).health()
    assert called == []


# --------------------------------------------------------------------------- refusals


def test_a_wrong_token(client: Connect, serve: Serve) -> None:
    with pytest.raises(NotAllowed, match=r"artist@example\.com") as raised:
        client(serve(answering(401))).info()
    assert "renderonline login" in raised.value.hint
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Refused), (403, NotAllowed), (404, NotFound), (507, Refused)]
)
def test_an_error_of_ours_arrives_whole(
    client: Connect, status: int, kind: type[ClientError], serve: Serve
) -> None:
    app = farm()

    @app.get("/renderapi/v1/tasks/<task_id>")
    def _task(task_id: str) -> object:
        raise HttpError(status, "some_code", f"Task {task_id} is no good.", "Take another.")

    with pytest.raises(ClientError) as raised:
        client(serve(app)).task(7)
    assert type(raised.value) is kind
    assert (str(raised.value), raised.value.hint) == ("Task 7 is no good.", "Take another.")
    assert raised.value.code == "some_code"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"IsAdded": false, "ErrorMessage": "Larger than 7 bytes."}', "Larger than 7 bytes."),
        ("<html>413 Request Entity Too Large</html>", "The file is larger than http://"),
    ],
)
def test_too_large_for_the_farm_or_for_a_proxy(
    client: Connect, serve: Serve, body: str, told: str
) -> None:
    with pytest.raises(Refused, match=told) as raised:
        client(serve(answering(413, body))).info()
    assert raised.value.code == "too_large"


class Rude:
    """Answers nothing: hangs up as soon as a request has begun, with what was sent unread."""

    def __init__(self, certificate: CertificateFiles | None) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self._context and certificate:
            self._context.load_cert_chain(certificate.fullchain_pem_path, certificate.priv_pem_path)
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._talk)
        self._thread.start()

    def _talk(self) -> None:
        connection, _ = self._listener.accept()
        if self._context:
            connection = self._context.wrap_socket(connection, server_side=True)
        connection.recv(100)
        # What is unread then makes TCP reset the connection, under the sender's hands.
        socket.socket(fileno=connection.detach()).close()

    def __enter__(self) -> Rude:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()


@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
def test_a_connection_that_breaks_while_a_file_is_sent(
    client: Connect, certificate: CertificateFiles, is_secure: bool, tmp_path: Path
) -> None:
    file = tmp_path / "large.blend"
    file.write_bytes(bytes(20_000_000))
    engine = wire.EngineDetail(
        engine_id=1, name="any", extension=".blend", adapter="generic", arguments=[]
    )
    with Rude(certificate if is_secure else None) as rude:
        ours = client(rude.url, certificate.fullchain_pem_path if is_secure else None)
        with pytest.raises(Unreachable, match="broke") as raised:
            ours.submit(Submission(file, engine))
    assert "larger than the server accepts" in raised.value.hint
    assert "http://" not in raised.value.hint


@pytest.mark.parametrize("verb", ["dequeue", "delete"])
def test_a_400_of_the_original_is_told_apart_from_no_such_task(
    client: Connect, verb: str, serve: Serve
) -> None:
    app = farm()
    app.post("/renderapi/v1/<_>", callback=lambda _: bottle.HTTPResponse(refusal, 400))
    refusal = '{"IsRemoved": false, "ErrorMessage": "That cannot be done now."}'

    @app.get("/renderapi/v1/tasks/<task_id:int>")
    def _task(task_id: int) -> object:
        if task_id != 1:
            raise HttpError(404, "not_found", f"There is no task {task_id}.")
        return DETAIL

    ours = client(serve(app))
    call: dict[str, Callable[[int], object]] = {
        "dequeue": ours.dequeue,
        "delete": ours.delete,
    }
    with pytest.raises(Refused, match="cannot be done now"):
        call[verb](1)
    with pytest.raises(NotFound, match="no task 2"):
        call[verb](2)


DETAIL = (
    '{"Task": {"TaskId": 1, "UserId": 1, "QueueTime": null, "StartTime": null, "EndTime": null,'
    ' "IsRunning": false, "IsSuccess": false, "RenderId": 1, "MachineId": null},'
    ' "Render": {"RenderId": 1, "FileName": "scene.blend", "FilePath": "", "FileSize": 1,'
    ' "Arguments": "", "EngineId": 1},'
    ' "Engine": {"EngineId": 1, "Name": "blender", "Extension": ".blend", "DownloadPath": "",'
    ' "RenderArgument": ""}, "Chunks": [], "Warnings": []}'
)


def test_a_kept_connection_that_has_ended_meanwhile_is_made_again(client: Connect) -> None:
    """As every server does that has waited long enough; it can be just when the next request comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            for is_kept in (True, False):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(10_000)
                    body = b'{"Name": "RenderOnline", "Version": "1"}'
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                    connection.sendall(head + body)
                    if is_kept:
                        connection.recv(10_000)  # the next request: too late

        thread = threading.Thread(target=talk)
        thread.start()
        ours = client(f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert ours.health().name == ours.health().name == "RenderOnline"
        thread.join()


def test_a_download_that_breaks_off_leaves_nothing(client: Connect, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nPK")

        thread = threading.Thread(target=talk)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unreachable):
            client(url).download(1, tmp_path / "a.zip")
        thread.join()
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------- TLS and surroundings


def test_a_certificate_that_is_named_is_trusted(
    client: Connect, serve: Serve, certificate: CertificateFiles
) -> None:
    url = serve(farm(), certificate)
    assert url.startswith("https://")
    assert client(url, certificate.fullchain_pem_path).health().name == "RenderOnline"


def test_a_certificate_that_the_system_trusts(
    client: Connect, serve: Serve, certificate: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.fullchain_pem_path))  # OpenSSL's own
    assert client(serve(farm(), certificate)).health().name == "RenderOnline"


def test_a_certificate_that_nobody_vouches_for(
    client: Connect, serve: Serve, certificate: CertificateFiles, tmp_path: Path
) -> None:
    url = serve(farm(), certificate)
    another = make_certificate(tmp_path / "another", "127.0.0.1").fullchain_pem_path
    for trusted in (None, another):
        with pytest.raises(Unreachable, match="is not trusted") as raised:
            client(url, trusted).health()
        assert "--certificate" in raised.value.hint


def test_a_named_certificate_is_not_replaced_by_the_environment(
    client: Connect,
    serve: Serve,
    certificate: CertificateFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """requests would let REQUESTS_CA_BUNDLE, set on many company machines, silently win."""
    another = make_certificate(tmp_path / "another", "127.0.0.1").fullchain_pem_path
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.fullchain_pem_path))
    with pytest.raises(Unreachable, match="is not trusted"):
        client(serve(farm(), certificate), another).health()


def test_https_where_there_is_only_http(
    client: Connect, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 1)  # it ends by this and nothing else
    url = serve(farm()).replace("http:", "https:")
    with pytest.raises(Unreachable, match="does not answer over HTTPS") as raised:
        client(url).health()
    assert "http://" in raised.value.hint


def test_http_where_there_is_only_https(
    client: Connect, serve: Serve, certificate: CertificateFiles
) -> None:
    url = serve(farm(), certificate).replace("https:", "http:")
    with pytest.raises(Unreachable):
        client(url).health()


def test_a_certificate_file_that_is_not_there(client: Connect, tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"none\.pem"):
        client("https://127.0.0.1", tmp_path / "none.pem")


def test_a_certificate_file_that_holds_none(
    client: Connect, certificate: CertificateFiles, tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"no PEM at all")
    for file in (certificate.priv_pem_path, garbage):
        with pytest.raises(Unusable, match=f"no certificate in .*{file.name}"):
            client("https://127.0.0.1", file)


def test_http_is_advised_where_the_answer_is_no_tls(client: Connect) -> None:
    """It would show the token to the network: only where nothing else can be meant."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(Unreachable, match="does not speak HTTPS") as raised:
            client(f"https://127.0.0.1:{listener.getsockname()[1]}").health()
        thread.join()
    assert "http://" in raised.value.hint


def test_a_proxy_in_the_environment_never_sees_the_token(
    client: Connect, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    proxy = bottle.Bottle()

    @proxy.route("/<path:path>")
    def _seen(path: str) -> str:
        seen.append(path)
        return "{}"

    monkeypatch.setenv("http_proxy", serve(proxy))
    monkeypatch.setenv("no_proxy", "")
    assert client(serve(farm())).health().name == "RenderOnline"
    assert seen == []
