"""The node's requests to its apis: the connections are kept, and shared by all that it has to tell.

Where an api speaks TLS, its certificate is the one whose fingerprint came with the start, and no
other: not what this machine trusts besides, nor what the environment says. When the api has been
given another one, it says so with its next start, or when it asks what this node does.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import requests
import urllib3

from renderonline import pinned_session, wire
from renderonline.wire import WireError

log = logging.getLogger(__name__)

CONNECT_S = 3.0
ANSWER_S = 10.0

TRANSFER_S = 60.0
"""Longest silence while a file is on its way: the api may be writing it to a slow disk."""

PIECE_BYTES = 1 << 20
"""Most that is read of an answer at once."""

T = TypeVar("T", bound=wire.Message)


class NotTold(Exception):
    """The api did not take a message. Its text says why in a few words."""


@dataclass(frozen=True, slots=True)
class Api:
    """Where an api is, and how it is known."""

    url: str  # scheme://host:port
    fingerprint: str | None = None  # SHA-256 of its certificate, hexadecimal


class ApiClient:
    """Sends and fetches, from any thread.

    A session is used by one thread at a time and given back: the next one, whoever it tells of,
    finds the connection open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[str | None, list[requests.Session]] = {}
        self._renewed: dict[str, str] = {}  # by an api's address: the fingerprint that holds now

    def post(
        self, api: Api, path: str, message: wire.Message, shape: type[T], key: str | None = None
    ) -> T:
        """The api's answer to `message`. `key` goes with it as X-Attempt-Key. Raises NotTold."""
        response = self._post(api, path, message, key)
        try:
            return wire.decode(response.content, shape)
        except WireError:
            raise NotTold(f"it answered {response.status_code}") from None

    def tell(self, api: Api, path: str, message: wire.Message) -> int:
        """Post a message whose answer says nothing; its HTTP status. Raises NotTold without one."""
        return self._post(api, path, message, None).status_code

    def put(self, api: Api, path: str, file: Path, headers: Mapping[str, str]) -> requests.Response:
        """Send a file as it is read. Raises NotTold; OSError where the file cannot be read."""
        timeout_s = (CONNECT_S, TRANSFER_S)
        with file.open("rb") as opened:
            body = _Body(opened)
            try:
                return self._send(
                    api, "PUT", path, data=body, headers=dict(headers), timeout=timeout_s
                )
            except NotTold:
                if body.fault is not None:
                    raise body.fault from None
                raise

    @contextmanager
    def get(self, api: Api, path: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """An answer whose body is read in the block, by `pieces`. Raises NotTold."""
        try:
            with (
                self._session(api) as session,
                session.get(
                    api.url + path,
                    headers=dict(headers),
                    timeout=(CONNECT_S, TRANSFER_S),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                yield response
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise NotTold(type(error).__name__) from None

    def trust(self, api: Api) -> None:
        """This is how the api at that address is known from now on, whatever an earlier start said:
        what waits for it is sent there."""
        if api.fingerprint is not None and self._renewed.get(api.url) != api.fingerprint:
            log.info("the api at %s is known by %s…", api.url, api.fingerprint[:12])
            self._renewed[api.url] = api.fingerprint

    def close(self) -> None:
        """Close what is not in use."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for session in (session for sessions in idle.values() for session in sessions):
            session.close()

    def _post(
        self, api: Api, path: str, message: wire.Message, key: str | None
    ) -> requests.Response:
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["X-Attempt-Key"] = key
        return self._send(
            api,
            "POST",
            path,
            data=wire.encode(message),
            headers=headers,
            timeout=(CONNECT_S, ANSWER_S),
        )

    def _send(self, api: Api, method: str, path: str, **options: Any) -> requests.Response:
        try:
            with self._session(api) as session:
                return session.request(
                    method,
                    api.url + path,
                    allow_redirects=False,  # the key is for this api alone
                    **options,
                )
        except requests.RequestException as error:
            raise NotTold(type(error).__name__) from None

    @contextmanager
    def _session(self, api: Api) -> Iterator[requests.Session]:
        fingerprint = api.fingerprint and self._renewed.get(api.url, api.fingerprint)
        with self._lock:
            idle = self._idle.setdefault(fingerprint, [])
            session = idle.pop() if idle else None
        if session is None:
            session = _new_session(fingerprint)
        try:
            yield session
        finally:
            with self._lock:
                self._idle.setdefault(fingerprint, []).append(session)


def pieces(response: requests.Response) -> Iterator[bytes]:
    """An answer's body as it arrives: what came before a break is not lost. Within `ApiClient.get`."""
    while piece := response.raw.read1(PIECE_BYTES):
        yield piece


def refusal(response: requests.Response) -> wire.ErrorBody | None:
    """The error that the api answers; None if the answer is not one of its own. Reads the body."""
    try:
        error = wire.decode(response.content, wire.ErrorBody)
    except WireError:
        return None
    return error if error.error else None


class _Body:
    """A file that is sent. What keeps it from being read is not the connection's fault."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.fault: OSError | None = None

    @property
    def len(self) -> int:
        """By this name requests asks for it."""
        return os.fstat(self._file.fileno()).st_size

    def __iter__(self) -> Iterator[bytes]:
        """By this requests knows that it is to be read as it is sent."""
        return iter(lambda: self.read(PIECE_BYTES), b"")

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            self.fault = error
            raise


def _new_session(fingerprint: str | None) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy, no .netrc, no bundle from the environment
    if fingerprint is not None:
        pinned_session.pin(session, fingerprint)
    return session
