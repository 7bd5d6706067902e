"""Tells the apis that this node is there, so that it is given work without being asked first.

A hello is only a hint: the api then asks the machine itself. It goes out at the start, to the
`Api` of the settings or else to whom the journal names, until it is answered; with `Api` set also
from time to time while the node is idle. (While it renders, its reports say that it lives.)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Protocol

from renderonline.node.api_client import Api, ApiClient, NotTold
from renderonline.wire import NodeHello

log = logging.getLogger(__name__)

EVERY_S = 30.0
RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 30.0
PATH = "/renderapi/v1/node/hello"


class Greeter(Protocol):
    """What a hello says of the node."""

    boot: str

    def is_idle(self) -> bool: ...


class Hello:
    """A thread that greets. `start` and `close` belong to the main thread."""

    def __init__(self, client: ApiClient, api: Api | None, port: int, node: Greeter) -> None:
        """`api`: the address in the settings; None: only those are greeted that `greet` names."""
        self._client = client
        self._api = api
        self._node = node
        self._message = NodeHello(port=port, boot=node.boot)
        self._changed = threading.Condition()
        self._ungreeted: set[Api] = {api} if api else set()
        self._known = set(self._ungreeted)
        self._is_closing = False

    def greet(self, apis: Iterable[Api]) -> None:
        """Greet these, too, unless the settings name the one. Before `start`."""
        if self._api is None:
            self._known = set(apis)
            self._ungreeted = set(self._known)

    def start(self) -> None:
        """Greet, on a thread of its own, until `close`."""
        if self._known:
            threading.Thread(target=self._run, name="hello", daemon=True).start()

    def again(self) -> None:
        """There is something new to be asked for. Any thread."""
        with self._changed:
            self._ungreeted = set(self._known)
            self._changed.notify()

    def close(self) -> None:
        """Greet no more. Returns at once."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()

    def _run(self) -> None:
        retry_s = RETRY_FIRST_S
        while (apis := self._due()) is not None:
            silent = {api for api in apis if not self._is_answered(api, retry_s == RETRY_FIRST_S)}
            with self._changed:
                self._ungreeted |= silent
                if silent:
                    self._changed.wait_for(lambda: self._is_closing, retry_s)
            retry_s = min(retry_s * 2, RETRY_LONGEST_S) if silent else RETRY_FIRST_S

    def _due(self) -> set[Api] | None:
        """Whom to greet, once it is time to; None when the node ends."""
        with self._changed:
            while not self._is_closing:
                if self._ungreeted:
                    apis, self._ungreeted = self._ungreeted, set()
                    return apis
                is_over = self._changed.wait_for(
                    lambda: self._is_closing or bool(self._ungreeted),
                    EVERY_S if self._api else None,
                )
                if not is_over and self._node.is_idle():
                    self._ungreeted = set(self._known)
            return None

    def _is_answered(self, api: Api, is_first: bool) -> bool:
        """Any answer will do: an api that knows no hello asks its machines by itself."""
        try:
            self._client.tell(api, PATH, self._message)
        except NotTold as error:
            if is_first:
                log.warning("the api at %s does not answer (%s); trying on", api.url, error)
            return False
        return True
