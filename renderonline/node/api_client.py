"""The node's requests to its apis: the connections are kept, and shared by all that it has to tell."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import requests

from renderonline import wire
from renderonline.wire import WireError

CONNECT_S = 3.0
ANSWER_S = 10.0

T = TypeVar("T", bound=wire.Message)


class NotTold(Exception):
    """The api did not take a message. Its text says why in a few words."""


class ApiClient:
    """Posts messages, from any thread.

    A session is used by one thread at a time and given back: the next one, whoever it tells of,
    finds the connection open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[requests.Session] = []

    def post(self, url: str, message: wire.Message, shape: type[T], key: str | None = None) -> T:
        """The api's answer to `message`. `key` goes with it as X-Attempt-Key. Raises NotTold."""
        response = self._post(url, message, key)
        try:
            return wire.decode(response.content, shape)
        except WireError:
            raise NotTold(f"it answered {response.status_code}") from None

    def tell(self, url: str, message: wire.Message) -> int:
        """Post a message whose answer says nothing; its HTTP status. Raises NotTold without one."""
        return self._post(url, message, None).status_code

    def close(self) -> None:
        """Close what is not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def _post(self, url: str, message: wire.Message, key: str | None) -> requests.Response:
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["X-Attempt-Key"] = key
        try:
            with self._session() as session:
                return session.post(
                    url,
                    data=wire.encode(message),
                    headers=headers,
                    timeout=(CONNECT_S, ANSWER_S),
                    allow_redirects=False,  # the key is for this api alone
                )
        except requests.RequestException as error:
            raise NotTold(type(error).__name__) from None

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        with self._lock:
            session = self._idle.pop() if self._idle else None
        if session is None:
            session = requests.Session()
            session.trust_env = False  # no proxy, no .netrc, no bundle from the environment
        try:
            yield session
        finally:
            with self._lock:
                self._idle.append(session)
