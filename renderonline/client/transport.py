"""One exchange with a farm: what is trusted, how long is waited, and what an answer means.

Everything that requests, urllib3 and ssl raise ends here, as one of our errors.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from renderonline import __version__, pinned_session, pinning, wire
from renderonline.client.errors import NotAllowed, NotFound, Refused, Unreachable, Unusable

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
"""The longest silence of the server inside an answer."""

PIECE_BYTES = 1 << 20
"""At most so much of an answer is taken at once."""

M = TypeVar("M", bound=wire.Message)
E = TypeVar("E", bound=BaseException)


class Transport:
    """A session with one server, for one user. Not for several threads at a time."""

    def __init__(
        self,
        server: str,
        email: str,
        token: str,
        certificate: Path | None,
        fingerprint: str | None = None,
    ) -> None:
        """Sends nothing. See `Client` for the parameters. Raises Unusable."""
        self._made_with = (server, email, token, certificate, fingerprint)
        self._fingerprint = fingerprint
        self.server = server_address(server)
        self._email = email.strip()
        self._session = requests.Session()
        # With trust_env, a .netrc entry would be sent along, a proxy named in the environment
        # would read the token, and REQUESTS_CA_BUNDLE would silently replace `verify`.
        self._session.trust_env = False
        self._session.headers.update(_headers(email, token))
        if fingerprint is not None:
            pinned_session.pin(self._session, fingerprint)
        elif certificate is None:
            self._session.mount("https://", _SystemTrust())
        else:
            _check_certificate(certificate)
            self._session.verify = str(certificate)

    def another(self) -> Transport:
        """One like this, with connections of its own: for another thread."""
        return Transport(*self._made_with)

    @property
    def identity(self) -> str:
        """Which server this is for, and which user."""
        return f"{self.server} {self._email.lower()}"

    def close(self) -> None:
        self._session.close()

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """One exchange. `options` as requests has them. Raises Unreachable."""
        options.setdefault("timeout", (CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
        # A redirect is not followed: it could take the token anywhere.
        options["allow_redirects"] = False
        try:
            try:
                return self._session.request(method, self.server + path, **options)
            except requests.exceptions.ConnectionError as error:
                if method != "GET" or not _was_hung_up(error):
                    raise
                return self._session.request(method, self.server + path, **options)
        except requests.exceptions.SSLError as error:
            raise _insecure(self.server, error, self._fingerprint) from None
        except requests.exceptions.RequestException as error:
            raise _unreachable(self.server, error) from None

    def get(self, path: str, shape: type[M], query: Mapping[str, str] | None = None) -> M:
        """What is at `path`. Raises the errors of `check`."""
        return self.read(self.send("GET", path, params=query), shape)

    def read(self, response: requests.Response, shape: type[M]) -> M:
        """A success as the message it should be. Raises the errors of `check`."""
        self.check(response)
        try:
            return wire.decode(response.content, shape)
        except wire.WireError:
            raise self.another_kind(response) from None

    def check(self, response: requests.Response) -> None:
        """Raise NotAllowed, NotFound, Refused or Unreachable unless it is a success."""
        status = response.status_code
        if 200 <= status < 300:
            return
        if status == 401:
            raise NotAllowed(
                f"{self.server} does not know the user {self._email} with this token.",
                "Sign in with a valid one: `renderonline login`. An admin of the farm issues them.",
            )
        if status == 413:
            raise self._too_large(response)
        said = self.said(response)
        kind = {403: NotAllowed, 404: NotFound}.get(status, Refused)
        raise kind(said.error_message, said.hint, said.error)

    def said(self, response: requests.Response) -> Said:
        """An error in the server's words. Raises Unreachable where they are not a farm's."""
        try:
            return wire.decode(response.content, Said)
        except wire.WireError:
            raise self.another_kind(response) from None

    def _too_large(self, response: requests.Response) -> Refused:
        """A proxy before the farm may have said it, in words of its own."""
        try:
            message = wire.decode(response.content, Said).error_message
        except wire.WireError:
            message = f"The file is larger than {self.server} accepts."
        return Refused(message, "Ask the farm's admin to raise that limit.", "too_large")

    def another_kind(self, response: requests.Response) -> Unreachable:
        """What to raise when the answer is not one that a farm gives."""
        if response.is_redirect:
            target = urlsplit(response.headers["Location"])
            return Unreachable(
                f"{self.server} sends us on to {target.scheme}://{target.netloc}.",
                "If that is your farm, use that address.",
            )
        return Unreachable(
            f"{self.server} answers, but not as a RenderOnline server would "
            f"(status {response.status_code}).",
            "Check the address and its port, and whether it begins with http or https.",
        )

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """The body of a streamed answer as it arrives. Raises Unreachable if it breaks off.

        What has arrived by then was given: `iter_content` would wait for whole pieces, and lose one.
        """
        try:
            while piece := response.raw.read1(PIECE_BYTES, decode_content=True):
                yield piece
        except urllib3.exceptions.ReadTimeoutError as error:
            raise _unreachable(self.server, requests.exceptions.ReadTimeout(error)) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _unreachable(self.server, error) from None


class _SystemTrust(HTTPAdapter):
    """Trusts what the operating system trusts (a company's own authority), besides certifi's list."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **options)


class Said(wire.Message):
    """An error: our error body, or the answer of one of the original's endpoints."""

    error_message: str
    error: str = ""  # the original has none
    hint: str = ""


def server_address(text: str) -> str:
    """A server's address in its one spelling, `scheme://host[:port]`. Raises Unusable."""
    hint = "Write it like http://127.0.0.1:5000 or https://farm.example."
    address = text.strip().rstrip("/").removesuffix("/renderapi/v1")
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # raises ValueError where it is none
    except ValueError:
        is_address = False
    if not is_address:
        raise Unusable(f"{text!r} is not the address of a server.", hint)
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        raise Unusable("The address of a server has nothing but a host and a port.", hint)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _check_certificate(file: Path) -> None:
    """Raises Unusable: requests would tell of a file that it cannot use as of a bad connection."""
    if not file.is_file():
        raise Unusable(f"There is no certificate file {file}.")
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise Unusable(
            f"There is no certificate in {file}.",
            "It takes a PEM file with `BEGIN CERTIFICATE` in it, not the private key.",
        ) from None
    except OSError as error:
        raise Unusable(f"{file} cannot be read: {error.strerror or error}.") from None


def _headers(email: str, token: str) -> dict[str, str | bytes]:
    for name, value in (("e-mail address", email), ("token", token)):
        if not value.strip() or not value.strip().isprintable():
            raise Unusable(f"The {name} is empty or holds a character that none can have.")
    return {
        "email": email.strip().encode(),
        "token": token.strip().encode(),
        "User-Agent": f"RenderOnline/{__version__}",
    }


# --------------------------------------------------------------------------- what went wrong


def _insecure(server: str, error: Exception, fingerprint: str | None) -> Unreachable:
    if fingerprint is not None and "ingerprint" in str(error):
        return Unreachable(
            f"{server} shows another certificate than the one that you trusted "
            f"({pinning.shown(fingerprint)}); nothing was sent.",
            "Ask the farm's admin whether it has a new one. If so, sign in again (`renderonline login`) "
            "and compare its fingerprint; if not, somebody is in between.",
            "changed_certificate",
        )
    untrusted = _cause_of(error, ssl.SSLCertVerificationError)
    if untrusted is not None:
        return Unreachable(
            f"The certificate of {server} is not trusted ({untrusted.verify_message}); nothing "
            "was sent.",
            "Sign in (`renderonline login`) to see its fingerprint and trust it, or name the farm's "
            "certificate: `--fingerprint`, or `--certificate FILE`.",
            "untrusted",
        )
    reason = getattr(_cause_of(error, ssl.SSLError), "reason", None)
    # Only what no TLS would begin with: http:// shows the token to the network.
    if reason in _NO_TLS:
        return Unreachable(f"{server} does not speak HTTPS.", "Try the address with http://.")
    return _broken(server)


_NO_TLS = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")
"""What OpenSSL, by its version, calls an answer whose first bytes are no TLS."""


def _broken(server: str) -> Unreachable:
    return Unreachable(
        f"The connection to {server} broke.",
        "Try again. If a file was being sent, it may be larger than the server accepts.",
    )


def _unreachable(server: str, error: Exception) -> Unreachable:
    running = "Is `renderonline api` running there, and is the address right?"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return Unreachable(f"{server} did not answer within {CONNECT_TIMEOUT_S} s.", running)
    if "handshake" in str(_cause_of(error, TimeoutError)):
        # A server of plain HTTP waits for the rest of what it takes for a strange request.
        return Unreachable(f"{server} does not answer over HTTPS.", "Try the address with http://.")
    if isinstance(error, requests.exceptions.ReadTimeout):
        return Unreachable(f"{server} stopped answering.", "Try again; its log may say more.")
    if _cause_of(error, ConnectionRefusedError):
        return Unreachable(f"There is no server at {server}.", running)
    # A farm that is there and hangs up: also while we are still sending (a limit of a proxy's).
    if _cause_of(error, ConnectionError):
        return _broken(server)
    if reason := _cause_of(error, OSError):
        return Unreachable(f"{server} cannot be reached: {reason.strerror or reason}.", running)
    return _broken(server)


def _was_hung_up(error: Exception) -> bool:
    """Whether the server ended the connection: perhaps a kept one, just as it was used again."""
    cause = _cause_of(error, ConnectionError)
    return cause is not None and not isinstance(cause, ConnectionRefusedError)


def _cause_of(error: BaseException, kind: type[E]) -> E | None:
    """The first error of a kind among those that `error` wraps.

    requests and urllib3 hand the original on in `args` and `reason`, Python in `__cause__` and
    `__context__`. requests' own errors are OSErrors too, and tell nothing.
    """
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, kind) and not isinstance(item, requests.RequestException):
            return item
        waiting += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
    return None
